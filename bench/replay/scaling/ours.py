"""Our rule: the recommendation of the product, from what its counters would say."""

from dataclasses import dataclass, field

from bench.replay.scaling.buffers import PERIOD_S, Patience, need, pool_spec
from bench.replay.scaling.scaler import START_UP_P95_S, Seen
from genlock_core.claims.counters import PoolCounters
from genlock_core.spec.pool import WorkerPoolSpec
from genlock_operator.autoscale.arrivals import FlowMeter
from genlock_operator.autoscale.recommend import Measured, Recommendation, recommend
from genlock_operator.autoscale.stabilise import WantedLately, least_to_keep

WAITS_S = 10.0
"""Nobody asked again for so long: it waits no more."""


@dataclass
class Ours:
    """Warm slots by the net change within a start-up, and what levels carry of them."""

    blocking: float
    levels: bool
    """Whether sessions may be lowered."""
    period_s: float = PERIOD_S
    hears_blocked: bool = True
    _meter: FlowMeter = field(default_factory=FlowMeter)
    _patience: Patience = field(default_factory=Patience)
    _wanted: WantedLately = field(default_factory=WantedLately)
    _spec: WorkerPoolSpec = field(init=False)

    def __post_init__(self) -> None:
        self._spec = pool_spec(blocking=self.blocking)

    @property
    def name(self) -> str:
        return f"net change {100 * self.blocking:g} %"

    def workers(self, seen: Seen) -> int:
        meter = seen.fleet.meter
        # As the scripts of claims count: who found no room at first, and was let in as others were lowered, is in two.
        counted = PoolCounters(
            arrivals=meter.served,
            departures=seen.departures,
            blocked=meter.blocked + meter.let_in_by_plan,
            relieved=meter.let_in_by_plan,
        )
        self._meter.note(counted, seen.now_s)
        found = self.recommendation(seen)
        self._wanted.note(seen.now_s, found.desired)
        count = seen.fleet.count
        kept = least_to_keep(
            self._wanted.all,
            seen.now_s,
            found.scale_in_after_ms / 1_000,
            staying=count,
            desired=found.desired,
        )
        return self._patience.settled(seen.now_s, count, found.desired, least=kept)

    def recommendation(self, seen: Seen) -> Recommendation:
        """What the product says of this moment."""
        fleet = seen.fleet
        costs = fleet.ladders.costs
        waiting = seen.waiting(WAITS_S)
        needed = need(seen, waiting=waiting)
        measured = Measured(
            need=needed.workers,
            loads=needed.loads,
            staying=fleet.count,
            before=fleet.count,
            waiting=waiting,
            session_cost=fleet.ladders.requested,
            lowest_share=costs[-1] / costs[0] if self.levels else 1.0,
            flow=self._meter.flow(seen.now_s),
            start_up_s=START_UP_P95_S,
        )
        return recommend(measured, self._spec, int(1_000 * seen.now_s))
