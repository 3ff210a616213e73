"""What the operator measures."""

from typing import Annotated

from prometheus_client import Counter, Gauge, Histogram

from genlock_core.metrics.bundle import (
    ASSIGN_BUCKETS_S,
    DRAIN_BUCKETS_S,
    LATENCY_BUCKETS_S,
    STARTUP_BUCKETS_S,
    Bundle,
    about,
)


class OperatorMetrics(Bundle):
    """What an operator process measures: how soon it acts, what it decided, and what keeps sessions waiting.

    The label `pool` is `namespace/name` of a pool that exists; `drop_pool` takes its series away. Sessions are no
    label here: there are thousands of them.
    """

    reconcile_seconds: Annotated[
        Histogram,
        about(
            "genlock_operator_reconcile_seconds",
            "Time of one reconciliation, by the object's kind (StreamSession or WorkerPool); result: done, again (it "
            "is to be looked at once more, now or at some time), conflict (the object had changed) or failed",
            "kind",
            "result",
            buckets=LATENCY_BUCKETS_S,
        ),
    ]
    queue_depth: Annotated[Gauge, about("genlock_operator_queue_depth", "Objects that wait to be reconciled")]
    watch_age: Annotated[
        Gauge,
        about(
            "genlock_operator_watch_age_seconds",
            "Time since a watch last told of the Lease, which changes every second; NaN before the first time",
        ),
    ]
    kube_api_seconds: Annotated[
        Histogram,
        about(
            "genlock_operator_kube_api_seconds",
            "Time of a request to the API server; verb: get, list, create, patch or delete; code: the HTTP status, or "
            "error where there was none",
            "verb",
            "code",
            buckets=LATENCY_BUCKETS_S,
        ),
    ]
    leader: Annotated[Gauge, about("genlock_operator_leader", "1 while this replica holds the Lease and acts, else 0")]
    sessions: Annotated[Gauge, about("genlock_operator_sessions", "StreamSessions, by phase", "phase")]
    blocked_sessions: Annotated[
        Gauge,
        about(
            "genlock_operator_blocked_sessions",
            "StreamSessions that have no worker now, by the reason of their condition (NoPool, PoolFull, ...)",
            "reason",
        ),
    ]
    blocked: Annotated[
        Counter,
        about(
            "genlock_operator_blocked",
            "Times a StreamSession began to wait for a worker, by the reason of its condition",
            "reason",
        ),
    ]
    assign_seconds: Annotated[
        Histogram,
        about(
            "genlock_operator_assign_seconds",
            "From when a watch first told of a StreamSession without a status to its status Assigned, of sessions that "
            "found room at once or later; the API server's own time of creation has whole seconds",
            buckets=ASSIGN_BUCKETS_S,
        ),
    ]
    claims: Annotated[
        Counter,
        about(
            "genlock_operator_claims",
            "Claims that the operator tried; result: claimed, no-capacity, overtaken (it was over by then) or failed",
            "result",
        ),
    ]
    moves: Annotated[
        Counter,
        about(
            "genlock_operator_moves",
            "Moves that the operator tried; cause: drain or requested; result: won, adopted, no-capacity, "
            "overtaken (it was over, or had no owner by then) or failed",
            "cause",
            "result",
        ),
    ]
    pool_workers: Annotated[
        Gauge,
        about(
            "genlock_operator_pool_workers",
            "Worker pods of a pool; state: starting, warm, serving, draining or failing",
            "pool",
            "state",
        ),
    ]
    pool_desired: Annotated[Gauge, about("genlock_operator_pool_desired", "Workers that a pool wants now", "pool")]
    pool_free: Annotated[Gauge, about("genlock_operator_pool_free", "Free capacity of a pool, in workers", "pool")]
    autoscale_workers: Annotated[
        Gauge,
        about(
            "genlock_operator_autoscale_workers",
            "Workers by term of a pool's autoscaling: need (its sessions), beside them warm (for who comes while a "
            "worker starts), blocked (for who was turned away) or buffer; the floors replicas, min and schedule; the "
            "bounds max and budget (NaN: none); asked (without bounds) and desired",
            "pool",
            "term",
        ),
    ]
    autoscale_reason: Annotated[
        Gauge,
        about(
            "genlock_operator_autoscale_reason",
            "1 for the term that decides a pool's number of workers (Sessions, Arrivals, Maximum, MetricsStale, ...), "
            "else 0",
            "pool",
            "reason",
        ),
    ]
    autoscale_mode: Annotated[
        Gauge,
        about(
            "genlock_operator_autoscale_mode",
            "1 for the mode of a pool's autoscaling (SLO, External, Recommend), else 0; with the two last ones "
            "autoscale_workers and _reason are only shown",
            "pool",
            "mode",
        ),
    ]
    worker_startup_seconds: Annotated[
        Histogram,
        about(
            "genlock_operator_worker_startup_seconds",
            "Time that new workers took for a phase of their start, from the phase before: scheduled, started, ready "
            "or registered",
            "pool",
            "phase",
            buckets=STARTUP_BUCKETS_S,
        ),
    ]
    drain_seconds: Annotated[
        Histogram,
        about(
            "genlock_operator_drain_seconds",
            "Begin of a worker's drain to its pod deleted; outcome: in-time, or overdue (past the pool's timeout)",
            "pool",
            "outcome",
            buckets=DRAIN_BUCKETS_S,
        ),
    ]
    pod_creations: Annotated[
        Counter,
        about(
            "genlock_operator_pod_creations",
            "Pods that the operator asked for; result: created, there (it was already), quota, refused or failed",
            "pool",
            "result",
        ),
    ]
    events: Annotated[
        Counter,
        about(
            "genlock_operator_events",
            "Events on our objects; result: posted, repeated (said a while ago), dropped (too many at once) or failed",
            "result",
        ),
    ]
    store_up: Annotated[Gauge, about("genlock_operator_store_up", "1 while Redis answers, else 0")]
    store_bytes: Annotated[
        Gauge,
        about(
            "genlock_operator_store_bytes",
            "Memory of Redis, of a cluster's fullest master; part: used, or limit (its maxmemory; 0: it has none)",
            "part",
        ),
    ]
    snapshot_bytes: Annotated[
        Gauge,
        about(
            "genlock_operator_snapshot_bytes",
            "What all snapshots may take of Redis; part: budget, or booked (what sessions hold and are granted of it)",
            "part",
        ),
    ]

    def drop_pool(self, pool: str) -> None:
        """Take away every series of a pool (`namespace/name`) that is no more."""
        self._drop("pool", pool)
