"""When a session's status is written: news at once, figures in their time."""

from dataclasses import replace

import pytest

from genlock_core.claims.facts import MoveCause
from genlock_core.claims.figure_board import PostedFigures
from genlock_core.media import Trouble
from genlock_core.spec.status import ConditionType
from genlock_operator.actions import LookAgain
from genlock_operator.observed import PoolOutlook
from genlock_operator.plan.conditions import find
from tests.operator.plan.session_claims import BIG, NOW_MS, SMALL
from tests.operator.plan.session_world import (
    FIGURES,
    condition,
    live,
    living,
    waiting,
    written,
)


def test_the_first_figures_are_written_at_once() -> None:
    world = live(figures=None)
    world.figures = FIGURES

    status = written(world)

    assert status is not None
    assert status.figures is not None
    assert status.figures.first_frame_ms == 312.0


def test_figures_of_a_stream_without_a_frame_are_not_its_first() -> None:
    world = live(figures=None)
    world.figures = PostedFigures(viewers=1)

    status = written(world)

    assert status is None or status.figures is None


def test_figures_alone_wait_until_they_are_due() -> None:
    world = live()
    world.now_ms += 29_000
    world.figures = replace(FIGURES, viewers=70, output_fps=12.0, steps=2)

    assert world.plan() == [LookAgain(NOW_MS + 30_000)]


def test_figures_are_written_when_they_are_due() -> None:
    world = live()
    world.now_ms += 30_000
    world.figures = replace(FIGURES, viewers=70)

    status = written(world)

    assert status is not None
    assert status.viewers == 70


def test_figures_that_are_due_and_the_same_are_not_written() -> None:
    world = live()
    world.now_ms += 30_000

    assert world.plan() == []


@pytest.mark.parametrize("after_ms", [0, 1_000, 30_000, 3_600_000])
def test_a_session_that_a_worker_has_asks_for_nothing_while_nothing_changes(after_ms: int) -> None:
    for world in (living(), live(figures=None), live()):
        world.now_ms += after_ms

        assert world.plan() == []


def test_figures_that_nobody_posts_any_more_are_told_when_they_are_due() -> None:
    world = live()
    world.figures = None
    world.now_ms += 10_000

    assert world.plan() == [LookAgain(NOW_MS + 30_000)]


def test_news_do_not_wait_for_the_figures() -> None:
    world = live()
    world.now_ms += 1_000
    assert world.record is not None
    world.move(world.record.epoch, MoveCause.SILENT)

    assert written(world) is not None


def test_one_more_that_waits_is_no_news_to_the_others() -> None:
    full = PoolOutlook(SMALL, limit="AtMax", message="5 workers are wanted, the pool's max is 4")
    world = waiting(small=full, big=replace(full, name=BIG))
    world.outlooks[SMALL] = replace(full, message="6 workers are wanted, the pool's max is 4")

    before = world.status

    world.reconcile()

    assert world.status == before


def test_figures_survive_a_while_without_any() -> None:
    world = live()
    world.figures = None
    world.now_ms += 60_000
    world.settle()

    assert world.status.figures is not None


@pytest.mark.parametrize("trouble", list(Trouble))
def test_a_publication_that_makes_no_picture_has_a_condition_which_ends_with_it(trouble: Trouble) -> None:
    world = live()
    assert find(world.status.conditions, ConditionType.SOURCE_USABLE) is None, "nobody had trouble yet"

    world.figures = replace(FIGURES, trouble=trouble.value)
    world.settle()
    found = condition(world, ConditionType.SOURCE_USABLE)
    assert (found.status, found.reason.lower()) == ("False", trouble.value.replace("-", ""))

    world.figures = FIGURES
    world.settle()
    assert condition(world, ConditionType.SOURCE_USABLE).status == "True"

    world.figures = replace(FIGURES, publisher=False)
    world.settle()
    assert condition(world, ConditionType.SOURCE_USABLE).status == "Unknown"


def test_a_session_without_room_for_its_snapshots_has_a_condition_which_ends_with_it() -> None:
    world = live()
    assert find(world.status.conditions, ConditionType.SNAPSHOTS_STORED) is None, "there was always room"

    world.figures = replace(FIGURES, snapshot_short=True)
    world.settle()
    found = condition(world, ConditionType.SNAPSHOTS_STORED)
    assert (found.status, found.reason) == ("False", "NoSnapshotRoom")
    assert condition(world, ConditionType.LIVE).status == "True", "the stream goes on"

    world.figures = None
    world.settle()
    assert condition(world, ConditionType.SNAPSHOTS_STORED).status == "False", "nobody has said anything else"

    world.figures = FIGURES
    world.settle()
    assert condition(world, ConditionType.SNAPSHOTS_STORED).status == "True"


def test_a_trouble_of_a_newer_release_is_left_out() -> None:
    world = live()
    world.figures = replace(FIGURES, trouble="a new word")
    world.settle()
    assert find(world.status.conditions, ConditionType.SOURCE_USABLE) is None
