import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.approximation.classes import (
    CLASSES,
    EXPLORE_PERIOD_MS,
    KNOWN_WELL,
    MOST_WEIGHT,
    PRIOR_WEIGHT,
    Explorer,
    PromptClasses,
    class_of,
    explorations,
    prior,
)
from genlock_core.approximation.levels import Level
from tests.core.approximation.level_worlds import LINEAR, NOW_MS, POOL, ladder, seated

MODEL = "wan2.1-1.3b"
OIL = "an oil painting of a harbour at dusk"
NOTHING = PromptClasses({})


def after(count: int, quality: float, level: Level = LINEAR.rungs[2].level) -> PromptClasses:
    classes = NOTHING
    for _ in range(count):
        classes = classes.seen(MODEL, OIL, LINEAR, level, quality)
    return classes


def qualities(classes: PromptClasses, prompt: str = OIL) -> list[float]:
    return [rung.quality for rung in classes.refined(LINEAR, MODEL, prompt).rungs]


def explorers(count: int, place: int = 0) -> list[Explorer]:
    return [Explorer(seated(f"default/s{number}", "w", place), POOL, MODEL, OIL) for number in range(count)]


@given(st.text())
def test_every_prompt_has_a_class(prompt: str) -> None:
    assert 0 <= class_of(prompt) < CLASSES


def test_a_class_is_the_same_in_every_process() -> None:
    code = f"from genlock_core.approximation.classes import class_of; print(class_of({OIL!r}))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == class_of(OIL)


def test_prompts_that_share_most_of_their_words_mostly_share_a_class() -> None:
    words = [f"word{number}" for number in range(400)]
    pairs = [words[start : start + 20] for start in range(0, 380, 4)]
    alike = sum(class_of(" ".join(some)) == class_of(" ".join([*some, "more"])) for some in pairs)
    strange = sum(
        class_of(" ".join(one)) == class_of(" ".join(two)) for one, two in zip(pairs, pairs[6:], strict=False)
    )
    assert alike > 0.8 * len(pairs)
    assert strange < 0.2 * len(pairs)
    assert class_of("A Harbour,  at dusk!") == class_of("a harbour at dusk")


def test_without_observations_a_ladder_is_as_its_profile_says() -> None:
    assert NOTHING.refined(LINEAR, MODEL, OIL) == LINEAR


def test_observations_move_the_quality_and_only_for_prompts_of_that_class() -> None:
    before = qualities(NOTHING)
    few, many = qualities(after(4, 0.9)), qualities(after(80, 0.7))
    assert before[2] == 0.5
    assert few[2] == pytest.approx((PRIOR_WEIGHT * 0.5 + 4 * 0.9) / (PRIOR_WEIGHT + 4))
    assert many[2] == pytest.approx(0.7, abs=0.03)
    other = next(text for text in (f"prompt {number}" for number in range(99)) if class_of(text) != class_of(OIL))
    assert qualities(after(80, 0.7), other) == before


def test_a_lower_level_that_was_seen_to_look_better_is_taken_to_look_the_same() -> None:
    assert qualities(after(200, 1.0)) == [1.0, 0.75, 0.75, 0.25]


def test_what_was_seen_long_ago_fades() -> None:
    classes = after(1_000, 0.0)
    for _ in range(400):
        classes = classes.seen(MODEL, OIL, LINEAR, LINEAR.rungs[2].level, 0.6)
    belief = classes.beliefs[MODEL, class_of(OIL), 2]
    assert belief.weight <= MOST_WEIGHT
    assert belief.mean > 0.5


@pytest.mark.parametrize("quality", [math.nan, math.inf, -0.1, 1.1])
def test_an_observation_that_is_no_quality_is_refused(quality: float) -> None:
    with pytest.raises(ValueError, match="is no quality"):
        after(1, quality)


def test_every_second_picture_looks_as_the_others_and_is_worth_half() -> None:
    rungs = ladder((250, 1.0), (200, 0.75), (150, 0.5), (125, 0.4), (70, 0.2))
    halved = rungs.lowest.level
    assert prior(rungs, halved).mean == pytest.approx(0.4)
    classes = NOTHING
    for _ in range(200):
        classes = classes.seen(MODEL, OIL, rungs, halved, 0.3)
    refined = classes.refined(rungs, MODEL, OIL)
    assert refined.rungs[3].quality == pytest.approx(0.3, abs=0.01)
    assert refined.lowest.quality == pytest.approx(0.15, abs=0.005)


def test_nobody_explores_while_the_pool_is_short() -> None:
    assert explorations(NOTHING, explorers(100), sessions=100, is_short=True, now_ms=NOW_MS) == {}


@given(st.integers(0, 150), st.integers(0, 150), st.integers(0, 10**12), st.integers(0, 3))
def test_no_more_than_one_in_twenty_explores_and_only_below_what_it_has(
    count: int, others: int, now_ms: int, place: int
) -> None:
    found = explorations(NOTHING, explorers(count, place), sessions=count + others, is_short=False, now_ms=now_ms)
    assert len(found) <= 0.05 * (count + others)
    granted = LINEAR.rungs[place].level
    below = {rung.level for rung in LINEAR.rungs if rung.level.steps < granted.steps}
    assert set(found.values()) <= below


def test_the_least_known_level_is_tried_and_another_session_has_the_next_turn() -> None:
    classes = after(5, 0.5, LINEAR.rungs[1].level)
    found = explorations(classes, explorers(40), sessions=40, is_short=False, now_ms=NOW_MS)
    assert [level.steps for level in found.values()] == [2, 2]
    same = explorations(classes, explorers(40)[::-1], sessions=40, is_short=False, now_ms=NOW_MS)
    assert same == found
    later = explorations(classes, explorers(40), sessions=40, is_short=False, now_ms=NOW_MS + EXPLORE_PERIOD_MS)
    assert set(later) != set(found)


def test_what_is_known_well_is_not_tried() -> None:
    classes = NOTHING
    for rung in LINEAR.rungs[1:]:
        for _ in range(int(KNOWN_WELL) + 1):
            classes = classes.seen(MODEL, OIL, LINEAR, rung.level, 0.5)
    assert explorations(classes, explorers(40), sessions=40, is_short=False, now_ms=NOW_MS) == {}
    one = [Explorer(seated("default/s", "w", 0, ladder((250, 1.0))), POOL, MODEL, OIL)]
    assert explorations(NOTHING, one, sessions=40, is_short=False, now_ms=NOW_MS) == {}
