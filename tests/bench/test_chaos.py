"""What chaos finds wrong in the books, and what it prints of the tolls. The process tests do the harm itself."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.chaos.harms import HARMS
from bench.chaos.toll import Toll, mistakes, table
from genlock_core.claims.facts import WorkerState, WorkerView
from genlock_core.claims.identity import FormatRange, WorkerIdentity
from genlock_core.claims.record import PoolChoice, SessionRecord
from genlock_core.spec.session import SessionKey, StreamSessionSpec, resolve

NAMES = ("default/a", "default/b")


def record(name: str, owner: str | None) -> SessionRecord:
    session = resolve(SessionKey.parse(name), StreamSessionSpec())
    identity = None if owner is None else WorkerIdentity(owner, "1")
    return SessionRecord(session, (PoolChoice("local", 300),), owner=identity, epoch=7, cost=300)


def worker(name: str, *sessions: str) -> WorkerView:
    return WorkerView(
        WorkerIdentity(name, "1"),
        "local",
        "wan2.1-1.3b",
        "127.0.0.1:1",
        WorkerState.READY,
        heartbeat_age_ms=0,
        progress=1,
        links={},
        capacity=1_000,
        free=1_000 - 300 * len(sessions),
        sessions=dict.fromkeys(sessions, 7),
        formats=FormatRange(1, 1),
    )


RIGHT = ([record("default/a", "w0"), record("default/b", "w1")], [worker("w0", "default/a"), worker("w1", "default/b")])


def test_books_that_are_right_have_no_mistake() -> None:
    assert mistakes(*RIGHT, NAMES) == []


def test_a_lost_session_and_one_without_a_worker_are_named() -> None:
    assert mistakes([record("default/a", None)], [worker("w0")], NAMES) == [
        "default/b is lost",
        "default/a has no worker",
    ]


def test_a_session_of_two_workers_is_named() -> None:
    records, (one, other) = RIGHT
    twice = [one, replace(worker("w1", "default/a", "default/b"))]
    assert "default/a is owned by w0 and w1" in mistakes(records, twice, NAMES)
    assert other.sessions == {"default/b": 7}


def test_room_that_leaked_is_named() -> None:
    records, (one, other) = RIGHT
    assert mistakes(records, [replace(one, free=400), other], NAMES) == ["w0: 400 free and 300 used of 1000"]


def test_a_worker_that_has_what_is_another_ones_is_named() -> None:
    records = [record("default/a", "w1"), record("default/b", "w1")]
    found = mistakes(records, [worker("w0", "default/a"), worker("w1", "default/b")], NAMES)
    assert found == ["w0 has default/a, whose record names another owner"]


def test_the_table_has_a_row_for_each_kind_with_the_worst_of_all_streams() -> None:
    tolls = [
        Toll("worker-killed", "default/a", 0.2, 0, 0),
        Toll("worker-killed", "default/b", 0.4, 1, 0),
        Toll("redis-full", "default/a", 0.1, 0, 2),
    ]
    told = table("Chaos", tolls, {"default/a": 0.125}, "Real processes.")
    assert told.rows == (
        ("worker-killed", "2", "200 ms", "400 ms", "400 ms", "1", "0"),
        ("redis-full", "1", "100 ms", "100 ms", "100 ms", "0", "2"),
    )
    assert told.note.endswith("default/a 125 ms.")


@pytest.mark.parametrize("name", HARMS)
def test_each_kind_of_harm_is_a_row_of_the_fault_table(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "design.md").read_text()
    assert f"\n| {HARMS[name].row} |" in page
