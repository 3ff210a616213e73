"""What a gateway measures."""

from typing import Annotated

from prometheus_client import Counter, Gauge, Histogram

from genlock_core.metrics.bundle import (
    FIRST_FRAME_BUCKETS_S,
    FRAME_BUCKETS_S,
    GAP_BUCKETS_S,
    LATENCY_BUCKETS_S,
    Bundle,
    about,
)


class GatewayMetrics(Bundle):
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
    first_frame_leg: Annotated[
        Histogram,
        about(
            "genlock_first_frame_leg_seconds",
            "Where the time to the first frame goes: answer, connect, slot and camera before the publisher's first "
            "frame is in; open, chunk, queue, engine, pace and encode after it",
            "leg",
            buckets=GAP_BUCKETS_S,
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
            "newer than what was shown), overlap (of a successor, where the leaving worker is shown), before-key-frame "
            "or fan-out (sending to viewers fell behind)",
            "reason",
        ),
    ]
    publisher_bytes: Annotated[
        Gauge,
        about(
            "genlock_gateway_publisher_bytes",
            "What a session's publisher holds in buffers of this gateway (bounds.md)",
            "session",
        ),
    ]
    unusable_publications: Annotated[
        Counter,
        about(
            "genlock_gateway_unusable_publications",
            "Publications that came to make no picture; reason: no-key-frame, no-parameter-sets, unsupported-profile, "
            "encrypted or undecodable",
            "reason",
        ),
    ]
    takeovers: Annotated[
        Counter,
        about(
            "genlock_gateway_takeovers",
            "Publications that took the place of one that was still there; how: asked (takeover=true) or unasked (the "
            "same publisher has come back, or the one before was silent)",
            "how",
        ),
    ]
    ice_restarts: Annotated[
        Counter,
        about(
            "genlock_gateway_ice_restarts",
            "ICE restarts that clients asked for; role: publish or view; result: answered (also where the answer was "
            "lost and is sent once more) or too-many",
            "role",
            "result",
        ),
    ]
    freezes: Annotated[
        Counter,
        about("genlock_freezes", "Gaps of more than 3 frame periods beyond the pace, as viewers see them", "session"),
    ]
    freeze_seconds: Annotated[Counter, about("genlock_freeze_seconds", "Time frozen beyond the pace", "session")]
    play_seconds: Annotated[
        Counter,
        about(
            "genlock_play_seconds",
            "Time in which viewers were to see pictures move: from the first one on, without rests (paused, nobody "
            "publishes or watches)",
            "session",
            "pool",
        ),
    ]
    stall_seconds: Annotated[
        Counter,
        about(
            "genlock_stall_seconds",
            "Of genlock_play_seconds_total the time in which the next picture was due and not there: the "
            "continuous-play ratio is 1 minus its share (slo/continuity.py)",
            "session",
            "pool",
        ),
    ]
    time_to_first_chunk: Annotated[
        Histogram,
        about(
            "genlock_time_to_first_chunk_seconds",
            "A publisher's offer to the first picture of the first chunk that is handed to viewers",
            "pool",
            buckets=FIRST_FRAME_BUCKETS_S,
        ),
    ]
    picture_age: Annotated[
        Histogram,
        about(
            "genlock_picture_age_seconds",
            "How long ago what viewers see was captured, once in each frame period, while a picture stands too; where "
            "the publisher is at this gateway",
            "pool",
            buckets=FRAME_BUCKETS_S,
        ),
    ]
    session_picture_age: Annotated[
        Gauge,
        about(
            "genlock_session_picture_age_seconds",
            "The same of one session, of its last half minute; quantile: 0.5 or 0.95",
            "session",
            "quantile",
        ),
    ]
    recovery_gap: Annotated[
        Histogram,
        about(
            "genlock_recovery_gap_seconds",
            "The freeze that a fault caused, by the cause of the move",
            "cause",
            buckets=GAP_BUCKETS_S,
        ),
    ]
    recovery_leg: Annotated[
        Histogram,
        about(
            "genlock_recovery_leg_seconds",
            "Where the time of a recovery goes: detect, claim, open, restore, picture, idr",
            "leg",
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
    session_moves: Annotated[
        Counter,
        about(
            "genlock_session_moves",
            "Moves of a session that this gateway followed to another worker, by whomever; cause: refused, silent, "
            "expired, drain, requested or unknown",
            "session",
            "cause",
        ),
    ]
    blocked: Annotated[Counter, about("genlock_blocked", "Requests turned away for want of capacity", "role")]
    room_waits: Annotated[
        Counter,
        about(
            "genlock_gateway_room_waits",
            "Offers that found no room; result: served (room was made while they waited), refused, left (the client "
            "went) or no-place (too many waited)",
            "result",
        ),
    ]
    overloaded: Annotated[
        Counter,
        about(
            "genlock_gateway_overloaded",
            "Requests turned away as all workers are overloaded; also counted as genlock_blocked",
            "role",
        ),
    ]
    connections: Annotated[Gauge, about("genlock_gateway_connections", "Connections over HTTP that are open")]
    connections_ended: Annotated[
        Counter,
        about(
            "genlock_gateway_connections_ended",
            "Connections that this gateway ended, or did not let in; reason: late (a request was not whole in time), "
            "idle, stalled (nothing was taken of what was sent), gave-way (to a new one), address-full or full",
            "reason",
        ),
    ]
    misdirected: Annotated[
        Counter,
        about(
            "genlock_gateway_misdirected",
            "Requests that are not for this gateway; reason: unknown-name (--server-name), no-name or bad-target",
            "reason",
        ),
    ]
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
    preview_watches: Annotated[
        Gauge, about("genlock_preview_watches", "Sessions whose preview somebody asks this gateway for")
    ]
    record_reads: Annotated[
        Counter,
        about(
            "genlock_gateway_record_reads",
            "Sessions' records that requests over HTTP asked for; result: kept (no question to Redis) or read",
            "result",
        ),
    ]
    preview_requests: Annotated[
        Counter,
        about(
            "genlock_preview_requests",
            "Previews asked for by whoever may see them; result: picture, no-picture, no-worker, worker-full, "
            "worker-too-old or gateway-full",
            "result",
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
