"""Where a session runs: among measured rows, the cheapest one that meets its service levels, and what it costs there.

Pure: rows and pools in, a Placement or the reasons against one out. `claims` then takes the choices in their order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from genlock_core.claims.identity import CAPACITY
from genlock_core.claims.record import PoolChoice
from genlock_core.sizing.engine_rows import counts_for, rows_for
from genlock_core.sizing.profile import ProfileRow, resolution_tokens
from genlock_core.spec.engines import EngineKind
from genlock_core.spec.fields import MOST_STEPS
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


@dataclass(frozen=True, slots=True)
class Placement:
    """The pools that can serve a session in time, cheapest first; the other fields speak of the first of them."""

    choices: tuple[PoolChoice, ...]
    row: ProfileRow
    sessions_per_worker: int
    gpus: float
    """GPUs per session: those of a worker over the sessions that share it."""
    unprofiled: tuple[str, ...]
    """Service levels that were not checked because nobody measured them, in words."""


class UnplaceableKind(StrEnum):
    """What is missing, for programs."""

    NO_POOL = "NoPool"  # no pool has the model
    NO_PROFILE = "NoProfile"  # nobody measured the model
    NO_POOL_OF_SHAPE = "NoPoolOfShape"  # pools have it, but by what was measured none meets the service levels


@dataclass(frozen=True, slots=True)
class Unplaceable:
    """No pool can serve the session in time."""

    kind: UnplaceableKind
    reasons: tuple[str, ...]
    """One or more sentences per pool, or what is missing altogether; each says what would help."""

    def __str__(self) -> str:
        return "; ".join(self.reasons)


@dataclass(frozen=True, slots=True)
class _Candidate:
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


def place(session: ResolvedSession, rows: Sequence[ProfileRow], pools: Sequence[PoolShape]) -> Placement | Unplaceable:
    """The cheapest pools, in GPUs per session, that meet the session's service levels.

    A row counts for a pool if model, GPU product and number of GPUs are the pool's, and if it was measured with the
    pool's engine or may stand in for it (`engine_rows`). If the session's own resolution
    and steps were never measured there, a row with at least as many tokens and steps may stand in: it can only be
    slower.

    The frame rate is always checked. Chunk latency (p99 against frameDeadline) and first frame are checked where they
    are profiled; what was not checked is named in `unprofiled`.
    """
    if not any(pool.model == session.model for pool in pools):
        return Unplaceable(UnplaceableKind.NO_POOL, (_no_pool(session, pools),))
    if not any(row.model == session.model for row in rows):
        known = ", ".join(sorted({row.model for row in rows})) or "none"
        missing = f"there is no profile of the model {session.model} (profiled: {known})"
        return Unplaceable(UnplaceableKind.NO_PROFILE, (missing,))

    # The best measurement of each pool that can take the session, and of every other pool why it cannot.
    best: list[_Candidate] = []
    reasons: list[str] = []
    for pool in pools:
        if pool.model != session.model:
            continue
        found = _best_in(session, rows, pool)
        if found is not None:
            best.append(found)
        else:
            reasons.extend(_why_not(session, rows, _rows_for(session, rows, pool), pool))
    if not best:
        return Unplaceable(UnplaceableKind.NO_POOL_OF_SHAPE, tuple(dict.fromkeys(reasons)))

    best.sort(key=_Candidate.rank)
    first = best[0]
    return Placement(
        choices=tuple(PoolChoice(found.pool.name, found.cost, _levels(session, rows, found)) for found in best),
        row=first.row,
        sessions_per_worker=first.share,
        gpus=first.gpus_per_session,
        unprofiled=_unprofiled(first),
    )


def sessions_in_time(row: ProfileRow, frame_rate: int) -> int:
    """How many equal sessions of `frame_rate` the measured worker serves: floor(sessions * fps / frame_rate).

    The row's sessions together made `sessions * fps_per_session` frames a second. Sessions that take turns on a
    worker share that sum. Running their rows in one batch only makes it larger, as a batch of n rows takes less time
    than n forwards: the figure is on the safe side.

    0 if even one session would be too slow. A row counts also if its sessions were slower than the frame rate beside
    each other: fewer of them run then.
    """
    return int(row.sessions * row.fps_per_session // frame_rate)


def _best_in(session: ResolvedSession, rows: Sequence[ProfileRow], pool: PoolShape) -> _Candidate | None:
    """The pool by the best measurement of it that meets the session's service levels."""
    fitting = _rows_for(session, rows, pool)
    candidates = [found for row in fitting if isinstance(found := _judge(session, row, pool), _Candidate)]
    return min(candidates, key=_Candidate.rank) if candidates else None


def _levels(session: ResolvedSession, rows: Sequence[ProfileRow], own: _Candidate) -> tuple[int, ...]:
    """What the session costs in that pool at 1, 2, ... steps.

    At steps at which nothing measured is in time, a worker has enough to do with this session alone: its user may ask
    for them, at the price of all of it. More steps never cost less, whatever two measurements say of each other.
    """
    costs = [own.cost] * MOST_STEPS
    for steps in range(session.steps + 1, MOST_STEPS + 1):
        found = _best_in(session.model_copy(update={"steps": steps}), rows, own.pool)
        costs[steps - 1] = max(costs[steps - 2], CAPACITY if found is None else found.cost)
    for steps in range(session.steps - 1, 0, -1):
        found = _best_in(session.model_copy(update={"steps": steps}), rows, own.pool)
        costs[steps - 1] = min(costs[steps], CAPACITY if found is None else found.cost)
    return tuple(costs)


def _rows_for(session: ResolvedSession, rows: Iterable[ProfileRow], pool: PoolShape) -> list[ProfileRow]:
    """The pool's rows that measured this session, else those that measured a harder one."""
    here = rows_for(rows, engine=pool.engine, model=pool.model, gpu_product=pool.gpu_product, gpus=pool.gpus)
    exact = [row for row in here if _is_exact(session, row)]
    tokens = resolution_tokens(session.resolution)
    return exact or [row for row in here if row.tokens >= tokens and row.steps >= session.steps]


def _is_exact(session: ResolvedSession, row: ProfileRow) -> bool:
    return row.resolution.is_alike(session.resolution) and row.steps == session.steps


def _judge(session: ResolvedSession, row: ProfileRow, pool: PoolShape) -> _Candidate | str:
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
    return _Candidate(pool, row, share, exact=_is_exact(session, row))


def _sessions_in_memory(row: ProfileRow, pool: PoolShape, *, otherwise: int) -> int:
    if pool.memory_bytes is None or row.bytes_resident is None or not row.bytes_per_session:
        return otherwise
    return (pool.memory_bytes - row.bytes_resident) // row.bytes_per_session


def _unprofiled(candidate: _Candidate) -> tuple[str, ...]:
    row, missing = candidate.row, []
    if not candidate.exact:
        missing.append(f"frame rate at the session's own shape (taken from {row.resolution}, {row.steps} steps)")
    if candidate.pool.engine == "diffusion" and row.engine == "reference":
        missing.append("frame rate with this engine (taken from the reference implementation)")
    if row.chunk_latency_ms is None:
        missing.append("chunk latency")
    elif candidate.share > row.sessions:
        missing.append(f"chunk latency with {candidate.share} sessions (measured with {row.sessions})")
    if row.first_frame_ms is None:
        missing.append("time to first frame")
    if candidate.pool.memory_bytes is None or row.bytes_resident is None or row.bytes_per_session is None:
        missing.append("GPU memory")
    return tuple(missing)


def _no_pool(session: ResolvedSession, pools: Sequence[PoolShape]) -> str:
    served = ", ".join(sorted({pool.model for pool in pools})) or "none"
    return f"no pool serves the model {session.model} (served: {served})"


def _why_not(
    session: ResolvedSession, rows: Sequence[ProfileRow], fitting: Sequence[ProfileRow], pool: PoolShape
) -> list[str]:
    """Why a pool cannot take the session, with what would help."""
    head = f"pool {pool.name} ({pool.gpus}x {pool.gpu_product})"

    # Nobody measured this session, or a harder one, on GPUs like these.
    if not fitting:
        speaking = [row for row in rows if row.model == session.model and counts_for(row, pool.engine)]
        shapes = sorted({f"{row.gpus}x {row.gpu_product}" for row in speaking})
        if f"{pool.gpus}x {pool.gpu_product}" in shapes:
            return [f"{head}: no profile of {session.resolution} at {session.steps} steps or more"]
        shape = "this shape" if pool.engine != "diffusion" else "this shape that counts for the diffusion engine"
        return [f"{head}: no profile of {shape} (profiled: {', '.join(shapes) or 'none'})"]

    # Where every row is too slow, the fastest one says how much is missing; else each says what it broke.
    verdicts = dict.fromkeys(str(_judge(session, row, pool)) for row in fitting)
    too_slow = all(sessions_in_time(row, session.frame_rate) < 1 for row in fitting)
    if too_slow:
        best = max(fitting, key=lambda row: row.sessions * row.fps_per_session)
        advice = "lower steps, resolution or frameRate, or use more GPUs"
        return [f"{head}: at best {_judge(session, best, pool)}; {advice}"]
    return [f"{head}: {verdict}" for verdict in verdicts]
