"""What Redis said last of the workers and of the sessions' figures.

`store_watch` fills the tables, the reconcilers look at them; so a plan needs no round trip for what changes slowly.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from genlock_core.claims.facts import WorkerState, WorkerView
from genlock_core.claims.figure_board import PostedFigures
from genlock_core.claims.liveness import HEARTBEAT_STALE_MS


@dataclass(frozen=True, slots=True)
class WorkerChanges:
    """What changed from one reading of the workers to the next."""

    pools: frozenset[str]
    """Pools with a worker that came, went, or is in another state, or otherwise used."""
    roomier: frozenset[str]
    """Pools that have room which they had not before."""


@dataclass(slots=True)
class WorkerTable:
    """The newest reading of the workers."""

    stuck_after_ms: int
    """A heartbeat that is older than this is news to the worker's pool."""
    views: Mapping[str, WorkerView] = field(default_factory=dict)
    read_ms: int = 0
    outdated: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by whoever has just changed workers: they are read again soon."""

    def take(self, views: Mapping[str, WorkerView], *, now_ms: int) -> WorkerChanges:
        """Put a new reading in the place of the old one."""
        before = self.views
        self.views = views
        self.read_ms = now_ms

        pools: set[str] = set()
        roomier: set[str] = set()
        for name in before.keys() | views.keys():
            old = before.get(name)
            new = views.get(name)
            if self._gist(old) == self._gist(new):
                continue
            pools |= {view.pool for view in (old, new) if view is not None}
            if new is not None and _room(new) > (0 if old is None else _room(old)):
                roomier.add(new.pool)
        return WorkerChanges(frozenset(pools), frozenset(roomier))

    def of_pool(self, pool: str) -> dict[str, WorkerView]:
        return {name: view for name, view in self.views.items() if view.pool == pool}

    def _gist(self, view: WorkerView | None) -> object:
        """What a change of concerns the worker's pool; every heartbeat has another age, so it is rounded."""
        if view is None:
            return None
        age = (view.heartbeat_age_ms > HEARTBEAT_STALE_MS) + (view.heartbeat_age_ms > self.stuck_after_ms)
        room = view.capacity, view.free, view.sessions.keys(), view.is_overloaded
        return view.identity, view.pool, view.state, room, age


@dataclass(slots=True)
class FigureTable:
    """The newest figures that the gateways posted, by session."""

    figures: Mapping[str, PostedFigures] = field(default_factory=dict)


def _room(view: WorkerView) -> int:
    """Free thousandths that a claim could take."""
    takes = view.state is WorkerState.READY and view.heartbeat_age_ms <= HEARTBEAT_STALE_MS
    return view.free if takes and not view.is_overloaded else 0
