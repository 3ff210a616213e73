"""Where a session could run: the pools that serve its namespace, each sized by the profiles of its own namespace."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from genlock_core.approximation.levels import levels_of
from genlock_core.claims.identity import CAPACITY
from genlock_core.claims.price_list import PoolChoice
from genlock_core.sizing.candidates import PoolShape
from genlock_core.sizing.measured import FpsBySize, measured_fps
from genlock_core.sizing.measured_steps import StepTimeBySize, measured_step_times
from genlock_core.sizing.placement import Placement, PoolOffer, Unplaceable, place_among
from genlock_core.sizing.profile import ProfileRow
from genlock_core.spec.engines import coders_of
from genlock_core.spec.pool import SessionNamespaces
from genlock_core.spec.session import ResolvedSession
from genlock_operator.autoscale.correction import Correction
from genlock_operator.observed import PoolResource
from genlock_operator.watch.caches import Caches

REMEMBERED: Final = 1_000
"""Shapes of sessions; people use few."""


@dataclass(slots=True)
class Placer:
    """Finds placements, and keeps them for other sessions of the same shape while no pool and no profile changes."""

    caches: Caches
    speeds: Mapping[str, Correction]
    """By pool: how fast its workers are, where that is not as profiled."""
    _known: dict[object, Placement | Unplaceable] = field(default_factory=dict)
    _by: object = None
    """What the known ones were found by."""
    _read: object = None
    """How often pools and profiles had changed when that was read, and the speeds then."""

    def placement_of(self, session: ResolvedSession) -> Placement | Unplaceable:
        """The placement by the pools and profiles as they are now."""
        self._forget_what_is_old()
        asked = _shape_of(session)
        known = self._known.get(asked)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[asked] = placement_of(session, self.caches, self.speeds)
        return known

    def _forget_what_is_old(self) -> None:
        caches = self.caches
        speeds = dict(self.speeds)
        read = caches.pools.changes, caches.profiles.changes, speeds
        if read == self._read:
            return
        self._read = read
        rows = [(one.meta.namespace, one.rows) for one in caches.profiles]
        by = [offer_of(pool) for pool in caches.pools], rows, speeds
        if by != self._by:
            self._by = by
            self._known.clear()


def _shape_of(session: ResolvedSession) -> object:
    """All of a session that placement goes by."""
    return (
        session.key.namespace,
        session.model,
        session.steps,
        session.resolution.width,
        session.resolution.height,
        session.frame_rate,
        session.frame_deadline_ms,
        session.time_to_first_frame_ms,
        levels_of(session),
        session.approximation.models,
    )


def offer_of(pool: PoolResource) -> object:
    """All of a pool that placement goes by. Most changes of a pool, its status above all, change none of it."""
    spec = pool.spec
    return pool.meta.key, pool.meta.uid, pool.meta.deleting, spec.model, spec.engine, spec.gpu, spec.session_namespaces


def placement_of(
    session: ResolvedSession, caches: Caches, speeds: Mapping[str, Correction] = MappingProxyType({})
) -> Placement | Unplaceable:
    """The session's placement by these pools and profiles; the cheapest pool by the profiles first.

    `speeds`, by pool, corrects what it costs where workers are not as fast as profiled.
    """
    pools = [pool for pool in caches.pools if serves(pool, session.key.namespace)]

    # Each pool is sized by the profiles of its own namespace.
    found = place_among(session, [PoolOffer(shape(pool), _rows(caches, pool)) for pool in pools])
    if isinstance(found, Unplaceable):
        return found
    as_it_is = Correction()
    return replace(found, choices=tuple(_corrected(one, speeds.get(one.pool, as_it_is)) for one in found.choices))


def _corrected(choice: PoolChoice, by: Correction) -> PoolChoice:
    """The choice with every price of its list as the workers' own speed makes it."""
    return replace(
        choice,
        cost=by.cost(choice.cost, most=CAPACITY),
        levels=tuple(by.cost(cost, most=CAPACITY) for cost in choice.levels),
        half=None if choice.half is None else replace(choice.half, cost=by.cost(choice.half.cost, most=CAPACITY)),
    )


def serves(pool: PoolResource, namespace: str) -> bool:
    """Whether the pool takes sessions of that namespace. One that is being deleted takes none."""
    everybody = pool.spec.session_namespaces is SessionNamespaces.ALL
    return not pool.meta.deleting and (everybody or pool.meta.namespace == namespace)


def shape(pool: PoolResource) -> PoolShape:
    """What sizing knows of the pool. GPUs that its engine does not compute on make no stream faster."""
    spec = pool.spec
    coders = coders_of(spec.template.env)
    return PoolShape(pool.meta.key, spec.model, spec.gpu.product, spec.computes_on, spec.engine, coders=coders)


def measured_of(pool: PoolResource, caches: Caches) -> FpsBySize:
    """What these profiles say of one session alone on the pool's workers."""
    spec = pool.spec
    return measured_fps(
        _rows(caches, pool),
        engine=spec.engine,
        model=spec.model,
        gpu_product=spec.gpu.product,
        gpus=spec.computes_on,
        coders=coders_of(spec.template.env),
    )


def step_times_of(pool: PoolResource, caches: Caches) -> StepTimeBySize:
    """What these profiles say of a forward on the pool's workers."""
    spec = pool.spec
    return measured_step_times(
        _rows(caches, pool),
        engine=spec.engine,
        model=spec.model,
        gpu_product=spec.gpu.product,
        gpus=spec.computes_on,
        coders=coders_of(spec.template.env),
    )


def _rows(caches: Caches, pool: PoolResource) -> list[ProfileRow]:
    return [row for one in caches.profiles if one.meta.namespace == pool.meta.namespace for row in one.rows]
