"""What pools' plans are told of traffic and of the GPU budget, and what is told of their recommendations.

A budget is shared by all pools of a product. So each pool's wish is remembered here, where the others' plans find what
it leaves them.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from genlock_core.claims.identity import CAPACITY
from genlock_core.clock import Clock
from genlock_core.levelling.scaling import ScalingTold
from genlock_core.levelling.told import ToldPools
from genlock_core.spec.autoscaling import ScalingMode
from genlock_operator.actions import ShowScaling
from genlock_operator.autoscale.budget import PoolWish, shares
from genlock_operator.autoscale.correction import Correction
from genlock_operator.autoscale.explain import explain
from genlock_operator.autoscale.recommend import Recommendation
from genlock_operator.autoscale.schedule import scheduled_floor
from genlock_operator.autoscale.stabilise import WantedLately
from genlock_operator.observed import Demand, PodRole, PoolResource, PoolTraffic
from genlock_operator.plan.pool.members import FINISHED_PHASES
from genlock_operator.reconcile.costs import CostTable
from genlock_operator.reconcile.counting import Counting
from genlock_operator.reconcile.pending import PendingSessions
from genlock_operator.watch.caches import Caches

TELL_EVERY_S: Final = 10.0


@dataclass(slots=True)
class Autoscaler:
    """Between the counters and the pools' plans. `scaled` is told every recommendation."""

    caches: Caches
    counting: Counting
    costs: CostTable
    pending: PendingSessions
    gpu_budget: Mapping[str, int]
    """GPUs that all pools of a product may have, by product."""
    scaled: Callable[[str, Recommendation], None]
    told: ToldPools
    clock: Clock
    _told: dict[str, tuple[float, object]] = field(default_factory=dict)
    """By pool: when it was told last, and the gist of it."""
    _asked: dict[str, int] = field(default_factory=dict)
    """By pool: the workers that its last plan asked for."""
    _wanted: dict[str, WantedLately] = field(default_factory=dict)
    """By pool: what its plans have asked for, one after the other."""

    def traffic_of(self, pool: PoolResource) -> PoolTraffic:
        """What the pool's plan goes by."""
        name = pool.meta.key
        return PoolTraffic(
            flow=self.counting.flow_of(name),
            age_s=self.counting.age_s(name),
            session_cost=self.costs.usual(name) or self._usually_paid(name),
            budget=self._share_of(pool),
            wanted=self._wanted[name].all if name in self._wanted else (),
        )

    def demand_of(self, pool: str) -> tuple[Demand, ...]:
        """Who waits for the pool: sessions that were planned here, and those that only claims know."""
        planned = set(self.pending.names())
        known = [one for one in self.counting.waiting if one.pool == pool and one.session not in planned]
        return (*self.pending.demand_for(pool), *known)

    async def show(self, scaling: ShowScaling) -> None:
        """A plan was made: let the other pools, the metrics and people know. Raises RedisError."""
        pool = scaling.pool
        self._asked[pool] = scaling.asked
        self._wanted.setdefault(pool, WantedLately()).note(self.clock.wall_ms() / 1_000, scaling.asked)
        self.scaled(pool, scaling.shown)

        # The sentences hold running figures: they are written when the number or its reason changes, and now and then.
        gist = scaling.shown.desired, scaling.shown.reason
        told_s, told = self._told.get(pool, (-TELL_EVERY_S, None))
        now_s = self.clock.monotonic()
        if gist != told or now_s - told_s >= TELL_EVERY_S:
            await self.told.tell_scaling(pool, self._story(pool, scaling.shown))
            self._told[pool] = now_s, gist

    def forget(self, pool: str) -> None:
        """It is gone."""
        self._asked.pop(pool, None)
        self._wanted.pop(pool, None)
        self._told.pop(pool, None)

    def _story(self, pool: str, shown: Recommendation) -> ScalingTold:
        correction = self.counting.speeds.get(pool, Correction())
        return ScalingTold(
            at_ms=self.clock.wall_ms(),
            mode=shown.mode.value,
            desired=shown.desired,
            reason=shown.reason.value,
            terms=shown.terms,
            speed=correction.speed,
            sentences=tuple(explain(shown, correction)),
        )

    def _usually_paid(self, pool: str) -> int:
        """What a session of the pool pays on average; of one without sessions nobody knows, so it is a whole worker.

        A new leader has read no session yet. To take a whole worker for each then would make a pool several times as
        large as it has to be.
        """
        views = self.counting.workers.of_pool(pool).values()
        sessions = sum(len(view.sessions) for view in views)
        paid = sum(view.capacity - view.free for view in views)
        return min(CAPACITY, max(1, round(paid / sessions))) if sessions else CAPACITY

    def _share_of(self, pool: PoolResource) -> int | None:
        """In workers; None: its GPUs have no budget.

        Who has more than its share keeps that until its sessions can move. Until then it is not there for others.
        """
        product = pool.spec.gpu.product
        if product not in self.gpu_budget:
            return None
        wishes = [self._wish_of(one) for one in self.caches.pools if not one.meta.deleting]
        share = shares(wishes, self.gpu_budget).get(pool.meta.key, 0)

        # Pods that wait for a node count as well: they take the next GPUs.
        running = (pod for pod in self.caches.pods if pod.phase not in FINISHED_PHASES)
        there = Counter(pod.pool for pod in running if pod.role is PodRole.WORKER)
        others = [one for one in self.caches.pools if one.spec.gpu.product == product and one.meta.key != pool.meta.key]
        left = self.gpu_budget[product] - sum(there[one.meta.key] * one.spec.gpu.count for one in others)
        return min(share, max(there[pool.meta.key], left // pool.spec.gpu.count))

    def _wish_of(self, pool: PoolResource) -> PoolWish:
        """What a pool that was not planned yet wants is what it wanted last."""
        spec = pool.spec
        asked = self._asked.get(pool.meta.key, pool.status.desired)
        follows = spec.autoscaling.mode is not ScalingMode.EXTERNAL
        floor = max(spec.min, scheduled_floor(spec.autoscaling, self.clock.wall_ms()) if follows else 0)
        return PoolWish(
            pool=pool.meta.key,
            product=spec.gpu.product,
            gpus=spec.gpu.count,
            floor=floor,
            wish=min(spec.max, max(floor, asked)),
            weight=spec.autoscaling.weight,
        )
