"""An autoscaler for reconcilers that are made by hand: its counters are never read."""

from genlock_core.claims.claims import Claims
from genlock_core.claims.counters import CounterBoard
from genlock_core.clock import Clock
from genlock_core.levelling.scaling import ScalingTold
from genlock_core.levelling.told import ToldPools
from genlock_operator.reconcile.autoscaler import Autoscaler
from genlock_operator.reconcile.costs import CostTable
from genlock_operator.reconcile.counting import Counting
from genlock_operator.reconcile.pending import PendingSessions
from genlock_operator.reconcile.tables import WorkerTable
from genlock_operator.watch.caches import Caches


class Told(ToldPools):
    """What pools were told of, in the test's own memory."""

    def __init__(self) -> None:
        self.scalings: list[tuple[str, ScalingTold]] = []

    async def scaling(self, pool: str) -> ScalingTold | None:
        return next((told for name, told in reversed(self.scalings) if name == pool), None)

    async def tell_scaling(self, pool: str, told: ScalingTold) -> None:
        self.scalings.append((pool, told))


def autoscaler(
    caches: Caches, clock: Clock, *, told: Told | None = None, gpu_budget: dict[str, int] | None = None
) -> Autoscaler:
    """With an empty table of costs."""
    costs = CostTable()
    counting = Counting(
        board=CounterBoard(None),  # type: ignore[arg-type]
        claims=Claims(None),  # type: ignore[arg-type]
        told=told or Told(),
        caches=caches,
        workers=WorkerTable(stuck_after_ms=30_000),
        costs=costs,
        clock=clock,
        beat=lambda _loop: None,
        leads=lambda: True,
        corrected=lambda: None,
        changed=lambda _pool: None,
    )
    return Autoscaler(
        caches=caches,
        counting=counting,
        costs=costs,
        pending=PendingSessions(),
        gpu_budget=gpu_budget or {},
        scaled=lambda _pool, _shown: None,
        told=told or Told(),
        clock=clock,
    )
