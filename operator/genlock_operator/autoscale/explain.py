"""A recommendation in sentences: what a person reads who asks why there are so many workers."""

from genlock_core.spec.autoscaling import ScalingMode
from genlock_operator.autoscale.arrivals import Flow
from genlock_operator.autoscale.correction import Correction
from genlock_operator.autoscale.recommend import LONGEST_START_UP_S, Recommendation, ScaleReason


def explain(found: Recommendation, correction: Correction | None = None) -> list[str]:
    """The decision first, then each term that it is made of; `correction`: of what the pool's sessions pay."""
    told = [f"{_workers(found.desired)} should be there: {_WHY[found.reason]}."]
    if found.mode is ScalingMode.EXTERNAL:
        told.append("Mode External: this is only shown; spec.replicas decides, whoever sets it.")
    if found.mode is ScalingMode.RECOMMEND:
        told.append("Mode Recommend: this is only shown; what sessions need and buffer decide.")

    told.append(f"The sessions need {_workers(found.need)} at the levels that they ask for.")
    if correction is not None and correction.speed != 1:
        speed = f"{correction.speed:.2f}"
        told.append(
            f"Its workers compute at {speed} of the speed that was profiled; what sessions pay is divided by that."
        )
    told += _of_arrivals(found)
    if found.blocked:
        told.append(f"Within the last minute somebody was turned away: {_workers(found.blocked)} more for that.")
    told += _of_floors(found)
    if found.budget is not None:
        told.append(f"Its share of the GPU budget is {_workers(found.budget)}.")
    if found.asked > found.cap:
        told.append(f"{_workers(found.asked)} are asked for, {found.cap} are allowed.")
    told.append(f"A worker goes once there were too many for {found.scale_in_after_ms / 1_000:g} s.")
    return told


def _of_arrivals(found: Recommendation) -> list[str]:
    if found.flow is None or found.arrivals is None:
        silence = "The counters are older than a minute, or nobody counts" if found.stale else "Counting has just begun"
        return [f"{silence}: nobody knows who will come, so no worker goes."]

    wanted = found.arrivals
    told = [_of_flow(found.flow), _of_start_up(found)]
    if wanted.slots == 0:
        told.append("So nobody needs to be kept warm for who comes meanwhile.")
        return told

    surge = " (the last minute is busier than chance explains)" if wanted.surge > 0 else ""
    told.append(
        f"Meanwhile there may be {_slots(wanted.slots)} more{surge}: {wanted.drift:+.1f} on average, give or take "
        f"{wanted.spread:.1f}."
    )
    told.append(
        f"{found.slots.free} of them find room on the needed workers, {found.slots.by_levels} more if sessions run at "
        f"their lowest levels; {_workers(found.warm)} more for the rest, with {_slots(found.slots_per_worker)} each."
    )
    return told


def _of_start_up(found: Recommendation) -> str:
    if found.start_up_seen:
        longer = " or longer" if found.start_up_s >= LONGEST_START_UP_S else ""
        return f"A new worker takes {found.start_up_s:g} s{longer} until it serves (p95)."
    return f"No worker was seen starting yet: {found.start_up_s:g} s are assumed."


def _of_flow(flow: Flow) -> str:
    minutes = flow.long.seconds / 60
    return (
        f"In the last {minutes:.0f} min {flow.long.arrivals} sessions came and {flow.long.departures} went; "
        f"in the last minute {flow.short.arrivals} came."
    )


def _of_floors(found: Recommendation) -> list[str]:
    """What a person has set, as far as it is set."""
    floors = {
        "spec.buffer": found.buffer,
        "spec.min": found.least,
        "spec.replicas": found.replicas,
        "the schedule": found.scheduled,
    }
    named = [f"{name} {workers}" for name, workers in floors.items() if workers]
    return [f"At least: {', '.join(named)}."] if named else []


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def _slots(count: int) -> str:
    return "1 session" if count == 1 else f"{count} sessions"


_WHY = {
    ScaleReason.SESSIONS: "the sessions need them",
    ScaleReason.WAITING: "the sessions that are there and those that wait need them",
    ScaleReason.BLOCKED: "somebody was turned away",
    ScaleReason.ARRIVALS: "who comes while a worker starts would find no room",
    ScaleReason.BUFFER: "spec.buffer keeps empty ones",
    ScaleReason.REPLICAS: "spec.replicas says so",
    ScaleReason.MINIMUM: "spec.min says so",
    ScaleReason.SCHEDULE: "the schedule says so",
    ScaleReason.MAXIMUM: "spec.max allows no more",
    ScaleReason.GPU_BUDGET: "the GPU budget has no more for this pool",
    ScaleReason.METRICS_STALE: "the counters are old, so none goes",
    ScaleReason.MEASURING: "counting has just begun, so none goes",
}
