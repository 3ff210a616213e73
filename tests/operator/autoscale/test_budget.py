"""Shares of a GPU budget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_operator.autoscale.budget import PoolWish, shares

WISHES = st.lists(
    st.builds(
        PoolWish,
        pool=st.text("abcdef", min_size=1, max_size=4),
        product=st.just("H100"),
        gpus=st.integers(1, 4),
        floor=st.integers(0, 6),
        wish=st.integers(0, 30),
        weight=st.integers(1, 5),
    ),
    max_size=6,
    unique_by=lambda wish: wish.pool,
)


def wish(pool: str, wants: int, *, floor: int = 0, weight: int = 1, gpus: int = 1, product: str = "H100") -> PoolWish:
    return PoolWish(pool=pool, product=product, gpus=gpus, floor=floor, wish=wants, weight=weight)


def test_where_all_find_room_all_get_what_they_want() -> None:
    assert shares([wish("a", 3), wish("b", 5)], {"H100": 8}) == {"a": 3, "b": 5}


def test_floors_come_first_whatever_the_weights() -> None:
    assert shares([wish("a", 9, weight=100), wish("b", 9, floor=4)], {"H100": 5}) == {"a": 1, "b": 4}


def test_the_rest_goes_by_weight() -> None:
    assert shares([wish("a", 30, weight=3), wish("b", 30)], {"H100": 16}) == {"a": 12, "b": 4}


def test_what_one_does_not_want_goes_to_the_others() -> None:
    assert shares([wish("a", 2, weight=3), wish("b", 30)], {"H100": 16}) == {"a": 2, "b": 14}


def test_a_weight_counts_gpus_and_not_workers() -> None:
    assert shares([wish("a", 30, gpus=4), wish("b", 30)], {"H100": 16}) == {"a": 2, "b": 8}


def test_a_product_without_a_budget_is_not_shared() -> None:
    assert shares([wish("a", 9, product="A100")], {"H100": 1}) == {}


@given(WISHES, st.integers(0, 60))
def test_never_more_than_the_budget_never_more_than_wished_and_nothing_left_that_somebody_could_have(
    wishes: list[PoolWish], gpus: int
) -> None:
    given_ = shares(wishes, {"H100": gpus})
    used = sum(given_[one.pool] * one.gpus for one in wishes)
    assert used <= gpus
    for one in wishes:
        assert given_[one.pool] <= one.wish
        assert given_[one.pool] == one.wish or one.gpus > gpus - used


@given(WISHES, st.integers(0, 60))
def test_nobody_is_above_its_floor_while_another_is_below(wishes: list[PoolWish], gpus: int) -> None:
    given_ = shares(wishes, {"H100": gpus})
    for low in wishes:
        if given_[low.pool] < min(low.floor, low.wish):
            # Only who could not have used the room may have more: it takes smaller workers.
            assert not any(one.gpus >= low.gpus and given_[one.pool] > one.floor for one in wishes)


def test_a_wish_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="is no wish"):
        wish("a", 1, weight=0)
