"""What a raise is answered in words."""

import pytest

from genlock_core.approximation.levels import Level
from genlock_core.situation.lowered import LoweredReason
from genlock_gateway.sessions.session_view import LevelView


@pytest.mark.parametrize(
    ("requested", "granted", "share"),
    [
        (Level(4), Level(2), "2 of 4 steps"),
        (Level(4), Level(1, every=2), "1 of 4 steps and 1 of 2 pictures"),
        (Level(1), Level(1, every=2), "1 of 2 pictures"),
    ],
)
def test_a_raise_without_room_is_told_what_there_is_in_steps_and_in_pictures(
    requested: Level, granted: Level, share: str
) -> None:
    view = LevelView.of(requested=requested, granted=granted, fits=False)
    assert (view.steps, view.requested) == (granted.steps, requested.steps)
    assert view.reason is LoweredReason.NO_ROOM
    assert view.detail == f"no room: {share}, until its worker has room for more"


def test_more_than_the_pool_has_a_price_for_is_too_late() -> None:
    view = LevelView.of(requested=Level(4), granted=Level(2), fits=True)
    assert (view.reason, view.detail) == (LoweredReason.TOO_LATE, "2 of 4 steps: more would come too late")


def test_who_asks_for_less_than_is_granted_has_all() -> None:
    view = LevelView.of(requested=Level(2), granted=Level(4), fits=True)
    assert (view.steps, view.requested, view.reason, view.detail) == (2, 2, None, "")
