from collections.abc import Sequence

from hypothesis import given

from genlock_core.approximation.allocate import MOST_ADMISSIONS, allocate
from genlock_core.approximation.explain import explain
from genlock_core.approximation.levels import Level, share_of
from genlock_core.approximation.plan import LevelSession, LevelWorker
from tests.core.approximation.level_worlds import LINEAR, NOW_MS, POOL, ladder, newcomer, pools, seated

ONE = [LevelWorker("w", POOL, 1_000)]


def told(sessions: Sequence[LevelSession], workers: Sequence[LevelWorker] = ONE) -> list[str]:
    return explain(allocate(sessions, workers, now_ms=NOW_MS), sessions, workers, now_ms=NOW_MS)


def test_a_session_that_runs_below_its_request_says_what_it_waits_for() -> None:
    rungs = ladder((1_000, 1.0), (750, 0.75), (500, 0.5))
    sentences = told([seated("default/a", "w", 2, rungs), seated("default/b", "w", 0, ladder((500, 1.0)))])
    assert "default/a runs 2 of 4 steps: w is full; it is raised when 250 thousandths are free" in sentences


def test_a_session_whose_level_has_just_changed_says_that_it_settles() -> None:
    sentences = told([seated("default/a", "w", 3, changed_ms=NOW_MS - 1)])
    assert sentences[0] == (
        "default/a runs 1 of 4 steps: there is room, and it is raised when its level has stood for 15 s"
    )


def test_every_change_is_told_with_its_reason() -> None:
    sentences = told([*(seated(f"default/{name}", "w", rungs=ladder((250, 1.0), (125, 0.5))) for name in "abcd"),
                      newcomer("default/e", ladder((125, 1.0)))])  # fmt: skip
    assert "default/e comes to w with 4 of 4 steps, for 125 thousandths" in sentences
    assert "default/a is lowered to 3 of 4 steps: that frees 125 thousandths of w" in sentences
    assert "default/a is raised to 4 of 4 steps: w has room for it" in told([seated("default/a", "w", 3)])


def test_who_waits_is_told_how_large_a_hole_it_would_need() -> None:
    full = [seated("default/a", "w", 0, ladder((1_000, 1.0)))]
    sentences = told([*full, newcomer("default/b")])
    assert (
        f"default/b waits: no worker can make a hole for it now ({LINEAR.lowest.cost} thousandths in p at its lowest)"
        in (sentences)
    )
    assert "default/c waits: no pool can serve it in time" in told([LevelSession("default/c", {})])


def test_who_is_left_to_the_next_plan_is_told_that_and_no_lack_of_room() -> None:
    crowd = [newcomer(f"default/n{number:03}", waits_since_ms=number) for number in range(MOST_ADMISSIONS + 1)]
    sentences = told(crowd, [LevelWorker(f"w{number}", POOL, 1_000) for number in range(30)])
    assert f"default/n{MOST_ADMISSIONS:03} waits for the next plan: this one lets in as many as it may" in sentences


def test_what_the_plan_is_worth_stands_last() -> None:
    assert told([seated("default/a", "w")])[-1] == (
        "the plan has 100.0 % of the most that these sessions could have in their pools"
    )
    assert told([]) == ["nobody has a level"]


def test_left_out_pictures_are_told_beside_the_steps() -> None:
    assert share_of(Level(1, every=2), Level(4)) == "1 of 4 steps and 1 of 2 pictures"
    assert share_of(Level(4, every=2), Level(4)) == "1 of 2 pictures"
    assert share_of(Level(4), Level(4)) == "4 of 4 steps"


@given(pools())
def test_every_change_and_every_session_that_waits_is_named(
    world: tuple[Sequence[LevelSession], Sequence[LevelWorker]],
) -> None:
    found = allocate(*world, now_ms=NOW_MS)
    sentences = explain(found, *world, now_ms=NOW_MS)
    for name in [*(change.session for change in found.changes), *found.waiting]:
        assert any(sentence.startswith(f"{name} ") for sentence in sentences)
