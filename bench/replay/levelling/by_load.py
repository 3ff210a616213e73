"""PAC: levels by load alone. All sessions of a worker have the same level, the highest at which they fit together."""

from bench.replay.fleet import Fleet, FleetWorker
from bench.replay.levelling.policy import NeverLooksAgain
from genlock_core.claims.identity import CAPACITY


class ByLoad(NeverLooksAgain):
    """Aware of the load, and of no prompt."""

    name = "PAC: by load only"

    def admit(self, fleet: Fleet, name: int, prompt: int) -> FleetWorker | None:
        # Where the level stays highest; among those the fullest, as claims have it.
        found = None
        best = (len(fleet.ladders.costs), 0)
        for worker in fleet.ready:
            place = common_level(fleet, len(worker.sessions) + 1)
            if place is not None and (place, -worker.load) < best:
                found, best = worker, (place, -worker.load)
        if found is None:
            return None

        # Sessions are never above the common level, so that none is raised to make room.
        for session in found.sessions.values():
            fleet.change(session, best[0])
        fleet.seat(name, prompt, found, best[0])
        return found

    def replan(self, fleet: Fleet, worker: FleetWorker) -> None:
        place = common_level(fleet, len(worker.sessions))
        if place is not None:
            for session in worker.sessions.values():
                fleet.change(session, place)


def common_level(fleet: Fleet, count: int) -> int | None:
    """The highest level at which a worker holds so many; None where it does not."""
    for place, cost in enumerate(fleet.ladders.costs):
        if count * cost <= CAPACITY:
            return place
    return None
