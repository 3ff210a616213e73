"""The last plans of a pool, told: how its sessions stand, how near to the best that is, and why each is where it is.

Pure. What is told is bounded: a pool of thousands of sessions tells of the first ones, and how many it left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from genlock_core.approximation.bound import fractional_bound
from genlock_core.approximation.explain import explain
from genlock_core.approximation.levels import Ladder
from genlock_core.approximation.plan import LevelCause, LevelPlan
from genlock_core.claims.facts import Waiting, WorkerState, WorkerView
from genlock_core.claims.liveness import HOLE_KEPT_MS
from genlock_core.levelling.book import Page
from genlock_core.levelling.facts import LevelFacts, takes_part

MOST_SENTENCES: Final = 200
MOST_CHARS: Final = 300
"""Of a sentence: names are bounded, reasons hold a part for each pool."""


@dataclass(frozen=True, slots=True)
class LevelsTold:
    """How the levels of a pool stand, for people."""

    by: str
    """Who decides."""
    at_ms: int
    """When the last plan was made, by the clock of who made it."""
    sessions: int
    """Those with a worker."""
    below: int
    """Of these, those that run below what they request."""
    waiting: int
    """Sessions that wait for a worker."""
    quality: float
    """Of all sessions together; one at the most steps of its model counts 1."""
    bound: float
    """No plan is better, wherever in the pool the sessions sat."""
    gap: float
    """The share of the bound that is missing, 0 to 1."""
    sentences: tuple[str, ...]
    left_out: int = 0
    """Sentences beyond the bound."""


def pages_of(plan: LevelPlan, facts: LevelFacts) -> dict[str, Page]:
    """A page for each worker of the plan."""
    known = {one.name: one for one in facts.sessions}
    hosts = {change.worker for change in plan.changes if change.cause is LevelCause.ADMITTED}
    pages: dict[str, Page] = {}
    for worker in facts.workers:
        seats = tuple(seat for seat in plan.seats if seat.worker == worker.name)
        here = replace(
            plan,
            seats=seats,
            changes=tuple(change for change in plan.changes if change.worker == worker.name),
            waiting=(),
            postponed=(),
            overfull=tuple(name for name in plan.overfull if name == worker.name),
        )
        sessions = [known[seat.session] for seat in seats]
        # The last sentence is about the plan as a whole.
        *sentences, _ = explain(here, sessions, [worker], now_ms=facts.now_ms)
        held = facts.held_back.get(worker.name, 0)
        if held:
            sentences.append(f"{held} thousandths of {worker.name} are kept for moves")
        pages[worker.name] = Page(
            pool=worker.pool,
            capacity=worker.capacity,
            seats=seats,
            ladders={one.name: one.ladders.get(worker.pool) for one in sessions},
            sentences=tuple(sentences),
            hosts=worker.name in hosts,
        )
    return pages


def waiting_sentences(plan: LevelPlan, facts: LevelFacts, pool: str) -> tuple[str, ...]:
    """Of those that wait for room in this pool and are not let in."""
    here = [one for one in facts.sessions if one.worker is None and pool in one.ladders]
    names = {one.name for one in here}
    alone = replace(
        plan,
        seats=(),
        changes=(),
        waiting=tuple(name for name in plan.waiting if name in names),
        postponed=tuple(name for name in plan.postponed if name in names),
        overfull=(),
    )
    *sentences, _ = explain(alone, here, (), now_ms=facts.now_ms)
    if pool in facts.closed:
        sentences.append("nobody is let in: at the lowest levels of all there is less than what is kept for moves")
    return tuple(sentences)


def kept_sentences(waiting: Iterable[Waiting], views: Iterable[WorkerView]) -> tuple[str, ...]:
    """Of the sessions for which the room of one of these workers is kept."""
    here = {view.identity.name for view in views}
    return tuple(
        f"{one.session} waits longest: the room of {one.kept_at} is kept for it, and no new session comes in there "
        f"until it is enough, for {HOLE_KEPT_MS // 1_000} s at most"
        for one in waiting
        if one.kept_at in here
    )


def left_alone(views: Iterable[WorkerView]) -> tuple[str, ...]:
    """Of the workers on which no level is planned, in their order."""
    found = []
    for view in views:
        if takes_part(view):
            continue
        why = "is overloaded" if view.is_overloaded else "has not been heard of lately"
        if view.state is WorkerState.DRAINING:
            why = "drains"
        found.append(f"{view.identity.name} {why}: its sessions keep what they have")
    return tuple(found)


def tell(
    pool: str,
    pages: Mapping[str, Page],
    waits: Sequence[str],
    *,
    alone: Sequence[str],
    waiting: int,
    by: str,
    at_ms: int,
) -> LevelsTold:
    """The pool as a whole, from its pages. `waits`: sentences of those who wait; `alone`: of workers without a
    page."""
    here = [page for _, page in sorted(pages.items()) if page.pool == pool]
    seats = [seat for page in here for seat in page.seats]
    ladders = {name: ladder for page in here for name, ladder in page.ladders.items()}
    quality = sum(seat.quality for seat in seats)
    capacity = sum(page.capacity for page in here)
    bound = max(quality, fractional_bound(seats, ladders, {pool: capacity}))

    sentences = [*waits, *alone, *(sentence for page in here for sentence in page.sentences)]
    told = tuple(_cut(sentence) for sentence in sentences[:MOST_SENTENCES])
    return LevelsTold(
        by=by,
        at_ms=at_ms,
        sessions=len(seats),
        below=sum(_is_below(seat.level, ladders[seat.session]) for seat in seats),
        waiting=waiting,
        quality=round(quality, 4),
        bound=round(bound, 4),
        gap=round((bound - quality) / bound, 6) if bound > 0 else 0.0,
        sentences=told,
        left_out=len(sentences) - len(told),
    )


def _is_below(level: object, ladder: Ladder | None) -> bool:
    return ladder is not None and level != ladder.top.level


def _cut(sentence: str) -> str:
    return sentence if len(sentence) <= MOST_CHARS else f"{sentence[: MOST_CHARS - 1]}…"
