"""Where a session runs: among measured rows, the cheapest one that meets its service levels, and what it costs there.

Pure: rows and pools in, a Placement or the reasons against one out. `claims` then takes the choices in their order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from genlock_core.claims.record import PoolChoice
from genlock_core.sizing.candidates import PoolCandidate, PoolShape, best_in, why_not
from genlock_core.sizing.prices import prices_of
from genlock_core.sizing.profile import ProfileRow
from genlock_core.spec.session import ResolvedSession


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
class Placement:
    """The pools that can serve a session in time, cheapest first; the other fields speak of the first of them."""

    choices: tuple[PoolChoice, ...]
    row: ProfileRow
    sessions_per_worker: int
    gpus: float
    """GPUs per session: those of a worker over the sessions that share it."""
    unprofiled: tuple[str, ...]
    """Service levels that were not checked because nobody measured them, in words."""
    not_standing_in: Mapping[str, Unplaceable] = field(default_factory=dict)
    """Models that may stand in for the session's own, and cannot; each with the reason."""


@dataclass(frozen=True, slots=True)
class PoolOffer:
    """A pool, and the measurements that it is sized by."""

    pool: PoolShape
    rows: Sequence[ProfileRow]


def place(session: ResolvedSession, rows: Sequence[ProfileRow], pools: Sequence[PoolShape]) -> Placement | Unplaceable:
    """As `place_among`, where all pools are sized by the same measurements."""
    return place_among(session, [PoolOffer(pool, rows) for pool in pools])


def place_among(session: ResolvedSession, offers: Sequence[PoolOffer]) -> Placement | Unplaceable:
    """The cheapest pools, in GPUs per session, that meet the session's service levels.

    A row counts for a pool if model, GPU product and number of GPUs are the pool's, and if it was measured with the
    pool's engine or may stand in for it (`engine_rows`). If the session's own resolution
    and steps were never measured there, a row with at least as many tokens and steps may stand in: it can only be
    slower.

    The frame rate is always checked. Chunk latency (p99 against frameDeadline) and first frame are checked where they
    are profiled; what was not checked is named in `unprofiled`.

    Pools of models that may stand in for the session's own come after all of its own. Where no pool has its own in
    time it has no placement: what is missing is told, and not covered up.
    """
    best = _candidates(session, offers)
    if isinstance(best, Unplaceable):
        return best

    lists = [prices_of(session, rows, found) for found, rows in best]
    others, not_standing_in = _stand_ins(session, offers)
    first = best[0][0]
    return Placement(
        choices=(*(one.choice for one in lists), *others),
        row=first.row,
        sessions_per_worker=first.share,
        gpus=first.gpus_per_session,
        unprofiled=(*_unprofiled(first), *lists[0].unprofiled),
        not_standing_in=not_standing_in,
    )


def stand_in_mistakes(session: ResolvedSession, rows: Sequence[ProfileRow]) -> list[str]:
    """What whoever knows all profiles says of models that were never measured: most likely a name is mistyped."""
    known = {row.model for row in rows}
    asked = [session.model_copy(update={"model": model}) for model in session.approximation.models]
    return [f"approximation.models: {_no_profile(other, rows)}" for other in asked if other.model not in known]


_Candidates = list[tuple[PoolCandidate, Sequence[ProfileRow]]]


def _candidates(session: ResolvedSession, offers: Sequence[PoolOffer]) -> _Candidates | Unplaceable:
    """The best measurement of each pool that can take the session, the best pool first; or of every pool why not."""
    fitting = [offer for offer in offers if offer.pool.model == session.model]
    if not fitting:
        return Unplaceable(UnplaceableKind.NO_POOL, (_no_pool(session, offers),))

    best: _Candidates = []
    kinds: set[UnplaceableKind] = set()
    reasons: list[str] = []
    for offer in fitting:
        found = best_in(session, offer.rows, offer.pool)
        if found is not None:
            best.append((found, offer.rows))
        elif any(row.model == session.model for row in offer.rows):
            kinds.add(UnplaceableKind.NO_POOL_OF_SHAPE)
            reasons.extend(why_not(session, offer.rows, offer.pool))
        else:
            kinds.add(UnplaceableKind.NO_PROFILE)
            reasons.append(_no_profile(session, offer.rows))

    if not best:
        # One reason stands for all pools; where they differ, it is that none of them fits.
        kind = kinds.pop() if len(kinds) == 1 else UnplaceableKind.NO_POOL_OF_SHAPE
        return Unplaceable(kind, tuple(dict.fromkeys(reasons)))
    return sorted(best, key=lambda one: one[0].rank())


def _stand_ins(
    session: ResolvedSession, offers: Sequence[PoolOffer]
) -> tuple[tuple[PoolChoice, ...], Mapping[str, Unplaceable]]:
    """The choices of the models that may stand in, in the order of the spec; and of the others why they cannot."""
    choices: list[PoolChoice] = []
    missing: dict[str, Unplaceable] = {}
    for model in session.approximation.models:
        other = session.model_copy(update={"model": model})
        found = _candidates(other, offers)
        if isinstance(found, Unplaceable):
            missing[model] = found
        else:
            choices += [replace(prices_of(other, rows, one).choice, model=model) for one, rows in found]
    return tuple(choices), missing


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


def _no_pool(session: ResolvedSession, offers: Sequence[PoolOffer]) -> str:
    served = ", ".join(sorted({offer.pool.model for offer in offers})) or "none"
    return f"no pool serves the model {session.model} (served: {served})"


def _no_profile(session: ResolvedSession, rows: Sequence[ProfileRow]) -> str:
    known = ", ".join(sorted({row.model for row in rows})) or "none"
    return f"there is no profile of the model {session.model} (profiled: {known})"
