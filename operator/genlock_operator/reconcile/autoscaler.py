"""What pools' plans are told of traffic and of the GPU budget, and what is told of their recommendations.

A budget is shared by all pools of a product. So each pool's wish is remembered here, where the others' plans find what
it leaves them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from genlock_operator.autoscale.budget import PoolWish, shares
from genlock_operator.autoscale.recommend import Recommendation
from genlock_operator.observed import Demand, PoolResource, PoolTraffic
from genlock_operator.reconcile.costs import CostTable
from genlock_operator.reconcile.counting import Counting
from genlock_operator.reconcile.pending import PendingSessions
from genlock_operator.watch.caches import Caches


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
    _asked: dict[str, int] = field(default_factory=dict)
    """By pool: the workers that its last plan asked for."""

    def traffic_of(self, pool: PoolResource) -> PoolTraffic:
        """What the pool's plan goes by."""
        name = pool.meta.key
        return PoolTraffic(
            flow=self.counting.flow_of(name),
            age_s=self.counting.age_s(name),
            session_cost=self.costs.usual(name),
            budget=self._share_of(pool),
        )

    def demand_of(self, pool: str) -> tuple[Demand, ...]:
        """Who waits for the pool: sessions that were planned here, and those that only claims know."""
        planned = set(self.pending.names())
        known = [one for one in self.counting.waiting if one.pool == pool and one.session not in planned]
        return (*self.pending.demand_for(pool), *known)

    def note(self, pool: str, shown: Recommendation, asked: int) -> None:
        """A plan was made: what autoscaling says, and how many workers the pool asks for without bounds."""
        self._asked[pool] = asked
        self.scaled(pool, shown)

    def forget(self, pool: str) -> None:
        """It is gone."""
        self._asked.pop(pool, None)

    def _share_of(self, pool: PoolResource) -> int | None:
        if pool.spec.gpu.product not in self.gpu_budget:
            return None
        wishes = [self._wish_of(one) for one in self.caches.pools if not one.meta.deleting]
        return shares(wishes, self.gpu_budget).get(pool.meta.key, 0)

    def _wish_of(self, pool: PoolResource) -> PoolWish:
        """What a pool that was not planned yet wants is what it wanted last."""
        spec = pool.spec
        asked = self._asked.get(pool.meta.key, pool.status.desired)
        return PoolWish(
            pool=pool.meta.key,
            product=spec.gpu.product,
            gpus=spec.gpu.count,
            floor=spec.min,
            wish=min(spec.max, max(spec.min, asked)),
            weight=spec.autoscaling.weight,
        )
