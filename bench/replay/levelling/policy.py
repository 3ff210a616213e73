"""What a policy of levels is asked for."""

from typing import Protocol

from bench.replay.fleet import Fleet, FleetWorker


class LevelPolicy(Protocol):
    """It lets sessions in, and looks at a worker again when one has left."""

    @property
    def name(self) -> str: ...

    def admit(self, fleet: Fleet, name: int, prompt: int) -> FleetWorker | None:
        """Seat this session; its worker, or None where it finds no room."""
        ...

    def replan(self, fleet: Fleet, worker: FleetWorker) -> None:
        """A session has left this worker, or it is time to look at it again."""
        ...

    def looks_again_in(self, fleet: Fleet, worker: FleetWorker) -> float | None:
        """In how many seconds it looks at this worker again, though nobody comes or goes; None: then it does not."""
        ...


class NeverLooksAgain:
    """Levels that only change when somebody comes or goes."""

    def looks_again_in(self, fleet: Fleet, worker: FleetWorker) -> float | None:  # noqa: ARG002
        return None


def highest_that_fits(fleet: Fleet, name: int, prompt: int) -> FleetWorker | None:
    """A claim: the highest level that some worker has room for, as it is; None where there is none."""
    for place, cost in enumerate(fleet.ladders.costs):
        worker = fleet.fullest(cost)
        if worker is not None:
            fleet.seat(name, prompt, worker, place)
            return worker
    return None
