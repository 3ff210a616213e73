"""Which sessions wait for room, and what their pools say about it: what sessions and pools tell each other.

It is kept in memory alone. A new leader plans every session again, which makes it anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from genlock_operator.observed import Demand, PoolOutlook


@dataclass(slots=True)
class PendingSessions:
    """The demands of the sessions that wait, and the pools' outlooks."""

    _demands: dict[str, Demand] = field(default_factory=dict)
    _outlooks: dict[str, PoolOutlook] = field(default_factory=dict)

    def note(self, session: str, demand: Demand | None) -> set[str]:
        """What a session's plan found: the pools whose demand is another one now."""
        before = self._demands.pop(session, None)
        if demand is not None:
            self._demands[session] = demand
        if before == demand:
            return set()
        return {one.pool for one in (before, demand) if one is not None}

    def note_outlook(self, pool: str, outlook: PoolOutlook | None) -> bool:
        """What a pool's plan found; whether that is news."""
        if outlook == self._outlooks.get(pool):
            return False
        if outlook is None:
            del self._outlooks[pool]
        else:
            self._outlooks[pool] = outlook
        return True

    def outlooks_of(self, pools: Iterable[str]) -> dict[str, PoolOutlook]:
        """What is known of these pools."""
        return {pool: self._outlooks[pool] for pool in pools if pool in self._outlooks}

    def demand_for(self, pool: str) -> tuple[Demand, ...]:
        """Who waits for this pool, the oldest first."""
        return tuple(one for one in self._oldest_first() if one.pool == pool)

    def names(self, pool: str | None = None) -> list[str]:
        """The sessions that wait (for this pool), the oldest first."""
        return [one.session for one in self._oldest_first() if pool is None or one.pool == pool]

    def _oldest_first(self) -> list[Demand]:
        return sorted(self._demands.values(), key=lambda one: (one.since_ms, one.session))
