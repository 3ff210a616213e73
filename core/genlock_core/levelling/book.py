"""What whoever decides remembers from plan to plan: which workers have to be planned again, and what was said of each.

A plan is made of the workers that changed, so that its work is bounded by what happened and not by the pool. Everything
here may be lost: a book that is empty plans every worker once.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from genlock_core.approximation.levels import Ladder
from genlock_core.approximation.options import RIPE_MS, SETTLE_MS
from genlock_core.approximation.plan import LevelSession, Seat
from genlock_core.claims.facts import WorkerView
from genlock_core.levelling.facts import takes_part

MOST_WORKERS: Final = 128
"""In one plan; the others come into the next one."""
MOST_CANDIDATES: Final = 64
"""Workers that are looked at in one plan for the sessions that wait, beside those that changed."""


@dataclass(frozen=True, slots=True)
class Page:
    """What the last plan said of one worker."""

    pool: str
    capacity: int
    """Without what is kept for moves."""
    seats: tuple[Seat, ...]
    ladders: Mapping[str, Ladder | None]
    """By session."""
    sentences: tuple[str, ...]
    hosts: bool
    """A session that waits is about to come here."""


class PlanBook:
    """One page for each worker of the pools that are led."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        """By worker."""
        self._seen: dict[str, object] = {}
        """Worker -> how it looked when it was planned."""
        self._turns: dict[str, int] = {}
        """Worker -> in which plan it was last; they are counted."""
        self._turn = 0
        self._due_ms: dict[str, int] = {}
        """Worker -> when time alone may change its plan."""
        self._tried: set[str] = set()
        """Workers that had no hole for those who wait, as both are now."""
        self._waiting: object = frozenset()
        self.has_more = False
        """Whether the last answer of `to_plan` left workers to the next one."""

    def clear(self) -> None:
        """Everything may have changed."""
        self.forget_others(())
        self._waiting = frozenset()

    def touch(self, worker: str) -> None:
        """Something of it has changed that its view does not show."""
        self._seen.pop(worker, None)

    def forget_others(self, workers: Collection[str]) -> None:
        """Only these are left."""
        left = set(workers)
        self.pages = {name: page for name, page in self.pages.items() if name in left}
        self._seen = {name: look for name, look in self._seen.items() if name in left}
        self._turns = {name: turn for name, turn in self._turns.items() if name in left}
        self._due_ms = {name: due for name, due in self._due_ms.items() if name in left}
        self._tried &= left

    def to_plan(
        self, views: Iterable[WorkerView], waiting: frozenset[object], held: Mapping[str, int], now_ms: int
    ) -> tuple[str, ...]:
        """The workers that the next plan is about.

        `waiting`: all that decides where those who wait fit; `held`: what of each worker is kept for moves.

        Those that changed, the ones first that were planned longest ago. While somebody waits, also those where a hole
        was made already, so that no second one is made elsewhere, and the emptiest of those that were not looked at.
        """
        there = {view.identity.name: view for view in views}
        hosts = [name for name, page in self.pages.items() if page.hosts and name in there]
        if waiting != self._waiting:
            self._waiting = waiting
            self._tried.clear()
            # Who was about to come has come, or waits no more.
            for host in hosts:
                self.touch(host)

        changed = [name for name, view in there.items() if self._has_changed(view, held, now_ms)]
        changed.sort(key=lambda name: (self._turns.get(name, 0), name))
        self._tried.difference_update(changed)
        emptiest = sorted(there.values(), key=lambda view: (-view.free, view.identity.name))
        takers = [view.identity.name for view in emptiest if takes_part(view)] if waiting else []
        untried = [name for name in takers if name not in self._tried]
        if not changed and not untried:
            self.has_more = False
            return ()

        looked_at = [*(hosts if waiting else ()), *untried[:MOST_CANDIDATES], *changed]
        names = tuple(dict.fromkeys(looked_at))[:MOST_WORKERS]
        self.has_more = bool({*changed, *untried} - set(names))
        return names

    def write(
        self,
        views: Iterable[WorkerView],
        pages: Mapping[str, Page],
        sessions: Iterable[LevelSession],
        held: Mapping[str, int],
        now_ms: int,
    ) -> None:
        """These workers have been planned. One without a page takes no part."""
        by_worker: dict[str, list[LevelSession]] = {}
        for session in sessions:
            by_worker.setdefault(session.worker or "", []).append(session)

        self._turn += 1
        for view in views:
            name = view.identity.name
            self._turns[name] = self._turn
            self._seen[name] = _look_of(view, held)
            self.pages.pop(name, None)
            self._due_ms.pop(name, None)
            if name in pages:
                self.pages[name] = pages[name]
            if name in pages and not pages[name].hosts:
                self._tried.add(name)
            due = _next_due(by_worker.get(name, ()), now_ms)
            if due is not None:
                self._due_ms[name] = due

    def next_due_ms(self) -> int | None:
        """When time alone may change a plan."""
        return min(self._due_ms.values(), default=None)

    def _has_changed(self, view: WorkerView, held: Mapping[str, int], now_ms: int) -> bool:
        name = view.identity.name
        return self._seen.get(name) != _look_of(view, held) or self._due_ms.get(name, now_ms + 1) <= now_ms


def _look_of(view: WorkerView, held: Mapping[str, int]) -> object:
    """All of a worker that a plan goes by."""
    return (
        view.identity,
        view.pool,
        view.capacity,
        view.free,
        dict(view.sessions),
        takes_part(view),
        view.limits,
        view.halves,
        held.get(view.identity.name, 0),
    )


def _next_due(sessions: Iterable[LevelSession], now_ms: int) -> int | None:
    """When one of them that has not what it requests has kept its level for long enough to be changed."""
    moments = [
        session.changed_ms + kept_ms
        for session in sessions
        if session.changed_ms is not None and any(session.granted != one.top.level for one in session.ladders.values())
        for kept_ms in (SETTLE_MS, RIPE_MS)
    ]
    return min((moment for moment in moments if moment > now_ms), default=None)
