"""Every Prometheus metric of the gateway and the worker, each defined once; `docs/metrics.md` is made from here.

A bundle is built on a registry that the caller gives, so that two gateways live in one process in the tests. Names
carry their unit. Labels are bounded: `session` is `namespace/name` of a session that is served right now, and
`drop_session` takes its series away when it ends; every other label takes its values from a fixed set named here.

`python -m genlock_core.metrics` prints the document.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_type_hints

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
FRAME_BUCKETS_S = (0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
FIRST_FRAME_BUCKETS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
GAP_BUCKETS_S = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
ROW_BUCKETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
BYTE_BUCKETS = (16e3, 64e3, 256e3, 1e6, 2e6, 4e6, 8e6, 16e6, 32e6)


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric: its name (a counter's without the `_total` that Prometheus shows), meaning and labels."""

    name: str
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] | None


def about(name: str, meaning: str, *labels: str, buckets: tuple[float, ...] | None = None) -> Definition:
    """A definition, written where the bundle declares the metric."""
    return Definition(name, meaning, labels, buckets)


class _Bundle:
    """Builds every metric that a subclass declares as `name: Annotated[kind, about(...)]`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        for attribute, kind, definition in self.definitions():
            options: dict[str, Any] = {} if definition.buckets is None else {"buckets": definition.buckets}
            metric = kind(definition.name, definition.help, definition.labels, registry=registry, **options)
            setattr(self, attribute, metric)

    @classmethod
    def definitions(cls) -> Iterator[tuple[str, type[MetricWrapperBase], Definition]]:
        """Every metric: the attribute, the kind and the definition, in the order in which they are written."""
        for attribute, hint in get_type_hints(cls, include_extras=True).items():
            kind, definition = get_args(hint)
            yield attribute, kind, definition

    def drop_session(self, session: str) -> None:
        """Take away every series of a session (`namespace/name`) that this process serves no more."""
        for attribute, _, definition in self.definitions():
            if "session" in definition.labels:
                getattr(self, attribute).remove_by_labels({"session": session})


class GatewayMetrics(_Bundle):
    """What a gateway process measures: everything that a publisher or a viewer would notice."""

    sessions: Annotated[Gauge, about("genlock_gateway_sessions", "Sessions on record, by phase", "phase")]
    publishers: Annotated[Gauge, about("genlock_gateway_publishers", "Publishers connected to this gateway")]
    viewers: Annotated[Gauge, about("genlock_gateway_viewers", "Viewers connected to this gateway", "session")]
    time_to_first_frame: Annotated[
        Histogram,
        about(
            "genlock_time_to_first_frame_seconds",
            "The publisher's first frame in to the first generated frame out, at this gateway",
            buckets=FIRST_FRAME_BUCKETS_S,
        ),
    ]
    frame_latency: Annotated[
        Histogram,
        about(
            "genlock_frame_latency_seconds",
            "Capture to handed to the viewers, of frames whose publisher is at this gateway too",
            buckets=FRAME_BUCKETS_S,
        ),
    ]
    frame_leg: Annotated[
        Histogram,
        about(
            "genlock_frame_leg_seconds",
            "What a frame spent in each leg of its way (slo/stages.py)",
            "leg",
            buckets=FRAME_BUCKETS_S,
        ),
    ]
    frames_in: Annotated[Counter, about("genlock_gateway_frames_in", "Access units taken from publishers", "session")]
    frames_out: Annotated[Counter, about("genlock_gateway_frames_out", "Generated frames handed to viewers", "session")]
    frames_dropped: Annotated[
        Counter,
        about(
            "genlock_gateway_frames_dropped",
            "Frames not passed on: incomplete (the publisher's packets were lost), no-worker, stale-epoch, old (not "
            "newer than what was shown), before-key-frame or fan-out (sending to viewers fell behind)",
            "reason",
        ),
    ]
    freezes: Annotated[
        Counter,
        about("genlock_freezes", "Gaps of more than 3 frame periods beyond the pace, as viewers see them", "session"),
    ]
    freeze_seconds: Annotated[Counter, about("genlock_freeze_seconds", "Time frozen beyond the pace", "session")]
    recovery_gap: Annotated[
        Histogram,
        about(
            "genlock_recovery_gap_seconds",
            "The freeze that a fault caused, by the cause of the move",
            "cause",
            buckets=GAP_BUCKETS_S,
        ),
    ]
    moves: Annotated[
        Counter,
        about(
            "genlock_moves",
            "Moves this gateway tried; cause: refused, silent, expired, drain or requested; "
            "result: won, adopted, no-capacity or failed",
            "cause",
            "result",
        ),
    ]
    blocked: Annotated[Counter, about("genlock_blocked", "Requests turned away for want of capacity", "role")]
    claim_seconds: Annotated[
        Histogram,
        about(
            "genlock_gateway_claim_seconds",
            "Time of a claims script in Redis, by operation (claim, move, release, expire, record)",
            "operation",
            buckets=LATENCY_BUCKETS_S,
        ),
    ]
    links: Annotated[Gauge, about("genlock_gateway_links", "Links to workers that are up")]
    link_bytes: Annotated[
        Counter, about("genlock_gateway_link_bytes", "Bytes on the links to workers; direction: in or out", "direction")
    ]
    link_drops: Annotated[
        Counter,
        about(
            "genlock_gateway_link_drops",
            "Publishers' frames dropped because the link to a worker was too slow",
        ),
    ]
    key_frame_requests: Annotated[
        Counter,
        about("genlock_gateway_key_frame_requests", "Requests for an IDR sent on; to: publisher or worker", "to"),
    ]
    peers_failed: Annotated[
        Counter,
        about(
            "genlock_gateway_peers_failed",
            "Peer connections that ended without a goodbye; role: publish or view",
            "role",
        ),
    ]
    setup_seconds: Annotated[
        Histogram,
        about(
            "genlock_gateway_setup_seconds",
            "Offer received to peer connected; role: publish or view",
            "role",
            buckets=FIRST_FRAME_BUCKETS_S,
        ),
    ]
    redis_up: Annotated[Gauge, about("genlock_gateway_redis_up", "1 while Redis answers, else 0")]
    event_lag: Annotated[
        Gauge, about("genlock_gateway_event_lag_seconds", "Age of the last event read when it was read")
    ]
    http_requests: Annotated[
        Counter,
        about(
            "genlock_gateway_http_requests",
            "HTTP requests by method, route template and status code",
            "method",
            "route",
            "status",
        ),
    ]
    http_seconds: Annotated[
        Histogram,
        about(
            "genlock_gateway_http_seconds",
            "Time to answer an HTTP request, by route template",
            "route",
            buckets=LATENCY_BUCKETS_S,
        ),
    ]


class WorkerMetrics(_Bundle):
    """What a worker process measures: the engine and everything between a decoded and an encoded picture."""

    sessions: Annotated[Gauge, about("genlock_worker_sessions", "Sessions served by this worker, by phase", "phase")]
    capacity: Annotated[
        Gauge,
        about(
            "genlock_worker_capacity_thousandths", "Capacity in thousandths of a worker; state: total or free", "state"
        ),
    ]
    links: Annotated[Gauge, about("genlock_worker_links", "Gateways linked to this worker")]
    link_bytes: Annotated[
        Counter, about("genlock_worker_link_bytes", "Bytes on the links to gateways; direction: in or out", "direction")
    ]
    link_drops: Annotated[
        Counter,
        about(
            "genlock_worker_link_drops",
            "Generated frames dropped because the link to a gateway was too slow",
        ),
    ]
    frames_in: Annotated[
        Counter, about("genlock_worker_frames_in", "Input frames decoded or made by a source", "session")
    ]
    frames_out: Annotated[Counter, about("genlock_worker_frames_out", "Generated frames sent", "session")]
    frames_dropped: Annotated[
        Counter,
        about(
            "genlock_worker_frames_dropped",
            "Frames that went no further: late, overload, undecodable, before-key-frame, stale or paused",
            "session",
            "reason",
        ),
    ]
    deadline_misses: Annotated[
        Counter, about("genlock_deadline_misses", "Generated frames that were sent after their due time", "session")
    ]
    miss_share: Annotated[
        Gauge,
        about("genlock_deadline_miss_ratio", "Share of the last window's frames that missed their deadline", "session"),
    ]
    output_fps: Annotated[Gauge, about("genlock_worker_output_fps", "Generated frames per second", "session")]
    steps: Annotated[Gauge, about("genlock_worker_steps", "Denoising steps in use", "session")]
    chunk_latency: Annotated[
        Histogram,
        about("genlock_chunk_latency_seconds", "Chunk complete to its first frame sent", buckets=FRAME_BUCKETS_S),
    ]
    first_frame: Annotated[
        Histogram,
        about(
            "genlock_worker_first_frame_seconds",
            "First input frame in to first generated frame sent, at the worker",
            buckets=FIRST_FRAME_BUCKETS_S,
        ),
    ]
    micro_step: Annotated[
        Histogram,
        about("genlock_engine_micro_step_seconds", "Time of one micro-step of the engine", buckets=LATENCY_BUCKETS_S),
    ]
    micro_step_rows: Annotated[
        Histogram,
        about("genlock_engine_micro_step_rows", "Rows (session x denoising step) in a micro-step", buckets=ROW_BUCKETS),
    ]
    engine_failures: Annotated[Counter, about("genlock_engine_failures", "Sessions that the engine had to reset")]
    engine_progress: Annotated[
        Gauge,
        about(
            "genlock_engine_progress",
            "The engine loop's counter, as in the heartbeat; stands still if the engine hangs",
        ),
    ]
    queued_rows: Annotated[Gauge, about("genlock_scheduler_queued_rows", "Rows that are ready and wait")]
    queue_seconds: Annotated[
        Histogram,
        about("genlock_scheduler_queue_seconds", "Chunk complete to its first micro-step", buckets=LATENCY_BUCKETS_S),
    ]
    step_changes: Annotated[
        Counter, about("genlock_step_changes", "Changes of the step count; cause: control, overload or relief", "cause")
    ]
    snapshot_seconds: Annotated[
        Histogram,
        about("genlock_snapshot_seconds", "Time to take, encode and store a snapshot delta", buckets=LATENCY_BUCKETS_S),
    ]
    snapshot_bytes: Annotated[
        Histogram, about("genlock_snapshot_bytes", "Bytes written per snapshot delta", buckets=BYTE_BUCKETS)
    ]
    snapshot_failures: Annotated[
        Counter,
        about(
            "genlock_snapshot_failures", "Snapshots that were not stored: fenced, too-large, redis or engine", "reason"
        ),
    ]
    restores: Annotated[
        Counter,
        about(
            "genlock_restores",
            "Sessions taken over; result: restored, fresh (no snapshot) or refused (unusable)",
            "result",
        ),
    ]
    restore_seconds: Annotated[
        Histogram,
        about(
            "genlock_restore_seconds", "Assignment read to engine ready with the restored state", buckets=GAP_BUCKETS_S
        ),
    ]
    decoder_seconds: Annotated[
        Histogram, about("genlock_decoder_seconds", "Time to decode one frame", buckets=LATENCY_BUCKETS_S)
    ]
    encoder_seconds: Annotated[
        Histogram,
        about("genlock_encoder_seconds", "Time to encode one frame, by codec", "codec", buckets=LATENCY_BUCKETS_S),
    ]
    encoder_bytes: Annotated[Counter, about("genlock_encoder_bytes", "Bytes of generated video, by codec", "codec")]
    heartbeats: Annotated[
        Counter, about("genlock_worker_heartbeats", "Renewals of the leases; result: ok or failed", "result")
    ]
    renew_seconds: Annotated[
        Histogram, about("genlock_worker_renew_seconds", "Time of the renew script in Redis", buckets=LATENCY_BUCKETS_S)
    ]
    stale_epochs: Annotated[
        Counter, about("genlock_worker_stale_epochs", "Times this worker found that a session belongs to another owner")
    ]
    startup_seconds: Annotated[
        Gauge,
        about(
            "genlock_worker_startup_seconds",
            "What each phase of the worker's start took: import, redis, engine, registered",
            "phase",
        ),
    ]


def document() -> str:
    """`docs/metrics.md`."""
    lines = [
        "# Metrics",
        "",
        "Made by `python -m genlock_core.metrics > docs/metrics.md`; a test keeps it true. Names carry their unit; a",
        "histogram also has `_bucket`, `_sum` and `_count`. The label `session` is `namespace/name` of a session that",
        "the process serves right now; its series go when the session leaves. Other labels have few, fixed values.",
    ]
    for title, bundle in (("Gateway", GatewayMetrics), ("Worker", WorkerMetrics)):
        lines += ["", f"## {title}", "", "| name | kind | labels | meaning |", "|---|---|---|---|"]
        for _, kind, definition in bundle.definitions():
            name = f"{definition.name}_total" if kind is Counter else definition.name
            labels = ", ".join(f"`{label}`" for label in definition.labels) or "-"
            lines.append(f"| `{name}` | {kind.__name__.lower()} | {labels} | {definition.help} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
