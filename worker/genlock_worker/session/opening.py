"""What a session needs before its first frame: the last owner's state, the requested settings, the engine's plan."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from redis.exceptions import RedisError

from genlock_core.approximation.levels import Level
from genlock_core.claims.claims import Claims
from genlock_core.claims.record import SessionRecord
from genlock_core.clock import Clock
from genlock_core.errors import StaleEpoch
from genlock_core.metrics import WorkerMetrics
from genlock_core.spec.session import ApproximationPolicy, Phase, ResolvedSession, SnapshotPolicy, SourceType
from genlock_core.stream_state.control import ControlStream
from genlock_core.stream_state.snapshot_store import SnapshotStore
from genlock_worker.engines.contract import StreamSettings
from genlock_worker.intake.decoding import Decoding
from genlock_worker.output.encode import EncoderSettings
from genlock_worker.output.output import Output, SentFrame
from genlock_worker.output.pacing import Pacer
from genlock_worker.rows.engine_client import EngineClient
from genlock_worker.rows.session_rows import SessionPlan
from genlock_worker.session.controls import RequestedSettings
from genlock_worker.session.figures import FrameCounts
from genlock_worker.snapshots.room import SnapshotRoom
from genlock_worker.snapshots.writer import Restored, SnapshotWriter, take_over

logger = logging.getLogger(__name__)

RETRY_S = 0.2
LAST_CHUNK_S = 0.3
"""After a polite move the last owner, which serves on, gets this long to store the chunk that it had just finished: who
moved the session, an operator say, did not wait for it."""


@dataclass(frozen=True, slots=True)
class Services:
    """What all sessions of a worker share. `snapshot_format` gives the one to write now."""

    engine: EngineClient
    claims: Claims
    control: ControlStream
    snapshots: SnapshotStore
    snapshot_room: SnapshotRoom
    clock: Clock
    metrics: WorkerMetrics
    frame_counts: FrameCounts
    h264: str
    media_root: Path | None
    decoding: Decoding
    snapshot_format: Callable[[], int]


async def read_state(
    record: SessionRecord, *, epoch: int, services: Services
) -> tuple[Restored | None, RequestedSettings]:
    """Raise the fence, then read snapshot and control stream; tries again while Redis is away. Raises StaleEpoch.

    A fence that was raised too early would only cost the last chunk's state: what was seen is never shown again.

    The whole control stream counts, not only what came after the snapshot: an entry may have been read and not yet
    have reached the engine when the snapshot was taken.
    """
    requested = RequestedSettings.of(record.session, record.control)
    if record.phase is Phase.DRAINING:
        await asyncio.sleep(LAST_CHUNK_S)

    while True:
        try:
            restored = await take_over(
                services.snapshots,
                session=record.name,
                model=services.engine.model,
                epoch=epoch,
                metrics=services.metrics,
            )
            while entries := await services.control.read(record.name, after=requested.control_id):
                requested = requested.after(entries)
            return restored, requested
        except RedisError as error:
            logger.warning("%s: cannot read the session's state yet: %s", record.name, error)
            await asyncio.sleep(RETRY_S)


def snapshot_writer(
    session: str,
    *,
    epoch: int,
    services: Services,
    restored: Restored | None,
    policy: SnapshotPolicy,
    on_stale: Callable[[StaleEpoch], None],
) -> SnapshotWriter:
    """Who goes on with the session's stored state, from where the last owner left it."""
    return SnapshotWriter(
        services.snapshots,
        session=session,
        model=services.engine.model,
        epoch=epoch,
        clock=services.clock,
        metrics=services.metrics,
        room=services.snapshot_room,
        wants_room=policy is not SnapshotPolicy.NEVER,
        version=services.snapshot_format,
        note_format=lambda version: services.claims.note_snapshot_format(session, epoch=epoch, version=version),
        on_stale=on_stale,
        restored=restored,
    )


def output_for(
    spec: ResolvedSession, *, services: Services, executor: ThreadPoolExecutor, on_sent: Callable[[SentFrame], None]
) -> Output:
    """The way out of a session as its spec wants it, with this worker's encoders."""
    size = spec.resolution
    return Output(
        session=str(spec.key),
        settings=EncoderSettings(size.width, size.height, spec.frame_rate, spec.output.bitrate),
        h264=services.h264,
        pacer=Pacer(frame_rate=spec.frame_rate, deadline_s=spec.frame_deadline_ms / 1000),
        clock=services.clock,
        executor=executor,
        metrics=services.metrics,
        on_sent=on_sent,
    )


def engine_name(session: str, epoch: int) -> str:
    """What the engine calls a session: under another epoch it is another one."""
    return f"{session}@{epoch}"


def plan_for(
    spec: ResolvedSession, requested: RequestedSettings, *, model: str, epoch: int, granted: Level | None = None
) -> SessionPlan:
    """The session under this epoch, as the engine loop must know it."""
    adaptive = spec.approximation.policy is ApproximationPolicy.ADAPTIVE
    return SessionPlan(
        session=engine_name(str(spec.key), epoch),
        model=model,
        settings=StreamSettings(
            prompt=requested.prompt,
            steps=requested.steps,
            width=spec.resolution.width,
            height=spec.resolution.height,
            frame_rate=spec.frame_rate,
            seed=spec.seed,
            noise_scale=requested.noise_scale,
            text_only=spec.source.type is SourceType.NONE,
        ),
        deadline_s=spec.frame_deadline_ms / 1000,
        min_steps=spec.approximation.min_steps if adaptive else None,
        may_halve=spec.may_halve,
        granted=granted,
    )
