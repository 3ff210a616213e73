"""Who comes when, for how long, and with what kind of prompt: one draw by a seed, the same for every scaler."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from bench.replay.traces import DAY_S, Rate, TracedSession

LOG_MEAN: Final = 4.72
LOG_DEVIATION: Final = 1.47
"""Of the stated distribution of lengths, in log seconds: the fit to the lengths of GenTD26 that are not 0."""

PROMPT_SHARES: Final = (0.225, 0.426, 0.213, 0.136)
"""Of prompts that lose nothing only at 4, 3, 2, 1 steps: as in the released log of Argus, its last levels together."""


class Arrival(NamedTuple):
    """A session that comes, whether or not it finds room."""

    at_s: float
    length_s: float
    prompt: int
    """0: its picture suffers from every step less; 3: it is as good with one step."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One draw of arrivals. Those at 0 s are the sessions that run already when it begins."""

    name: str
    span_s: float
    arrivals: tuple[Arrival, ...]
    """By time."""


def poisson(
    name: str, rate: Rate, lengths_s: Sequence[float] | None, *, at_once: float, dice: np.random.Generator
) -> Workload:
    """Arrivals as this rate has them, so many sessions at once on average; Poisson within each bucket.

    Lengths are drawn from those given; None: from the stated lognormal distribution.
    """
    mean_s = math.exp(LOG_MEAN + LOG_DEVIATION**2 / 2) if lengths_s is None else float(np.mean(lengths_s))
    expected = rate.weights * (at_once / mean_s * rate.bucket_s)
    counts = dice.poisson(expected)
    begins = np.repeat(np.arange(len(counts)) * rate.bucket_s, counts)
    times = np.sort(begins + dice.uniform(0, rate.bucket_s, len(begins)))
    drawn = _lengths(lengths_s, len(times), dice)

    # Those that run already: a session is met the likelier the longer it is, and anywhere in its life.
    running = int(dice.poisson(expected[0] / rate.bucket_s * mean_s))
    candidates = _lengths(lengths_s, max(1_000, 20 * running), dice)
    met = dice.choice(candidates, running, p=candidates / candidates.sum())
    times = np.concatenate([np.zeros(running), times])
    drawn = np.concatenate([met * dice.uniform(0, 1, running), drawn])
    return Workload(name, rate.span_s, _arrivals(times, drawn, dice))


def shifted(
    name: str, sessions: Sequence[TracedSession], *, copies: int, days: int, dice: np.random.Generator
) -> Workload:
    """The sessions themselves, so many copies over one another, each turned by whole days and some minutes.

    Hours of the day stay what they are, so busy hours meet. Of the whole its first days are taken.
    """
    whole_days = math.ceil(max(one.begin_s for one in sessions) / DAY_S)
    span_s = days * DAY_S
    times, lengths = [], []
    for day in dice.permutation(whole_days)[:copies]:
        shift_s = float(day) * DAY_S + dice.uniform(-1_800, 1_800)
        for one in sessions:
            at_s = (one.begin_s + shift_s) % (whole_days * DAY_S)
            if at_s < span_s:
                times.append(at_s)
                lengths.append(one.length_s)
    order = np.argsort(times, kind="stable")
    return Workload(name, span_s, _arrivals(np.array(times)[order], np.array(lengths)[order], dice))


def _lengths(lengths_s: Sequence[float] | None, count: int, dice: np.random.Generator) -> np.ndarray:
    if lengths_s is None:
        return dice.lognormal(LOG_MEAN, LOG_DEVIATION, count)
    return dice.choice(np.asarray(lengths_s), count)


def _arrivals(times: np.ndarray, lengths: np.ndarray, dice: np.random.Generator) -> tuple[Arrival, ...]:
    prompts = dice.choice(len(PROMPT_SHARES), len(times), p=PROMPT_SHARES)
    return tuple(map(Arrival, times.tolist(), lengths.tolist(), prompts.tolist()))
