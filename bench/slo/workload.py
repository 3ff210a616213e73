"""Who comes when: sessions of 1 to 4 steps, at 8 or 16 frames a second, whatever becomes of those before them."""

import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

TRACE = Path(__file__).with_name("arrivals.csv")
MEAN_STAY_S = 40.0
SESSIONS = tuple((steps, frame_rate) for steps in (1, 2, 3, 4) for frame_rate in (8, 16))


@dataclass(frozen=True, slots=True)
class Coming:
    """A session that comes."""

    at_s: float
    stays_s: float
    steps: int
    frame_rate: int


def poisson(*, every_s: float, until_s: float, seed: int) -> Iterator[Coming]:
    """Independent of each other, one in `every_s` on average; they stay for exponentially distributed times."""
    chance = random.Random(f"sessions {seed}")
    now_s = chance.expovariate(1 / every_s)
    while now_s < until_s:
        steps, frame_rate = chance.choice(SESSIONS)
        yield Coming(now_s, 5.0 + chance.expovariate(1 / MEAN_STAY_S), steps, frame_rate)
        now_s += chance.expovariate(1 / every_s)


def from_trace(*, until_s: float, seed: int, path: Path = TRACE) -> Iterator[Coming]:
    """Those of the trace, which is made up: quiet minutes, and crowds that come within seconds. The seed moves each of
    them by up to a second."""
    chance = random.Random(f"trace {seed}")
    with path.open(newline="") as lines:
        comings = [
            Coming(float(line["at_s"]), float(line["stays_s"]), int(line["steps"]), int(line["frame_rate"]))
            for line in csv.DictReader(lines)
        ]
    moved = [replace(one, at_s=one.at_s + chance.random()) for one in comings]
    yield from sorted((one for one in moved if one.at_s < until_s), key=lambda one: one.at_s)
