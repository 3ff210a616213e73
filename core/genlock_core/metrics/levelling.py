"""What whoever decides on levels measures: the operator while it leads, else one of the gateways."""

from typing import Annotated

from prometheus_client import Counter, Gauge, Histogram

from genlock_core.metrics.bundle import LATENCY_BUCKETS_S, Bundle, about


class LevellingMetrics(Bundle):
    """Of the pools that this process decides on. `pool` is the name of such a pool; its series go with the lease."""

    changes: Annotated[
        Counter,
        about(
            "genlock_level_changes",
            "Changes of what sessions are granted; direction: down or up; cause: admission (another session waits for "
            "a worker), fairness (another one of its worker has more of the room), surplus (it had more than it "
            "requests) or room (there is room again)",
            "direction",
            "cause",
        ),
    ]
    sessions: Annotated[
        Gauge,
        about(
            "genlock_level_sessions",
            "Sessions that have a worker, by the level that they are granted: its steps, with -half where every second "
            "frame is left out",
            "pool",
            "level",
        ),
    ]
    degraded_seconds: Annotated[
        Counter,
        about(
            "genlock_degraded_seconds",
            "Time in which sessions were granted less than they request, all of them together",
            "pool",
        ),
    ]
    plan_seconds: Annotated[
        Histogram, about("genlock_level_plan_seconds", "Time of one plan of levels", buckets=LATENCY_BUCKETS_S)
    ]
    gap: Annotated[
        Gauge,
        about(
            "genlock_level_gap",
            "The share of the best possible quality that the pool's levels have not, 0 to 1, by a bound that no plan "
            "can beat",
            "pool",
        ),
    ]

    def drop_pool(self, pool: str) -> None:
        """Take away the series of a pool that this process does not decide on any more."""
        self._drop("pool", pool)
