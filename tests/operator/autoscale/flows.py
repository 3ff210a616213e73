"""Flows of sessions for tests."""

from genlock_operator.autoscale.arrivals import LONG_S, SHORT_S, Flow, Window


def flow_of(
    *, arrivals: int = 0, departures: int = 0, minute: int = 0, blocked: int = 0, seconds: float = LONG_S
) -> Flow:
    """So many in the last quarter of an hour (or `seconds`), and in the last minute."""
    return Flow(
        short=Window(SHORT_S, arrivals=minute, blocked=blocked),
        long=Window(seconds, arrivals=arrivals, departures=departures, blocked=blocked),
        covered_s=seconds,
    )
