"""What a policy of levels is asked for."""

from typing import Final, Protocol

from bench.replay.fleet import Fleet, FleetWorker

AGAIN_S: Final = 15.0
"""So long after it looked at a worker with lowered sessions a policy looks at it again."""


class LevelPolicy(Protocol):
    """It lets sessions in, and looks at a worker again when one has left."""

    @property
    def name(self) -> str: ...

    @property
    def looks_again(self) -> bool:
        """Whether it wants to see workers with lowered sessions again, every `AGAIN_S`."""
        ...

    def admit(self, fleet: Fleet, name: int, prompt: int) -> FleetWorker | None:
        """Seat this session; its worker, or None where it finds no room."""
        ...

    def replan(self, fleet: Fleet, worker: FleetWorker) -> None:
        """A session has left this worker, or it is time to look at it again."""
        ...


def highest_that_fits(fleet: Fleet, name: int, prompt: int) -> FleetWorker | None:
    """A claim: the highest level that some worker has room for, as it is; None where there is none."""
    for place, cost in enumerate(fleet.ladders.costs):
        worker = fleet.fullest(cost)
        if worker is not None:
            fleet.seat(name, prompt, worker, place)
            return worker
    return None
