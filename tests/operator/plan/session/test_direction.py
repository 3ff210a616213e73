"""A session's plan goes forward: a module that was left for another one is not entered again.

A turn back is a call from one module of `plan.session` into another one that the same plan has entered before.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import genlock_operator.plan.session
from genlock_core.claims.facts import MoveCause
from genlock_operator.observed import SessionSeen
from genlock_operator.plan.session.plan import plan_session, plan_without_store
from tests.operator.plan import session_world
from tests.operator.plan.session_world import FIGURES, World

ROOM = Path(next(iter(genlock_operator.plan.session.__path__)))


def entered(call: Callable[[], object], room: Path = ROOM) -> list[str]:
    """The modules of the folder that are called into from another one (or from outside), in the order of the calls."""
    inside: list[str] = []
    entries: list[str] = []

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if path.parent != room:
            return
        if event == "call":
            if not inside or inside[-1] != path.stem:
                entries.append(path.stem)
            inside.append(path.stem)
        elif event == "return" and inside:
            inside.pop()

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(before)
    return entries


def turns_back(entries: list[str]) -> list[str]:
    """The entries into modules that had been entered before."""
    return [module for number, module in enumerate(entries) if module in entries[:number]]


def lives() -> Iterator[World]:
    """Worlds on their way from a new session to its end, each after something happened."""
    world = World()
    world.apply(steps=1)
    yield world
    world.go_live()
    world.figures = FIGURES
    yield world

    # It is steered, and moves to another pool; then a change has to wait.
    world.apply(prompt="a harbour", steps=4)
    yield world
    world.workers["s0"].others = world.workers["s1"].others = 1_000
    world.apply(steps=1)
    yield world
    world.apply(steps=2, frame_rate=60)
    yield world

    # It loses its worker, finds none, and its record is lost as well.
    world.expire()
    for worker in world.workers.values():
        worker.others = 1_000
    yield world
    world.lose_record()
    yield world
    world.now_ms += 60_000
    yield world

    # A spec that cannot be read, one that no pool serves, and the end.
    world.mistakes = ("spec.steps: must be at most 4",)
    yield world
    world.mistakes, world.shapes = (), ()
    yield world
    world.end()
    yield world
    world.delete()
    yield world

    foreign = World()
    foreign.apply(steps=1)
    foreign.settle()
    foreign.move(foreign.claims[-1][0], MoveCause.DRAIN)
    yield foreign
    foreign.delete()
    foreign.apply(steps=1)
    yield foreign


def test_no_plan_of_a_session_s_life_turns_back(monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[list[str]] = []

    def traced(seen: SessionSeen, now_ms: int) -> Any:
        plans: list[Any] = []
        walks.append(entered(lambda: plans.append(plan_session(seen, now_ms))))
        walks.append(entered(lambda: plan_without_store(seen, now_ms)))
        return plans[0]

    monkeypatch.setattr(session_world, "plan_session", traced)
    for world in lives():
        world.settle()

    assert {module for walk in walks for module in walk} == {path.stem for path in ROOM.glob("*.py")} - {"__init__"}
    assert [walk for walk in walks if turns_back(walk)] == []


def test_a_plan_that_asks_a_module_twice_turns_back(tmp_path: Path) -> None:
    """The counter counts: a call into `facts` after `status` is seen."""
    names: dict[str, Any] = {}
    for module, text in (
        ("facts", "def own(): return 1"),
        ("status", "def status(): return own()"),
        ("plan", "def plan(): return own() + status() + own()"),
    ):
        exec(compile(text, str(tmp_path / f"{module}.py"), "exec"), names)

    entries = entered(names["plan"], tmp_path)

    assert entries == ["plan", "facts", "status", "facts", "facts"]
    assert turns_back(entries) == ["facts", "facts"]


def test_a_session_that_waits_for_room_is_planned_in_the_order_of_the_folder_s_table() -> None:
    world = World(workers={}, refusal="no worker has room")
    world.apply(steps=1)
    world.store(session_world.stored(world.plan()))

    walk = entered(lambda: plan_session(world.seen(), world.now_ms))

    assert walk == ["plan", "facts", "demand", "steps", "why_not", "status", "report"]
