"""What a worker measures."""

from typing import Annotated

from prometheus_client import Counter, Gauge, Histogram

from genlock_core.metrics.bundle import (
    BYTE_BUCKETS,
    FIRST_FRAME_BUCKETS_S,
    FRAME_BUCKETS_S,
    GAP_BUCKETS_S,
    LATENCY_BUCKETS_S,
    ROW_BUCKETS,
    Bundle,
    about,
)


class WorkerMetrics(Bundle):
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
            "Frames that went no further: late, overload, undecodable, before-key-frame, stale, paused or left-out "
            "(the session runs at half its frames)",
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
    video_seconds: Annotated[
        Counter,
        about("genlock_video_seconds", "Seconds of its source for which generated chunks stand", "session"),
    ]
    engine_seconds: Annotated[
        Counter,
        about(
            "genlock_engine_seconds",
            "Time of the micro-steps in which a session had rows: over genlock_video_seconds_total it is the real-time "
            "factor, below 1 the engine keeps ahead (slo/continuity.py)",
            "session",
        ),
    ]
    publisher_bytes: Annotated[
        Gauge,
        about(
            "genlock_worker_publisher_bytes",
            "What a session's publisher holds in buffers of this worker (bounds.md)",
            "session",
        ),
    ]
    output_fps: Annotated[Gauge, about("genlock_worker_output_fps", "Generated frames per second", "session")]
    steps: Annotated[Gauge, about("genlock_worker_steps", "Denoising steps in use", "session")]
    frame_rate: Annotated[
        Gauge,
        about(
            "genlock_worker_frame_rate",
            "Frames per second that a session runs at: half of its own while every second frame is left out",
            "session",
        ),
    ]
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
    late_seconds: Annotated[
        Gauge,
        about(
            "genlock_worker_late_seconds",
            "The longest time, of the last five to ten seconds, for which the event loop or the engine stood still",
        ),
    ]
    overloaded: Annotated[
        Gauge,
        about(
            "genlock_worker_overloaded",
            "1 while its sessions come late and can give way no further: it is given no new session",
        ),
    ]
    strained: Annotated[
        Gauge,
        about(
            "genlock_engine_strained",
            "1 while the machine is too busy for the engine, which makes pictures plainer to keep its pace",
        ),
    ]
    engine_memory: Annotated[
        Gauge,
        about(
            "genlock_engine_memory_bytes",
            "Memory of the engine's device; part: resident (the model), sessions (set aside for them) or free",
            "part",
        ),
    ]
    session_memory: Annotated[
        Gauge,
        about(
            "genlock_session_memory_bytes",
            "Memory of the engine's device that is set aside for a session; none from an engine that does not count it",
            "session",
        ),
    ]
    queued_rows: Annotated[Gauge, about("genlock_scheduler_queued_rows", "Rows that are ready and wait")]
    queue_seconds: Annotated[
        Histogram,
        about("genlock_scheduler_queue_seconds", "Chunk complete to its first micro-step", buckets=LATENCY_BUCKETS_S),
    ]
    step_changes: Annotated[
        Counter,
        about(
            "genlock_step_changes",
            "Changes of the step count; cause: control, granted (what the claim pays for), overload or relief",
            "cause",
        ),
    ]
    frame_rate_changes: Annotated[
        Counter,
        about(
            "genlock_frame_rate_changes",
            "Changes of the frame rate; cause: granted (what the claim pays for), overload or relief",
            "cause",
        ),
    ]
    ceiling: Annotated[
        Gauge,
        about(
            "genlock_worker_ceiling",
            "The most that a session's claim pays for, as its worker holds it; of: steps, or every (1 of so many "
            "frames). No series where nothing is granted",
            "session",
            "of",
        ),
    ]
    ceiling_answers: Annotated[
        Counter,
        about(
            "genlock_worker_ceiling_answers",
            "What heartbeats were told of sessions' ceilings; result: same, lower, higher, or older (an answer that "
            "came late, or a Redis that went back)",
            "result",
        ),
    ]
    level_settle_seconds: Annotated[
        Histogram,
        about(
            "genlock_worker_level_settle_seconds",
            "Lower ceiling heard to its claim made cheaper: the engine keeps to it, and Redis knows",
            buckets=LATENCY_BUCKETS_S,
        ),
    ]
    level_change_seconds: Annotated[
        Histogram,
        about(
            "genlock_worker_level_change_seconds",
            "Other ceiling heard to the first frame sent at the level that follows from it; not of a source at rest",
            buckets=FRAME_BUCKETS_S,
        ),
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
            "genlock_snapshot_failures",
            "Snapshots that were not stored: fenced, too-large, room (the budget has none), redis or engine",
            "reason",
        ),
    ]
    snapshot_room_bytes: Annotated[
        Gauge,
        about(
            "genlock_snapshot_room_bytes",
            "Bytes of this worker's snapshots in Redis; part: held (so many are stored) or granted (so many may be)",
            "part",
        ),
    ]
    snapshot_short_sessions: Annotated[
        Gauge,
        about(
            "genlock_snapshot_short_sessions",
            "Sessions of this worker whose newest snapshot is not stored, as the budget has no room for it",
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
    snapshot_refusals: Annotated[
        Counter,
        about(
            "genlock_snapshot_refusals",
            "Stored snapshots that no stream could go on from; reason: damaged, format (not read by this worker) or "
            "engine (it is not a state of this model and these settings, or there is no memory for it)",
            "reason",
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
    decoder_losses: Annotated[
        Counter,
        about(
            "genlock_worker_decoder_losses",
            "Decoders' processes that were lost (--decode-process): died, memory (its limit), hung, garbled or "
            "not-ready",
            "reason",
        ),
    ]
    nursery_restarts: Annotated[
        Counter,
        about(
            "genlock_worker_nursery_restarts",
            "Starts of a nursery of decoders in place of one that died or hung (--decode-process)",
        ),
    ]
    encoder_seconds: Annotated[
        Histogram,
        about("genlock_encoder_seconds", "Time to encode one frame, by codec", "codec", buckets=LATENCY_BUCKETS_S),
    ]
    encoder_bytes: Annotated[Counter, about("genlock_encoder_bytes", "Bytes of generated video, by codec", "codec")]
    preview_taps: Annotated[Gauge, about("genlock_preview_taps", "Sessions of this worker that are previewed now")]
    preview_pictures: Annotated[Counter, about("genlock_preview_pictures", "Pictures encoded for previews")]
    preview_encode_seconds: Annotated[
        Histogram,
        about(
            "genlock_preview_encode_seconds",
            "Picture taken to its JPEG file there, the wait for the thread included",
            buckets=LATENCY_BUCKETS_S,
        ),
    ]
    preview_refusals: Annotated[
        Counter,
        about(
            "genlock_preview_refusals",
            "Subscriptions to pictures that were refused: not-served, not-owner or no-slot",
            "reason",
        ),
    ]
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
    warm_up_seconds: Annotated[
        Gauge,
        about("genlock_worker_warm_up_seconds", "What the engine's warm-up took, part of the phase engine; 0: none"),
    ]
    warm_up_lacks: Annotated[
        Gauge,
        about("genlock_worker_warm_up_lacks", "What the warm-up found no room for; the worker is ready without it"),
    ]
