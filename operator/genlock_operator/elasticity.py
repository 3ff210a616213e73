"""How pools follow the load: levels make room at once, workers come and go behind them, and people are told of both.

Who comes and goes is counted, what a pool should have is worked out of that, and what was decided is told in Redis:
gateways read it for people, every replica of the operator for KEDA.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from genlock_core.claims.claims import Claims
from genlock_core.claims.counters import CounterBoard
from genlock_core.clock import Clock
from genlock_core.levelling.keeper import RANK_OF_OPERATOR, LevelKeeper
from genlock_core.levelling.told import ToldPools
from genlock_core.metrics.levelling import LevellingMetrics
from genlock_core.store import Store
from genlock_operator.autoscale.recommend import Recommendation
from genlock_operator.keda.server import ScalerServer
from genlock_operator.reconcile.autoscaler import Autoscaler
from genlock_operator.reconcile.costs import CostTable
from genlock_operator.reconcile.counting import Counting
from genlock_operator.reconcile.pending import PendingSessions
from genlock_operator.reconcile.tables import WorkerTable
from genlock_operator.settings import OperatorSettings
from genlock_operator.watch.caches import Caches


class Elasticity:
    """`start`, then `loops` as tasks, then `stop`."""

    def __init__(
        self,
        settings: OperatorSettings,
        *,
        store: Store,
        claims: Claims,
        caches: Caches,
        workers: WorkerTable,
        costs: CostTable,
        pending: PendingSessions,
        clock: Clock,
        levelling: LevellingMetrics,
        beat: Callable[[str], None],
        leading: asyncio.Event,
        corrected: Callable[[], None],
        changed: Callable[[str], None],
        outdated: asyncio.Event,
        scaled: Callable[[str, Recommendation], None],
    ) -> None:
        """`corrected`, `changed` and `outdated` as of `Counting`, `scaled` as of `Autoscaler`."""
        self._address: Final = settings.scaler
        self._leading: Final = leading
        told = ToldPools(store)
        self.counting = Counting(
            board=CounterBoard(store),
            claims=claims,
            told=told,
            caches=caches,
            workers=workers,
            costs=costs,
            clock=clock,
            beat=beat,
            leads=leading.is_set,
            corrected=corrected,
            changed=changed,
            outdated=outdated,
        )
        self.autoscaler = Autoscaler(
            caches=caches,
            counting=self.counting,
            costs=costs,
            pending=pending,
            gpu_budget=dict(settings.gpu_budget),
            scaled=scaled,
            told=told,
            clock=clock,
        )
        self.levels = LevelKeeper(
            claims,
            told,
            holder=f"operator {settings.identity}",
            rank=RANK_OF_OPERATOR,
            clock=clock,
            metrics=levelling,
            covers=settings.scope.covers,
        )
        self._scaler = ScalerServer(told.scaling)

    async def start(self) -> int | None:
        """Serve KEDA, where that is wanted, and say at which port. Raises OSError."""
        return None if self._address is None else await self._scaler.start(self._address)

    async def stop(self) -> None:
        """Serve nobody any more."""
        await self._scaler.stop()

    async def inherit(self) -> None:
        """This replica leads now: believe what the leader before it had learned."""
        await self.counting.inherit()

    def loops(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What goes on at the same time, by name."""
        return {"counters of Redis": self.counting.run(), "levels": self._keep_levels()}

    async def _keep_levels(self) -> None:
        """While this replica leads; what is decided is in Redis alone, so nothing else has to be known."""
        await self._leading.wait()
        await self.levels.run()
