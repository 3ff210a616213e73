"""Subscribers have their turns at their rate, a time to live, and a bound on how many there are."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from genlock_core.subscriptions.preview import preview_of
from genlock_core.subscriptions.subscribers import Subscribers
from genlock_core.subscriptions.subscription import Subscription

ONCE_A_SECOND = preview_of("default/demo", epoch=3, subscriber="g0")
EVERY_2_S = replace(ONCE_A_SECOND, rate=0.5)
EVERY_FRAME = replace(ONCE_A_SECOND, rate=None)


def subscribers(limit: int = 4, **wishes: Subscription) -> Subscribers[str]:
    made: Subscribers[str] = Subscribers(limit=limit)
    for key, wish in wishes.items():
        assert made.add(key, wish, ttl_s=5.0, now_s=100.0)
    return made


def test_everybody_is_due_at_once_and_then_at_their_rate() -> None:
    those = subscribers(a=ONCE_A_SECOND, b=EVERY_2_S, c=EVERY_FRAME)
    assert those.take_due(100.0) == ("a", "b", "c")
    assert those.take_due(100.5) == ("c",)
    assert those.take_due(101.0) == ("a", "c")
    assert those.take_due(102.0) == ("a", "b", "c")


def test_turns_that_nobody_could_use_do_not_add_up() -> None:
    those = subscribers(a=ONCE_A_SECOND)
    assert those.take_due(104.0) == ("a",)
    assert those.take_due(104.5) == ()
    assert those.take_due(105.0) == ("a",)


def test_whoever_has_had_the_frame_keeps_its_turn() -> None:
    those = subscribers(a=ONCE_A_SECOND, b=ONCE_A_SECOND)
    assert those.take_due(100.0, served={"a"}) == ("b",)
    assert those.take_due(100.1) == ("a",)


def test_who_is_not_heard_of_is_out_after_its_time() -> None:
    those = subscribers(a=ONCE_A_SECOND, b=ONCE_A_SECOND)
    those.renew("b", ttl_s=5.0, now_s=103.0)
    assert those.expire(104.9) == ()
    assert those.expire(105.0) == ("a",)
    assert those.keys == ("b",)
    assert those.expire(108.0) == ("b",)
    assert len(those) == 0


def test_a_renewal_brings_nobody_back() -> None:
    those = subscribers(a=ONCE_A_SECOND)
    those.expire(200.0)
    those.renew("a", ttl_s=5.0, now_s=200.0)
    assert "a" not in those


def test_there_is_room_for_so_many_and_a_place_that_is_left_is_free() -> None:
    those = subscribers(limit=2, a=ONCE_A_SECOND, b=ONCE_A_SECOND)
    assert not those.add("c", ONCE_A_SECOND, ttl_s=5.0, now_s=100.0)
    assert those.add("a", EVERY_2_S, ttl_s=5.0, now_s=100.0), "it has a place already"
    those.remove("b")
    those.remove("b")
    assert those.add("c", ONCE_A_SECOND, ttl_s=5.0, now_s=100.0)
    assert those.keys == ("a", "c")


@given(
    rate=st.floats(0.05, 50.0),
    waits=st.lists(st.floats(0.0, 30.0), max_size=60),
)
def test_no_subscriber_has_more_than_its_rate(rate: float, waits: list[float]) -> None:
    those: Subscribers[str] = Subscribers(limit=1)
    those.add("a", replace(ONCE_A_SECOND, rate=rate), ttl_s=60.0, now_s=0.0)
    now_s, given_at = 0.0, []
    for wait_s in waits:
        now_s += wait_s
        if those.take_due(now_s):
            given_at.append(now_s)
    assert all(later >= earlier + 1 / rate for earlier, later in pairwise(given_at))
