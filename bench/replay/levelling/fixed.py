"""Levels that no load changes: the most accurate for all (HA), the fastest for all (HT), or by the prompt alone."""

from dataclasses import dataclass
from typing import Final

from bench.replay.fleet import Fleet, FleetWorker
from bench.replay.levelling.policy import NeverLooksAgain


@dataclass(frozen=True, slots=True)
class Fixed(NeverLooksAgain):
    """A level for each kind of prompt."""

    name: str
    places: tuple[int, ...]

    def admit(self, fleet: Fleet, name: int, prompt: int) -> FleetWorker | None:
        place = self.places[prompt]
        worker = fleet.fullest(fleet.ladders.costs[place])
        if worker is not None:
            fleet.seat(name, prompt, worker, place)
        return worker

    def replan(self, fleet: Fleet, worker: FleetWorker) -> None:
        """Nothing changes."""


MOST_ACCURATE: Final = Fixed("HA: all most accurate", (0, 0, 0, 0))
FASTEST: Final = Fixed("HT: all fastest", (3, 3, 3, 3))
BY_PROMPT: Final = Fixed("by prompt only", (0, 1, 2, 3))
