"""The workers that Redis knows, read every second, and what of their changes is worth a plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from genlock_core.claims.facts import WorkerState, WorkerView
from genlock_core.claims.rules import HEARTBEAT_STALE_MS


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed from one reading to the next."""

    pools: frozenset[str]
    """Pools with a worker that came, went, or is in another state, or otherwise used."""
    roomier: frozenset[str]
    """Pools that have room which they had not before."""


@dataclass(slots=True)
class WorkerTable:
    """The newest reading. `stuck_after_ms`: a heartbeat that is older is news to its pool."""

    stuck_after_ms: int
    views: Mapping[str, WorkerView] = field(default_factory=dict)
    read_ms: int = 0

    def take(self, views: Mapping[str, WorkerView], *, now_ms: int) -> Difference:
        """Put a new reading in the place of the old one."""
        before, self.views, self.read_ms = self.views, views, now_ms
        pools: set[str] = set()
        roomier: set[str] = set()
        for name in before.keys() | views.keys():
            old, new = before.get(name), views.get(name)
            if self._gist(old) == self._gist(new):
                continue
            pools |= {view.pool for view in (old, new) if view is not None}
            if new is not None and _room(new) > (0 if old is None else _room(old)):
                roomier.add(new.pool)
        return Difference(frozenset(pools), frozenset(roomier))

    def of_pool(self, pool: str) -> dict[str, WorkerView]:
        return {name: view for name, view in self.views.items() if view.pool == pool}

    def _gist(self, view: WorkerView | None) -> object:
        if view is None:
            return None
        age = (view.heartbeat_age_ms > HEARTBEAT_STALE_MS) + (view.heartbeat_age_ms > self.stuck_after_ms)
        return view.identity, view.pool, view.state, view.capacity, view.free, view.sessions.keys(), age


def _room(view: WorkerView) -> int:
    """Free thousandths that a claim could take."""
    takes = view.state is WorkerState.READY and view.heartbeat_age_ms <= HEARTBEAT_STALE_MS
    return view.free if takes else 0
