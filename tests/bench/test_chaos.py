"""What chaos finds wrong in the books, and what it prints of the tolls. The process tests do the harm itself."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.chaos.course import Course, order
from bench.chaos.fault_table import BEGIN, END, renewed, tried_by
from bench.chaos.harms import HARMS
from bench.chaos.memory import MIB, Look, Memory
from bench.chaos.stage import NotWell, Stage, Stream
from bench.chaos.toll import Strike, Toll, mistakes, table, troubles_table
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


def toll(harm: str, gap_s: float, *, hit: bool = True, back: int = 0, cuts: int = 0) -> Toll:
    return Toll(harm, "default/a", hit, gap_s, back, cuts)


def test_the_table_has_a_row_for_each_kind_with_the_gaps_of_those_that_were_hit() -> None:
    strikes = [
        Strike("worker-killed", "12:00:00", (toll("worker-killed", 0.2), toll("worker-killed", 0.9, hit=False))),
        Strike("worker-killed", "12:00:09", (toll("worker-killed", 0.4, back=1),), troubles=("a picture went back",)),
        Strike("redis-full", "12:00:20", (toll("redis-full", 0.1, cuts=2),)),
    ]
    told = table("Chaos", strikes, "Real processes.")
    assert told.rows == (
        ("redis-full", "1", "1", "100 ms", "100 ms", "100 ms", "-", "0", "2", "0"),
        ("worker-killed", "2", "2", "200 ms", "400 ms", "400 ms", "900 ms", "1", "0", "1"),
    )
    (troubles,) = troubles_table("Chaos", strikes)
    assert troubles.rows == (("12:00:09", "worker-killed", "a picture went back"),)
    assert troubles_table("Chaos", strikes[2:]) == []


# -- the course --------------------------------------------------------------------------------------------------------


@given(runs=st.integers(0, 9), kills=st.integers(0, 120), seed=st.integers())
def test_each_kind_is_done_as_often_as_asked_and_all_kills_are_drawn(runs: int, kills: int, seed: int) -> None:
    kinds = list(HARMS.values())
    mixed = order(kinds, runs=runs, kills=kills, random=Random(seed))
    counted = Counter(harm.name for harm in mixed)
    assert len(mixed) == runs * len(kinds) + kills
    assert all(counted[harm.name] == runs for harm in kinds if not harm.is_kill)
    assert all(counted[harm.name] >= runs for harm in kinds)


def test_a_run_that_ends_early_has_done_each_kind_about_as_often() -> None:
    kinds = list(HARMS.values())
    mixed = order(kinds, runs=7, kills=100, random=Random(0))
    half = Counter(harm.name for harm in mixed[: len(mixed) // 2] if not harm.is_kill)
    assert {harm.name for harm in kinds if not harm.is_kill} == set(half)
    assert max(half.values()) - min(half.values()) <= 1
    assert mixed[: len(kinds)] != mixed[len(kinds) : 2 * len(kinds)]


class FakeStage:
    """Suffers what it is told, and is well afterwards, or not."""

    def __init__(self, outcomes: list[Strike], *, recovers: bool = True) -> None:
        self.streams: list[Stream] = []
        self._outcomes = iter(outcomes)
        self._recovers = recovers

    async def suffer(self, harm: str, strike: object, *, moves: bool) -> Strike:
        return next(self._outcomes)

    async def well(self) -> None:
        if not self._recovers:
            raise NotWell("default/a is lost")


class NoMemory(Memory):
    def look(self, stage: Stage, strike: Strike) -> None:
        pass


BAD = Strike("redis-full", "12:00:00", (toll("redis-full", 9.0),), troubles=("default/a moved",))
GOOD = Strike("redis-full", "12:00:09", (toll("redis-full", 0.1),))


async def run_through(stage: FakeStage, monkeypatch: pytest.MonkeyPatch) -> Course:
    monkeypatch.setattr("bench.chaos.course.UNDISTURBED_S", 0.0)
    course = Course(tell=lambda _line: None)
    try:
        await course.run(cast("Stage", stage), [HARMS["redis-full"]] * 3, NoMemory())
    except NotWell as error:
        course.ended = str(error)
    return course


async def test_a_failure_is_kept_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    course = await run_through(FakeStage([GOOD, BAD, GOOD]), monkeypatch)
    assert course.strikes == [GOOD, BAD, GOOD]
    assert course.failed
    assert course.left == 0
    assert not (await run_through(FakeStage([GOOD] * 3), monkeypatch)).failed


async def test_a_run_that_does_not_become_well_ends_and_keeps_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    course = await run_through(FakeStage([BAD], recovers=False), monkeypatch)
    assert course.strikes == [BAD]
    assert course.failed
    assert course.left == 2


async def test_who_is_spared_is_not_ended_and_a_worker_that_makes_a_stream_is_before_one_that_does_not() -> None:
    children = [
        SimpleNamespace(plan=SimpleNamespace(name=name, role=role))
        for name, role in (("w0", "worker"), ("w1", "worker"), ("w2", "worker"), ("g0", "gateway"), ("g1", "gateway"))
    ]
    owners = {"a": "w0", "b": "w2"}

    async def record(session: str) -> object:
        return SimpleNamespace(owner=SimpleNamespace(name=owners[session]))

    stage = Stage(
        genlock=cast("Any", SimpleNamespace(children=children)),
        server=cast("Any", None),
        relay=None,
        folder=Path(),
        claims=cast("Any", SimpleNamespace(record=record)),
        random=Random(1),
        spared=frozenset({"w0", "g0"}),
        streams=[cast("Any", SimpleNamespace(name=name)) for name in owners],
    )
    assert [child.plan.name for child in stage.mortal("gateway")] == ["g1"]
    assert {(await stage.mortal_worker()).plan.name for _ in range(20)} == {"w2"}
    owners |= {"a": "w0", "b": "w0"}
    assert {(await stage.mortal_worker()).plan.name for _ in range(40)} == {"w1", "w2"}


# -- memory ------------------------------------------------------------------------------------------------------------


def test_a_life_that_grows_has_its_slope_by_the_hour_and_by_restore() -> None:
    memory = Memory()
    memory.lives["w0", 7] = [Look(60.0 * at, (100 + at) * MIB, 2 * at) for at in range(8)]
    memory.lives["w0", 8] = [Look(0.0, 100 * MIB, 0)] * 2
    memory.lives["w0", 10] = [Look(20.0 * at, (100 + 9 * at) * MIB, at) for at in range(8)]
    memory.lives["redis", 9] = [Look(60.0 * at, 6 * MIB, 0) for at in range(8)]
    (told,) = memory.tables("Memory")
    assert told.rows == (
        ("redis", "300 s", "0", "6 MiB", "6 MiB", "+0.0", "+0.0", "-"),
        ("w0", "300 s", "10", "102 MiB", "107 MiB", "+60.0", "+60.0", "+0.5"),
    )


def test_what_a_process_takes_in_its_first_minutes_is_no_slope_and_what_ends_growing_is_seen() -> None:
    memory = Memory()
    resident = [100, 190, 200, 210, 220, 230, 230, 230, 230, 230]
    memory.lives["w0", 7] = [Look(60.0 * at, size * MIB, at) for at, size in enumerate(resident)]
    ((_, lived, restores, first, last, slope, second_half, _),) = memory.tables("Memory")[0].rows
    assert (lived, restores, first, last) == ("420 s", "7", "200 MiB", "230 MiB")
    assert (slope, second_half) == ("+242.9", "+0.0")


# -- the fault table ---------------------------------------------------------------------------------------------------

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", HARMS)
def test_each_kind_of_harm_is_tried_by_its_row_of_the_fault_table(name: str) -> None:
    design = (DOCS / "design.md").read_text()
    assert f"\n| {HARMS[name].row} |" in design
    assert name in set(tried_by(design))


def test_the_fault_table_has_the_figures_of_the_benchmarks() -> None:
    design, benchmarks = (DOCS / "design.md").read_text(), (DOCS / "benchmarks.md").read_text()
    assert renewed(design, benchmarks) == design


def test_each_test_that_the_fault_table_names_is_there() -> None:
    root = DOCS.parent
    names = set(tried_by((DOCS / "design.md").read_text())) - set(HARMS)
    there = {path.stem for path in (*root.glob("tests/**/test_*.py"), *root.glob("e2e/test_*.py"))}
    assert {name.rpartition("/")[2] for name in names} <= there


def test_a_row_gets_the_figures_of_its_harms_with_either_engine() -> None:
    page = "<!-- chaos_mock -->\n| harm | strikes | gaps | p50 | p99 | worst |\n|---|---|---|---|---|---|\n"
    page += "| redis-full | 7 | 21 | 131 ms | 160 ms | 165 ms |\n<!-- end of chaos_mock -->"
    row = "\n| Redis is full | nothing | intact | nobody | `redis-full`, `test_x` |"
    columns = "| dies | viewers see | sinks | who acts | tried by | mock | tiny |\n|---|---|---|---|---|---|---|"
    head = f"Before.\n{BEGIN}\n{columns}"
    table = renewed(f"{head}{row} - | 9.9 |\n{END}\nAfter.", page)
    assert table == f"{head}{row} 0.13 / 0.16 / 0.17 (21) | - |\n{END}\nAfter."
