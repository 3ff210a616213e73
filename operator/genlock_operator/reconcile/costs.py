"""What each session takes of its worker, as its record said when it was last read.

Sessions' reconciliations read the records, pools' plans need the sums. It is kept in memory alone; a new leader looks
at every session, which makes it anew. A session that was not read yet counts with what its claim pays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from genlock_core.claims.identity import CAPACITY
from genlock_core.claims.record import SessionRecord
from genlock_core.levelling.ladders import ladder_of
from genlock_operator.observed import SessionCost


@dataclass(slots=True)
class CostTable:
    """The costs of the sessions that have a worker, by pool."""

    _pool: dict[str, str] = field(default_factory=dict)
    """By session."""
    _costs: dict[str, dict[str, SessionCost]] = field(default_factory=dict)
    """By pool and session."""
    _budgets: dict[str, float] = field(default_factory=dict)
    """By session: the share of its frames that may be late."""
    _usual: dict[str, int] = field(default_factory=dict)
    """By pool without sessions: what its last one asked for."""

    def note(self, session: str, record: SessionRecord | None) -> None:
        """What a session's record says now; None: it has none."""
        self._drop(session)
        cost = _cost_of(record) if record is not None else None
        if record is None or cost is None:
            return
        self._pool[session] = record.pool
        self._costs.setdefault(record.pool, {})[session] = cost
        self._budgets[session] = record.session.miss_budget

    def of_pool(self, pool: str) -> Mapping[str, SessionCost]:
        return self._costs.get(pool, {})

    def usual(self, pool: str) -> int | None:
        """What a new session of the pool is expected to ask for: the mean of those there are, else as the last one.

        None where none was read yet.
        """
        costs = self._costs.get(pool)
        if not costs:
            return self._usual.get(pool)
        return round(sum(cost.asked for cost in costs.values()) / len(costs))

    def miss_budget(self, pool: str) -> float | None:
        """The mean of the pool's sessions; None without one."""
        budgets = [self._budgets[session] for session in self._costs.get(pool, ())]
        return sum(budgets) / len(budgets) if budgets else None

    def forget_pool(self, pool: str) -> None:
        """It is gone."""
        self._usual.pop(pool, None)

    def _drop(self, session: str) -> None:
        pool = self._pool.pop(session, None)
        if pool is None:
            return
        del self._budgets[session]
        if len(self._costs[pool]) > 1:
            del self._costs[pool][session]
        else:
            # The last one has gone: who comes next will be like it.
            self._usual[pool] = self._costs.pop(pool)[session].asked


def _cost_of(record: SessionRecord) -> SessionCost | None:
    """None for a session without a worker, and for one whose pool its record has no price of any more."""
    choice = next((one for one in record.pools if one.pool == record.pool), None)
    if record.owner is None or record.finished or choice is None or not record.cost:
        return None
    ladder = ladder_of(record, choice)
    return SessionCost(asked=min(CAPACITY, ladder.top.cost), paid=record.cost, lowest=min(CAPACITY, ladder.lowest.cost))
