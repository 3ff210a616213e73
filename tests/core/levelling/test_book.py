"""Only what changed is planned again, however large the pool."""

from dataclasses import replace

from genlock_core.approximation.options import SETTLE_MS
from genlock_core.approximation.plan import LevelSession
from genlock_core.claims.facts import WorkerView
from genlock_core.levelling.book import MOST_CANDIDATES, MOST_WORKERS, Page, PlanBook
from genlock_core.levelling.facts import seated
from tests.core.levelling.world import NOW_MS, POOL, owned, view

NOBODY: frozenset[object] = frozenset()
SOMEBODY: frozenset[object] = frozenset({"default/x"})


def page(*, hosts: bool = False) -> Page:
    return Page(POOL, 1_000, (), {}, (), hosts)


def written(book: PlanBook, *views: WorkerView, hosts: str = "", sessions: tuple[LevelSession, ...] = ()) -> None:
    pages = {one.identity.name: page(hosts=one.identity.name == hosts) for one in views}
    book.write(views, pages, sessions, {}, NOW_MS)


def to_plan(book: PlanBook, *views: WorkerView, waiting: frozenset[object] = NOBODY) -> tuple[str, ...]:
    return book.to_plan(views, waiting, {}, NOW_MS)


def test_a_worker_is_planned_once_and_again_when_it_has_changed() -> None:
    book, worker = PlanBook(), view("w")
    assert to_plan(book, worker) == ("w",)
    written(book, worker)
    assert to_plan(book, worker) == ()
    assert to_plan(book, replace(worker, heartbeat_age_ms=10)) == ()
    assert to_plan(book, replace(worker, free=500)) == ("w",)
    book.touch("w")
    assert to_plan(book, worker) == ("w",)


def test_a_worker_is_planned_again_when_its_share_of_the_reserve_changes() -> None:
    book, worker = PlanBook(), view("w")
    written(book, worker)
    assert book.to_plan([worker], NOBODY, {"w": 250}, NOW_MS) == ("w",)


def test_a_worker_is_planned_again_when_a_level_has_settled() -> None:
    book, low = PlanBook(), owned("s", 2, changed_ms=NOW_MS - 1_000)
    worker = view("w", low)
    written(book, worker, sessions=(seated(low, worker, somebody_waits=False),))

    assert book.next_due_ms() == NOW_MS - 1_000 + SETTLE_MS
    assert book.to_plan([worker], NOBODY, {}, NOW_MS - 1_001 + SETTLE_MS) == ()
    assert book.to_plan([worker], NOBODY, {}, NOW_MS - 1_000 + SETTLE_MS) == ("w",)


def test_while_somebody_waits_every_worker_is_looked_at_once_the_emptiest_first() -> None:
    book = PlanBook()
    workers = [view(f"w{number:03}", free=number) for number in range(MOST_CANDIDATES + 10)]
    written(book, *workers)
    book.to_plan(workers, NOBODY, {}, NOW_MS)

    first = to_plan(book, *workers, waiting=SOMEBODY)
    assert first[0] == workers[-1].identity.name
    assert (len(first), book.has_more) == (MOST_CANDIDATES, True)

    written(book, *(one for one in workers if one.identity.name in first))
    second = to_plan(book, *workers, waiting=SOMEBODY)
    assert (len(second), book.has_more) == (10, False)
    written(book, *(one for one in workers if one.identity.name in second))
    assert to_plan(book, *workers, waiting=SOMEBODY) == ()
    assert len(to_plan(book, *workers, waiting=frozenset({"default/y"}))) == MOST_CANDIDATES


def test_where_a_hole_was_made_is_planned_with_whatever_changed_so_that_no_second_one_is_made() -> None:
    book, host, other = PlanBook(), view("host"), view("other")
    written(book, host, other, hosts="host")
    to_plan(book, host, other, waiting=SOMEBODY)
    written(book, host, other, hosts="host")

    assert to_plan(book, host, replace(other, free=1), waiting=SOMEBODY) == ("host", "other")


def test_who_waits_no_more_leaves_the_hole_to_the_others() -> None:
    book, host = PlanBook(), view("host")
    to_plan(book, host, waiting=SOMEBODY)
    written(book, host, hosts="host")
    assert to_plan(book, host, waiting=NOBODY) == ("host",)


def test_one_plan_is_bounded_and_the_rest_comes_into_the_next_one() -> None:
    book = PlanBook()
    workers = [view(f"w{number:03}") for number in range(500)]
    seen: list[str] = []
    while names := to_plan(book, *workers):
        assert len(names) <= MOST_WORKERS
        seen += names
        written(book, *(one for one in workers if one.identity.name in names))
    assert sorted(seen) == [one.identity.name for one in workers]


def test_workers_that_change_all_the_time_do_not_keep_the_others_waiting() -> None:
    book = PlanBook()
    workers = [view(f"w{number:03}") for number in range(MOST_WORKERS + 20)]
    seen: set[str] = set()
    for free in range(3):
        workers = [replace(one, free=free) for one in workers]
        names = to_plan(book, *workers)
        written(book, *(one for one in workers if one.identity.name in names))
        seen |= set(names)
    assert len(seen) == len(workers)


def test_what_is_gone_is_forgotten() -> None:
    book = PlanBook()
    written(book, view("v"), view("w"))
    book.forget_others(["w"])
    assert list(book.pages) == ["w"]
    assert to_plan(book, view("v"), view("w")) == ("v",)
