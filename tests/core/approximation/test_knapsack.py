import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.approximation.knapsack import MOST_OPTIONS, MOST_VALUE, Knapsack, Weighed

GROUPS = st.lists(
    st.lists(st.builds(Weighed, st.integers(0, 30), st.integers(-50, 50)), min_size=1, max_size=4), max_size=4
)


def packed(groups: list[list[Weighed]], capacity: int) -> Knapsack:
    knapsack = Knapsack(capacity)
    for group in groups:
        knapsack.put(group)
    return knapsack


@given(GROUPS, st.integers(0, 60))
def test_what_it_packs_is_the_best_of_all_choices(groups: list[list[Weighed]], capacity: int) -> None:
    knapsack = packed(groups, capacity)
    fitting = [
        sum(option.value for option in choice)
        for choice in itertools.product(*groups)
        if sum(option.cost for option in choice) <= capacity
    ]
    assert knapsack.value == max(fitting, default=None)
    if knapsack.value is not None:
        taken = [group[pick] for group, pick in zip(groups, knapsack.picks(), strict=True)]
        assert sum(option.cost for option in taken) <= capacity
        assert sum(option.value for option in taken) == knapsack.value


@given(GROUPS, st.lists(st.builds(Weighed, st.integers(0, 30), st.integers(-50, 50)), min_size=1, max_size=4))
def test_to_ask_for_one_more_group_is_to_put_it_in(groups: list[list[Weighed]], more: list[Weighed]) -> None:
    knapsack = packed(groups, 40)
    asked = knapsack.value_with(more)
    knapsack.put(more)
    assert asked == knapsack.value


def test_of_options_that_are_worth_the_same_the_first_is_taken() -> None:
    assert packed([[Weighed(2, 5), Weighed(1, 5)]], 10).picks() == [0]
    assert packed([[Weighed(1, 5), Weighed(2, 5)]], 10).picks() == [0]


def test_the_largest_values_are_told_apart_and_what_does_not_fit_never_becomes_worth_something() -> None:
    half = MOST_VALUE // 2
    knapsack = packed([[Weighed(9, half)], [Weighed(1, half), Weighed(2, half - 1)]], 10)
    assert (knapsack.value, knapsack.picks()) == (MOST_VALUE, [0, 0])
    assert packed([[Weighed(9, half)], [Weighed(2, half - 1)]], 10).value is None
    last = [Weighed(0, number) for number in range(MOST_OPTIONS)]
    assert packed([last], 10).picks() == [MOST_OPTIONS - 1]


def test_groups_that_do_not_fit_have_no_picks() -> None:
    knapsack = packed([[Weighed(6, 1)], [Weighed(5, 1)]], 10)
    assert knapsack.value is None
    with pytest.raises(ValueError, match="do not fit"):
        knapsack.picks()
