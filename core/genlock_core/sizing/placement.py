"""Where a session runs: among measured rows, the cheapest one that meets its service levels, and what it costs there.

Pure: rows and pools in, a Placement or the reasons against one out. `claims` then takes the choices in their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from genlock_core.claims.record import PoolChoice
from genlock_core.sizing.candidates import PoolCandidate, PoolShape, best_in, why_not
from genlock_core.sizing.prices import prices_of
from genlock_core.sizing.profile import ProfileRow
from genlock_core.spec.session import ResolvedSession


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
    best: list[PoolCandidate] = []
    reasons: list[str] = []
    for pool in pools:
        if pool.model != session.model:
            continue
        found = best_in(session, rows, pool)
        if found is not None:
            best.append(found)
        else:
            reasons.extend(why_not(session, rows, pool))
    if not best:
        return Unplaceable(UnplaceableKind.NO_POOL_OF_SHAPE, tuple(dict.fromkeys(reasons)))

    best.sort(key=PoolCandidate.rank)
    first = best[0]
    lists = [prices_of(session, rows, found) for found in best]
    return Placement(
        choices=tuple(one.choice for one in lists),
        row=first.row,
        sessions_per_worker=first.share,
        gpus=first.gpus_per_session,
        unprofiled=(*_unprofiled(first), *lists[0].unprofiled),
    )


def _unprofiled(candidate: PoolCandidate) -> tuple[str, ...]:
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
