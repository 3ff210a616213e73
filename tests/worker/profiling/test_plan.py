import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.spec.session import Resolution
from genlock_worker.profiling.plan import (
    BadRange,
    Combination,
    combinations,
    parse_counts,
    parse_resolution,
    seconds_left,
    without_larger,
)

SQUARE, WIDE = Resolution(width=512, height=512), Resolution(width=832, height=480)
any_combination = st.builds(
    Combination,
    width=st.sampled_from([128, 512]),
    height=st.sampled_from([128, 480]),
    steps=st.integers(1, 4),
    sessions=st.integers(1, 8),
)


def test_small_combinations_come_first_and_each_comes_once() -> None:
    plan = combinations([WIDE, SQUARE, WIDE], [2, 1], [4, 1])
    assert [str(one) for one in plan[:5]] == [
        "512x512, 1 step, 1 session",
        "512x512, 1 step, 4 sessions",
        "512x512, 2 steps, 1 session",
        "512x512, 2 steps, 4 sessions",
        "832x480, 1 step, 1 session",
    ]
    assert len(plan) == 8


def test_more_rows_than_a_micro_step_has_are_refused() -> None:
    with pytest.raises(BadRange, match="at most 64 rows"):
        combinations([SQUARE], [4], [17])


@given(plan=st.lists(any_combination, max_size=20), failed=any_combination)
def test_what_needs_as_much_as_one_that_did_not_fit_is_not_tried(plan: list[Combination], failed: Combination) -> None:
    left = without_larger(plan, failed)
    assert failed not in left
    for one in plan:
        smaller = one.width * one.height < failed.width * failed.height or one.steps < failed.steps
        assert (one in left) == (smaller or one.sessions < failed.sessions)


@given(any_combination, any_combination, any_combination)
def test_needing_as_much_is_an_order(first: Combination, second: Combination, third: Combination) -> None:
    assert first.needs_at_least(first)
    if first.needs_at_least(second) and second.needs_at_least(third):
        assert first.needs_at_least(third)


def test_the_time_left_follows_what_was_measured() -> None:
    small, large = Combination(128, 128, 1, 1), Combination(128, 128, 1, 3)
    assert seconds_left([], [small]) is None
    assert seconds_left([(small, 10.0)], [small, large]) == pytest.approx(20.0)
    assert seconds_left([(small, 10.0), (large, 14.0)], [Combination(128, 128, 1, 2)]) == pytest.approx(12.0)
    assert seconds_left([(small, 10.0), (large, 14.0)], []) == 0.0


@given(
    done=st.lists(st.tuples(any_combination, st.floats(0.0, 1e4)), min_size=1, max_size=8),
    left=st.lists(any_combination, max_size=8),
)
def test_the_time_left_is_never_negative(done: list[tuple[Combination, float]], left: list[Combination]) -> None:
    seconds = seconds_left(done, left)
    assert seconds is not None
    assert seconds >= 0.0


@pytest.mark.parametrize(
    ("text", "numbers"), [("1-4", (1, 2, 3, 4)), ("2", (2,)), ("1,2,8", (1, 2, 8)), ("8, 1-2,2", (1, 2, 8))]
)
def test_numbers_are_given_as_ranges_and_lists(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_counts(text, name="sessions", most=64) == numbers


@pytest.mark.parametrize("text", ["", "0", "1-", "4-1", "1-5", "x", "1,,2", "-1", "1.5", "99999999999"])
def test_other_numbers_are_refused_with_the_option_and_an_example(text: str) -> None:
    with pytest.raises(BadRange, match=r"--steps .*: must be numbers from 1 to 4, such as 1-4 or 1,2"):
        parse_counts(text, name="steps", most=4)


def test_a_resolution_is_width_by_height() -> None:
    assert parse_resolution("832x480") == WIDE


@pytest.mark.parametrize("text", ["", "832", "832x", "832x481", "16x16", "4096x480", "832X480", "-64x64"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(BadRange, match="multiples of 16 between 64 and 1920"):
        parse_resolution(text)
