"""A subscriber holds one frame, the latest, and none of an epoch that is over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.errors import StaleEpoch
from genlock_core.subscriptions.latest import LatestFrame
from genlock_core.subscriptions.preview import preview_of


def latest() -> LatestFrame[str]:
    return LatestFrame(preview_of("default/demo", epoch=3, subscriber="g0"))


def test_a_newer_frame_takes_the_place_of_one_that_nobody_has_read() -> None:
    kept = latest()
    assert kept.frame is None
    assert kept.put("one", epoch=3)
    assert kept.put("two", epoch=3)
    assert kept.frame == "two"


def test_a_frame_of_a_stale_epoch_is_refused() -> None:
    kept = latest()
    kept.put("mine", epoch=3)
    assert not kept.put("a zombie's", epoch=2)
    assert kept.frame == "mine"


def test_after_a_move_only_the_new_owners_frames_are_kept() -> None:
    kept = latest()
    kept.put("the old owner's", epoch=3)
    kept.follow(4)
    assert kept.frame is None
    assert not kept.put("the old owner's last", epoch=3)
    assert kept.put("the new owner's", epoch=4)
    assert kept.subscription.epoch == 4


def test_following_to_the_same_epoch_keeps_the_frame_and_going_back_is_refused() -> None:
    kept = latest()
    kept.put("mine", epoch=3)
    kept.follow(3)
    assert kept.frame == "mine"
    with pytest.raises(StaleEpoch):
        kept.follow(2)
    assert (kept.frame, kept.subscription.epoch) == ("mine", 3)


@given(st.lists(st.tuples(st.sampled_from(["put", "follow"]), st.integers(0, 6)), max_size=40))
def test_what_is_kept_is_always_the_last_frame_of_the_epoch_that_holds(steps: list[tuple[str, int]]) -> None:
    kept: LatestFrame[tuple[int, int]] = LatestFrame(preview_of("default/demo", epoch=3, subscriber="g0"))
    holds, expected = 3, None
    for index, (step, epoch) in enumerate(steps):
        if step == "put":
            assert kept.put((epoch, index), epoch=epoch) is (epoch == holds)
            expected = (epoch, index) if epoch == holds else expected
        elif epoch < holds:
            with pytest.raises(StaleEpoch):
                kept.follow(epoch)
        else:
            kept.follow(epoch)
            expected = expected if epoch == holds else None
            holds = epoch
        assert kept.frame == expected
        assert kept.subscription.epoch == holds
