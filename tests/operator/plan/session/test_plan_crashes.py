"""The operator may die between any two actions, and gateways may act between them: the end is the same."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_core.claims.facts import MoveCause
from genlock_core.claims.record import SessionRecord
from genlock_core.spec.session import Phase
from tests.operator.plan.session_claims import BIG, SMALL, workers_of
from tests.operator.plan.session_world import World, only_looks_again

Step: TypeAlias = Callable[[World], None]


def create(world: World) -> None:
    world.apply(steps=1, prompt="a harbour")


def steer(world: World) -> None:
    world.apply(prompt="a storm", noise_scale=0.5)


def reshape(world: World) -> None:
    world.apply(steps=4, prompt="a mountain")


def raise_here(world: World) -> None:
    world.apply(steps=2)


def go_live(world: World) -> None:
    world.go_live()


def delete(world: World) -> None:
    world.delete()


def replace_unseen(world: World) -> None:
    world.delete()
    world.apply(steps=2, prompt="another one")


def end(world: World) -> None:
    world.end()


def after_an_hour(world: World) -> None:
    world.now_ms += 3_600_000


def lose(world: World) -> None:
    world.lose_record()


def brought_back(world: World) -> None:
    """The worker reasserts what it still serves, under the epoch that it has."""
    record, worker = world.lost, world.workers["s0"]
    assert record is not None
    if world.record is None:
        world.record = replace(record, phase=Phase.LIVE, owner=worker.identity)


def later(world: World) -> None:
    world.now_ms += 10_000


def moved_by_a_gateway(world: World) -> None:
    world.now_ms += 1_000
    _try(world, lambda record: world.move(record.epoch, MoveCause.REFUSED))


def expire(world: World) -> None:
    world.now_ms += 1_000
    world.expire()


SCENARIOS: dict[str, Sequence[Step]] = {
    "create": [create],
    "steer": [create, go_live, steer],
    "reshape": [create, go_live, reshape],
    "raise where it is": [create, go_live, raise_here],
    "delete": [create, go_live, delete],
    "delete and recreate": [create, go_live, replace_unseen],
    "end": [create, go_live, end],
    "time to live": [create, go_live, end, after_an_hour],
    "lost record": [create, go_live, lose, later],
    "lost record that its worker brings back": [create, go_live, lose, brought_back, later],
    "moved by a gateway": [create, go_live, moved_by_a_gateway],
    "expired": [create, go_live, expire],
    "a whole life": [create, go_live, steer, moved_by_a_gateway, reshape, lose, later, end, after_an_hour],
}


def run(steps: Sequence[Step], crash_after: int | None = None) -> World:
    world = World(crash_after=crash_after)
    for step in steps:
        step(world)
        world.settle()
    return world


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_crash_after_any_action_changes_nothing_in_the_end(name: str) -> None:
    whole = run(SCENARIOS[name])

    outcomes = {crash: run(SCENARIOS[name], crash).state() for crash in range(whole.acted)}

    assert {crash: state for crash, state in outcomes.items() if state != whole.state()} == {}


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_control_change_is_made_exactly_once_whatever_crashes(name: str) -> None:
    whole = run(SCENARIOS[name])

    for crash in range(whole.acted):
        world = run(SCENARIOS[name], crash)
        asked = [change.to_fields() for _, _, change in world.control]
        assert asked == [change.to_fields() for _, _, change in whole.control], crash
        assert len(asked) == len({str(change) for change in asked}), crash


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_crash_makes_a_second_claim(name: str) -> None:
    whole = run(SCENARIOS[name])

    assert {len(run(SCENARIOS[name], crash).claims) for crash in range(whole.acted)} == {len(whole.claims)}


RIVALS: tuple[Step, ...] = (
    lambda world: None,
    lambda world: _try(world, lambda record: world.claim()),
    lambda world: _try(world, lambda record: world.move(record.epoch, MoveCause.SILENT)),
    lambda world: world.expire(),
    lambda world: world.go_live(),
    lambda world: world.end(),
)


def _try(world: World, what: Callable[[SessionRecord], object]) -> None:
    if world.record is not None and not world.record.finished:
        what(world.record)


def acting(choices: list[int]) -> Step:
    """A gateway that does the next of these before each action, then keeps quiet."""

    def rival(world: World) -> None:
        if choices:
            RIVALS[choices.pop(0)](world)

    return rival


WITHOUT_A_RECORD = (create, replace_unseen, delete, later, after_an_hour)
"""What may happen to a session that the rival left without a record, too."""
scripts = st.lists(st.integers(0, len(RIVALS) - 1), max_size=12)


@settings(deadline=None)
@given(st.sampled_from(sorted(SCENARIOS)), scripts, st.none() | st.integers(0, 20))
def test_with_a_gateway_that_acts_in_between_everything_comes_to_rest(
    name: str, script: list[int], crash: int | None
) -> None:
    world = World(rival=acting(list(script)), crash_after=crash)
    for step in SCENARIOS[name]:
        if world.record is not None or step in WITHOUT_A_RECORD:
            step(world)
        world.settle()

    assert only_looks_again(world.plan())


@settings(deadline=None)
@given(st.sampled_from(sorted(SCENARIOS)), scripts, st.none() | st.integers(0, 20))
def test_with_a_gateway_that_acts_in_between_epochs_only_grow(name: str, script: list[int], crash: int | None) -> None:
    world = World(rival=acting(list(script)), crash_after=crash)
    for step in SCENARIOS[name]:
        if world.record is not None or step in WITHOUT_A_RECORD:
            step(world)
        world.settle()

    epochs = [epoch for epoch, _ in world.claims]
    assert epochs == sorted(set(epochs))


def _edit(world: World, **spec: object) -> None:
    if world.meta is not None:
        world.apply(**spec)


def _fill(name: str) -> Step:
    def fill(world: World) -> None:
        worker = world.workers[name]
        owner = world.record.owner if world.record is not None else None
        worker.others = 0 if worker.others or owner == worker.identity else 1_000

    return fill


ANYTHING: tuple[Step, ...] = (
    lambda world: world.apply(steps=1) if world.meta is None else None,
    lambda world: _edit(world, steps=1),
    lambda world: _edit(world, steps=2),
    lambda world: _edit(world, steps=4),
    lambda world: _edit(world, prompt=f"prompt {world.now_ms}"),
    lambda world: _edit(world, idle_timeout="20s", output={"bitrate": "1234567"}),
    lambda world: _edit(world, slo={"frameDeadline": "333ms", "missBudget": "0.7%"}, noise_scale=0.7),
    lambda world: world.delete(),
    lambda world: world.end(Phase.FAILED, "the engine gave it up"),
    lambda world: world.end(),
    lambda world: world.lose_record(),
    later,
    lambda world: world.expire(),
    lambda world: world.go_live(),
    lambda world: _try(world, lambda record: world.claim()),
    lambda world: _try(world, lambda record: world.move(record.epoch, MoveCause.SILENT)),
    _fill("s0"),
    _fill("s1"),
    _fill("b0"),
    after_an_hour,
)
lives = st.lists(st.tuples(st.integers(0, len(ANYTHING) - 1), st.integers(0, 8)), max_size=25)


def live(world: World, life: list[tuple[int, int]]) -> None:
    """Things happen, and in between the operator acts for as long as it lives."""
    for what, crash in life:
        world.now_ms += 1_000
        ANYTHING[what](world)
        world.crash_after = world.acted + crash if crash < 6 else None
        world.settle()


@settings(deadline=None)
@given(lives)
def test_whatever_happens_the_plan_comes_to_rest(life: list[tuple[int, int]]) -> None:
    world = World(workers=workers_of(s0=SMALL, s1=SMALL, b0=BIG))

    live(world, life)

    assert only_looks_again(world.plan())


@settings(deadline=None)
@given(lives)
def test_whatever_happens_no_worker_is_overbooked(life: list[tuple[int, int]]) -> None:
    world = World()

    live(world, life)

    assert all(world.free(worker) >= 0 for worker in world.workers.values())


@settings(deadline=None)
@given(lives)
def test_without_an_object_no_record_stays(life: list[tuple[int, int]]) -> None:
    world = World()

    live(world, life)

    assert world.meta is not None or world.record is None


@settings(deadline=None)
@given(lives)
def test_the_status_tells_the_records_owner_and_phase(life: list[tuple[int, int]]) -> None:
    world = World()

    live(world, life)

    if world.meta is not None and world.record is not None:
        owner = world.record.owner.name if world.record.owner is not None else None
        assert (world.status.worker, world.status.phase) == (owner, world.record.phase)
