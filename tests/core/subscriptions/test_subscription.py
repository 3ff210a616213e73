"""What a subscription says, and that it follows its session forwards only."""

import pytest

from genlock_core.errors import StaleEpoch
from genlock_core.media import Codec
from genlock_core.subscriptions.subscription import FrameKind, Subscription

ENCODED = Subscription("default/demo", 3, "g0", FrameKind.ENCODED, codecs=frozenset({Codec.H264}))


def test_it_follows_its_session_to_a_newer_epoch_and_stays_what_it_was() -> None:
    followed = ENCODED.following(5)
    assert (followed.epoch, followed.session, followed.codecs) == (5, ENCODED.session, ENCODED.codecs)
    assert ENCODED.following(3) == ENCODED


def test_it_does_not_go_back_to_an_older_epoch() -> None:
    with pytest.raises(StaleEpoch, match="epoch 2 is stale, the current one is 3"):
        ENCODED.following(2)


def test_other_codecs_are_the_same_subscription_otherwise() -> None:
    other = ENCODED.with_codecs(frozenset({Codec.VP8}))
    assert other == Subscription("default/demo", 3, "g0", FrameKind.ENCODED, codecs=frozenset({Codec.VP8}))
    assert other.with_codecs(ENCODED.codecs) == ENCODED


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        ({"frames": FrameKind.GENERATED, "codecs": frozenset({Codec.H264})}, "generated pictures have no codec"),
        ({"frames": FrameKind.SOURCE, "rate": 0.0}, "more than 0 frames per second"),
        ({"frames": FrameKind.SOURCE, "long_side": 0}, "at least 1 pixel"),
    ],
)
def test_a_wish_that_nobody_could_serve_is_refused(wish: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Subscription("default/demo", 3, "g0", **wish)  # type: ignore[arg-type]
