"""One session in one pool: which measurements speak of it there, are they in time, and what it costs by them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genlock_core.claims.identity import CAPACITY
from genlock_core.sizing.engine_rows import counts_for, rows_for
from genlock_core.sizing.profile import ProfileRow, resolution_tokens
from genlock_core.spec.engines import Coders, EngineKind
from genlock_core.spec.session import ResolvedSession


@dataclass(frozen=True, slots=True)
class PoolShape:
    """What a worker of a pool is: the model that is resident on it, its GPUs, and its engine."""

    name: str
    model: str
    gpu_product: str
    gpus: int
    """Those that its engine computes on."""
    engine: EngineKind | None
    """None: its workers are from before workers named their engine."""
    memory_bytes: int | None = None
    """GPU memory over all GPUs of the worker; None: not known, and then not checked."""
    coders: Coders = Coders()  # noqa: RUF009 - it is frozen
    """What its workers code pictures with."""


@dataclass(frozen=True, slots=True)
class PoolCandidate:
    """A pool that meets the session's service levels, by one measurement."""

    pool: PoolShape
    row: ProfileRow
    share: int
    """Sessions like this one that a worker serves at once."""
    exact: bool
    """Whether the row measured the session's own resolution and steps."""

    @property
    def gpus_per_session(self) -> float:
        return self.row.gpus / self.share

    @property
    def cost(self) -> int:
        """In thousandths of a worker."""
        return CAPACITY // self.share

    def rank(self) -> tuple[float, bool, bool, int, float, str]:
        """Cheapest first; then measured exactly, undisputed, few GPUs (a death takes fewer along), fast, by name."""
        row = self.row
        return self.gpus_per_session, not self.exact, row.doubtful, row.gpus, -row.fps_per_session, self.pool.name


def best_in(session: ResolvedSession, rows: Sequence[ProfileRow], pool: PoolShape) -> PoolCandidate | None:
    """The pool by the best measurement of it that meets the session's service levels."""
    fitting = fitting_rows(session, rows, pool)
    candidates = [found for row in fitting if isinstance(found := judge(session, row, pool), PoolCandidate)]
    return min(candidates, key=PoolCandidate.rank) if candidates else None


def is_late_in(session: ResolvedSession, rows: Sequence[ProfileRow], pool: PoolShape) -> bool:
    """Whether this very session was measured there, and its chunks came later than its frameDeadline each time."""
    exact = [row for row in fitting_rows(session, rows, pool) if _is_exact(session, row)]
    latencies = [row.chunk_latency_ms.p99 for row in exact if row.chunk_latency_ms is not None]
    return bool(latencies) and min(latencies) > session.frame_deadline_ms


def fitting_rows(session: ResolvedSession, rows: Iterable[ProfileRow], pool: PoolShape) -> list[ProfileRow]:
    """The pool's rows that measured this session, else those that measured a harder one."""
    here = rows_for(
        rows,
        engine=pool.engine,
        model=pool.model,
        gpu_product=pool.gpu_product,
        gpus=pool.gpus,
        coders=pool.coders,
    )
    exact = [row for row in here if _is_exact(session, row)]
    tokens = resolution_tokens(session.resolution)
    return exact or [row for row in here if row.tokens >= tokens and row.steps >= session.steps]


def judge(session: ResolvedSession, row: ProfileRow, pool: PoolShape) -> PoolCandidate | str:
    """The row as a candidate, or why it is none."""
    # Fast enough, and soon enough?
    share = sessions_in_time(row, session.frame_rate)
    if share < 1:
        best = row.sessions * row.fps_per_session
        return f"{best:.1f} fps at {row.resolution} and {row.steps} steps, {session.frame_rate} fps are needed"
    if row.chunk_latency_ms is not None and row.chunk_latency_ms.p99 > session.frame_deadline_ms:
        return f"a chunk takes {row.chunk_latency_ms.p99:g} ms (p99), frameDeadline is {session.frame_deadline_ms} ms"
    if row.first_frame_ms is not None and row.first_frame_ms > session.time_to_first_frame_ms:
        return (
            f"the first frame takes {row.first_frame_ms:g} ms, timeToFirstFrame is {session.time_to_first_frame_ms} ms"
        )

    # Does the model fit, and how many sessions beside it?
    if pool.memory_bytes is not None and row.bytes_resident is not None and row.bytes_resident > pool.memory_bytes:
        return f"the model needs {row.bytes_resident} bytes of GPU memory, a worker has {pool.memory_bytes}"
    share = min(share, CAPACITY, _sessions_in_memory(row, pool, otherwise=share))
    if share < 1:
        return f"GPU memory: a worker's {pool.memory_bytes} bytes hold the model, but not one session beside it"
    return PoolCandidate(pool, row, share, exact=_is_exact(session, row))


def sessions_in_time(row: ProfileRow, frame_rate: int) -> int:
    """How many equal sessions of `frame_rate` the measured worker serves: floor(sessions * fps / frame_rate).

    The row's sessions together made `sessions * fps_per_session` frames a second. Sessions that take turns on a
    worker share that sum. Running their rows in one batch only makes it larger, as a batch of n rows takes less time
    than n forwards: the figure is on the safe side.

    0 if even one session would be too slow. A row counts also if its sessions were slower than the frame rate beside
    each other: fewer of them run then.
    """
    return int(row.sessions * row.fps_per_session // frame_rate)


def why_not(session: ResolvedSession, rows: Sequence[ProfileRow], pool: PoolShape) -> list[str]:
    """Why a pool cannot take the session, with what would help."""
    head = f"pool {pool.name} ({pool.gpus}x {pool.gpu_product})"

    # Nobody measured this session, or a harder one, on GPUs like these.
    fitting = fitting_rows(session, rows, pool)
    if not fitting:
        speaking = [row for row in rows if row.model == session.model and counts_for(row, pool.engine, pool.coders)]
        shapes = sorted({f"{row.gpus}x {row.gpu_product}" for row in speaking})
        if f"{pool.gpus}x {pool.gpu_product}" in shapes:
            return [f"{head}: no profile of {session.resolution} at {session.steps} steps or more"]
        shape = "this shape" if pool.engine != "diffusion" else "this shape that counts for the diffusion engine"
        return [f"{head}: no profile of {shape} (profiled: {', '.join(shapes) or 'none'})"]

    # Where every row is too slow, the fastest one says how much is missing; else each says what it broke.
    verdicts = dict.fromkeys(str(judge(session, row, pool)) for row in fitting)
    too_slow = all(sessions_in_time(row, session.frame_rate) < 1 for row in fitting)
    if too_slow:
        best = max(fitting, key=lambda row: row.sessions * row.fps_per_session)
        advice = "lower steps, resolution or frameRate, or use more GPUs"
        return [f"{head}: at best {judge(session, best, pool)}; {advice}"]
    return [f"{head}: {verdict}" for verdict in verdicts]


def _is_exact(session: ResolvedSession, row: ProfileRow) -> bool:
    return row.resolution.is_alike(session.resolution) and row.steps == session.steps


def _sessions_in_memory(row: ProfileRow, pool: PoolShape, *, otherwise: int) -> int:
    if pool.memory_bytes is None or row.bytes_resident is None or not row.bytes_per_session:
        return otherwise
    return (pool.memory_bytes - row.bytes_resident) // row.bytes_per_session
