"""How many workers a pool should have: every term of it, and the one reason that decides.

    asked   = max(need + max(buffer, warm, blocked), replicas, min, schedule)
    desired = min(asked, GPU budget, max), and never fewer than there are while nobody can count

What sessions need comes from `plan.pool.scale`, which knows how they are packed. So does who leaves. Here is what
nobody can see in the pool as it stands: who will have come before a new worker is ready.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from genlock_core.claims.identity import CAPACITY
from genlock_core.spec.autoscaling import ScalingMode
from genlock_core.spec.pool import WorkerPoolSpec
from genlock_operator.autoscale.arrivals import LONG_S, Flow
from genlock_operator.autoscale.schedule import scheduled_floor
from genlock_operator.autoscale.warm import Warm, warm

START_UP_PRIOR_S: Final = 60.0
"""What a worker is thought to take until one was seen: its image is there, its weights are read from a disk."""
LONGEST_START_UP_S: Final = LONG_S
"""A pod that waited for a node for hours says nothing of the next one. And what was counted in a quarter of an hour
says nothing of who will have come in a longer time."""
STALE_AFTER_S: Final = 60.0
"""Counters that were written longer ago say nothing of now."""


class ScaleReason(StrEnum):
    """What decides the number of workers."""

    SESSIONS = "Sessions"  # the sessions that are there need so many
    WAITING = "Waiting"  # so do those that wait for room
    BLOCKED = "Blocked"  # somebody was turned away within the last minute
    ARRIVALS = "Arrivals"  # who comes while a worker starts needs room
    BUFFER = "Buffer"  # spec.buffer
    REPLICAS = "Replicas"  # spec.replicas
    MINIMUM = "Minimum"  # spec.min
    SCHEDULE = "Schedule"  # spec.autoscaling.schedule
    MAXIMUM = "Maximum"  # spec.max
    GPU_BUDGET = "GPUBudget"  # the other pools of the budget have the rest
    METRICS_STALE = "MetricsStale"  # the counters are old: nobody goes
    MEASURING = "Measuring"  # they were looked at for less than a minute: nobody goes


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is known of a pool at one moment. Costs and loads are thousandths of a worker."""

    need: int
    """Workers for its sessions at the levels that they ask for, those that wait counted (`scale.needed`)."""
    loads: Sequence[int]
    """What sessions would take of each of these workers, packed; no longer than `need`."""
    staying: int
    """Workers that exist and do not leave, ready or not."""
    before: int = 0
    """Workers that were wanted last."""
    waiting: int = 0
    """Sessions that wait for room."""
    session_cost: int = CAPACITY
    """What a new session is expected to take at the level that it asks for: the mean of those there were."""
    lowest_share: float = 1.0
    """Of their costs, what sessions pay at the lowest levels that they allow; 1 where nothing can be lowered."""
    flow: Flow | None = None
    """None: nobody counts."""
    start_up_s: float | None = None
    """Until a new worker serves: p95 of the last ones; None: none was seen yet."""
    age_s: float = 0.0
    """Since the counters were last written."""

    def __post_init__(self) -> None:
        if not 1 <= self.session_cost <= CAPACITY:
            raise ValueError(f"a session takes 1 to {CAPACITY} thousandths of a worker, not {self.session_cost}")
        if not 0 < self.lowest_share <= 1:
            raise ValueError(f"at their lowest levels sessions pay a share above 0, up to 1, not {self.lowest_share}")
        if self.start_up_s is not None and not (math.isfinite(self.start_up_s) and self.start_up_s >= 0):
            raise ValueError(f"a start-up takes 0 s or longer, not {self.start_up_s}")
        if len(self.loads) > self.need:
            raise ValueError(f"{len(self.loads)} loads are more than the {self.need} workers that are needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Room for one more session each, in the workers that sessions need anyway."""

    free: int = 0
    """As things stand."""
    by_levels: int = 0
    """More of them, while everybody runs at the lowest level that they allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The number of workers, and all that it is made of. Terms are workers where nothing else is said."""

    mode: ScalingMode
    asked: int
    """Were there no max and no budget."""
    desired: int
    reason: ScaleReason

    need: int
    buffer: int = 0
    """Empty workers besides, by the spec."""
    warm: int = 0
    """Workers besides, for those who come while one starts."""
    blocked: int = 0
    """Workers besides, for those who were turned away within the last minute and find no room yet."""
    replicas: int = 0
    least: int = 0
    scheduled: int = 0
    most: int = 0
    budget: int | None = None
    """None: there is none for its GPUs."""

    arrivals: Warm | None = None
    """The warm slots that are wanted; None where they do not count."""
    slots: Slots = Slots()
    """Warm slots that need no further worker."""
    slots_per_worker: int = 1
    flow: Flow | None = None
    start_up_s: float = START_UP_PRIOR_S
    start_up_seen: bool = False
    """Whether it was measured."""
    scale_in_after_ms: int = 0
    """How long there must be too many before one goes: never less than a start-up."""
    holds: bool = False
    """Nobody is to go now, however few are asked for."""
    stale: bool = False
    """The counters are old, or nobody counts."""
    follows_sessions: bool = True
    """False: somebody else decides, and what sessions need counts for nothing."""

    def asked_with(self, need: int) -> int:
        """How many would be asked for, were `need` another: what the choice of who leaves goes by."""
        if not self.follows_sessions:
            return self.floor
        besides = max(self.buffer, self.warm, self.blocked)
        return max(need + besides, self.floor)

    @property
    def terms(self) -> dict[str, int | None]:
        """Workers by term, as metrics and people are told them; None where there is no such bound."""
        return {
            "need": self.need,
            "warm": self.warm,
            "blocked": self.blocked,
            "buffer": self.buffer,
            "replicas": self.replicas,
            "min": self.least,
            "schedule": self.scheduled,
            "max": self.most,
            "budget": self.budget,
            "asked": self.asked,
            "desired": self.desired,
        }

    @property
    def floor(self) -> int:
        """So many without a single session."""
        return max(self.replicas, self.least, self.scheduled)

    @property
    def cap(self) -> int:
        """No more than these."""
        return self.most if self.budget is None else min(self.most, self.budget)


def recommend(measured: Measured, spec: WorkerPoolSpec, now_ms: int, *, budget: int | None = None) -> Recommendation:
    """The number of workers that the pool should have now (ms since the epoch).

    `budget` is its share of the GPU budget, in workers; None: there is none. Every mode is answered alike; who carries
    it out goes by the mode.
    """
    # Without fresh counters nobody knows who will come; who is there and who waits is known all the same.
    stale = measured.flow is None or measured.age_s > STALE_AFTER_S
    known = None if stale or measured.flow is None or not measured.flow.is_known else measured.flow
    found = _without_arrivals(measured, spec, now_ms, budget)
    if known is None:
        return _decided(replace(found, holds=True, stale=stale), measured)

    lowest = measured.lowest_share
    wanted = warm(known, start_up_s=found.start_up_s, blocking=spec.autoscaling.blocking)
    free = _slots(measured, spec.move_reserve, lowest=1.0)
    by_levels = max(0, _slots(measured, spec.move_reserve, lowest=lowest) - free)
    per_worker = _per_worker(measured, lowest)
    found = replace(
        found,
        warm=_workers(wanted.slots - free - by_levels, per_worker),
        # Who has got a worker since is not among them (`arrivals`), and who waits still is part of the need.
        blocked=_workers(known.short.blocked - measured.waiting - free - by_levels, per_worker),
        arrivals=wanted,
        slots=Slots(free=free, by_levels=by_levels),
        slots_per_worker=per_worker,
        flow=known,
    )
    return _decided(found, measured)


def recommend_by_need(
    measured: Measured, spec: WorkerPoolSpec, now_ms: int, *, budget: int | None = None
) -> Recommendation:
    """What sessions need and a fixed buffer, whoever may come: what a pool does whose recommendation is only shown."""
    return _decided(_without_arrivals(measured, spec, now_ms, budget), measured)


def _without_arrivals(measured: Measured, spec: WorkerPoolSpec, now_ms: int, budget: int | None) -> Recommendation:
    """All terms but those of who may come, and nothing decided."""
    start_up_s = min(measured.start_up_s or 0.0, LONGEST_START_UP_S)
    return Recommendation(
        mode=spec.autoscaling.mode,
        asked=0,
        desired=0,
        reason=ScaleReason.SESSIONS,
        need=measured.need,
        buffer=spec.buffer,
        # What somebody else sets is made of this number: as a floor it would never come down again.
        replicas=0 if spec.autoscaling.mode is ScalingMode.EXTERNAL else spec.replicas,
        least=spec.min,
        scheduled=scheduled_floor(spec.autoscaling, now_ms),
        most=spec.max,
        budget=budget,
        start_up_s=START_UP_PRIOR_S if measured.start_up_s is None else start_up_s,
        start_up_seen=measured.start_up_s is not None,
        scale_in_after_ms=max(spec.scale_in_after, math.ceil(start_up_s * 1_000)),
    )


def _decided(found: Recommendation, measured: Measured) -> Recommendation:
    """With the number that its terms make, and the term that decides it."""
    asked = found.asked_with(found.need)
    desired = min(asked, found.cap)
    # Not as many as there are: during a rollout there is one more, and each plan would ask for another one.
    held = min(measured.staying, measured.before, found.most)
    if found.holds and held > desired:
        reason = ScaleReason.METRICS_STALE if found.stale else ScaleReason.MEASURING
        return replace(found, asked=max(asked, held), desired=held, reason=reason)
    return replace(found, asked=asked, desired=desired, reason=_reason(found, asked, waiting=measured.waiting > 0))


def _reason(found: Recommendation, asked: int, *, waiting: bool) -> ScaleReason:
    """The term that makes the number what it is; of equal ones the one that a person would change first."""
    besides = max(found.buffer, found.warm, found.blocked)
    if asked > found.cap:
        return ScaleReason.MAXIMUM if found.cap == found.most else ScaleReason.GPU_BUDGET
    if asked > found.need + besides:
        floors = {
            ScaleReason.SCHEDULE: found.scheduled,
            ScaleReason.MINIMUM: found.least,
            ScaleReason.REPLICAS: found.replicas,
        }
        return next(reason for reason, floor in floors.items() if floor == asked)
    if besides == 0:
        return ScaleReason.WAITING if waiting else ScaleReason.SESSIONS
    terms = {
        ScaleReason.BLOCKED: found.blocked,
        ScaleReason.ARRIVALS: found.warm,
        ScaleReason.BUFFER: found.buffer,
    }
    return next(reason for reason, workers in terms.items() if workers == besides)


def as_replicas_say(measured: Measured, spec: WorkerPoolSpec, *, budget: int | None = None) -> Recommendation:
    """The number that somebody else has set, between the bounds: what a pool of the mode External does."""
    asked = max(spec.replicas, spec.min)
    cap = spec.max if budget is None else min(spec.max, budget)
    if cap < asked:
        reason = ScaleReason.MAXIMUM if cap == spec.max else ScaleReason.GPU_BUDGET
    else:
        reason = ScaleReason.REPLICAS if spec.replicas >= spec.min else ScaleReason.MINIMUM
    return Recommendation(
        mode=ScalingMode.EXTERNAL,
        asked=asked,
        desired=min(asked, cap),
        reason=reason,
        need=measured.need,
        replicas=spec.replicas,
        least=spec.min,
        most=spec.max,
        budget=budget,
        scale_in_after_ms=spec.scale_in_after,
        follows_sessions=False,
    )


def _slots(measured: Measured, reserve: float, *, lowest: float) -> int:
    """How many more sessions the needed workers take, everybody at that share of their costs."""
    cost = measured.session_cost * lowest
    empty = measured.need - len(measured.loads)
    free = [max(0.0, CAPACITY - load * lowest) for load in (*measured.loads, *[0] * empty)]

    # What only moves may use is no room for who comes; it lies anywhere in the pool.
    usable = sum(free) - reserve * CAPACITY * measured.need
    return max(0, min(sum(_whole(one / cost) for one in free), _whole(usable / cost)))


def _per_worker(measured: Measured, lowest: float) -> int:
    """How many sessions one more worker takes; at least one."""
    return max(1, _whole(CAPACITY / (measured.session_cost * lowest)))


def _workers(slots: int, per_worker: int) -> int:
    """How many workers hold so many slots."""
    return max(0, math.ceil(slots / per_worker))


def _whole(share: float) -> int:
    """Rounded down; the last digits of a float must not cost a slot."""
    return math.floor(share + 1e-9)
