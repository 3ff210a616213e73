"""A session that may make the device fail runs with nothing beside it, until it is known to be innocent."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.engines.contract import BatchShape, Row
from genlock_worker.rows.scheduler import Batch
from genlock_worker.rows.suspects import Suspects

SHAPE = BatchShape("m", 832, 480, 4)
NAMES = ("a", "b", "c", "d")
names = st.sets(st.sampled_from(NAMES))


def batch(*sessions: str) -> Batch:
    return Batch(tuple(Row(session, 0, 1) for session in sessions), SHAPE)


def test_without_suspects_every_batch_runs_as_it_is() -> None:
    chosen = batch("a", "b")
    assert Suspects().allowed(chosen, under_way={"a", "c"}) is chosen


def test_a_suspect_runs_alone_and_its_company_later() -> None:
    suspects = Suspects()
    suspects.suspect(["a", "b"])
    both = Batch((Row("a", 0, 3), Row("b", 0, 5), Row("a", 1, 2)), SHAPE)
    assert suspects.allowed(both, under_way=set()) == Batch((Row("a", 0, 3), Row("a", 1, 2)), SHAPE)
    assert suspects.allowed(batch("c"), under_way={"a"}) is None, "nothing beside it"
    assert suspects.allowed(both, under_way={"c"}) is None, "nor it beside others"


def test_those_who_are_lost_together_join_the_suspects_that_there_are() -> None:
    suspects = Suspects()
    suspects.suspect(["c"])
    suspects.suspect(["a", "b"])
    assert suspects.sessions == {"a", "b", "c"}


def test_the_innocent_run_together_again() -> None:
    suspects = Suspects()
    suspects.suspect(["a", "b"])
    suspects.clear("a")
    chosen = batch("a", "c")
    assert suspects.allowed(chosen, under_way={"a"}) is chosen
    assert suspects.allowed(chosen, under_way={"b"}) is None


def test_who_is_closed_is_forgotten() -> None:
    suspects = Suspects()
    suspects.suspect(["a", "b"])
    suspects.keep({"b", "c"})
    chosen = batch("a", "c")
    assert suspects.allowed(chosen, under_way=set()) is chosen
    assert suspects.allowed(batch("b", "c"), under_way=set()) == batch("b")


@given(names, names, st.lists(st.sampled_from(NAMES), min_size=1))
def test_no_suspect_ever_shares_the_device(suspected: set[str], under_way: set[str], rows: list[str]) -> None:
    suspects = Suspects()
    suspects.suspect(suspected)
    allowed = suspects.allowed(batch(*rows), under_way=under_way)
    if allowed is None:
        assert suspected & (under_way | set(rows))
        return
    together = under_way | {row.session for row in allowed.rows}
    assert not suspected & together or len(together) == 1
    assert set(allowed.rows) <= set(batch(*rows).rows)
