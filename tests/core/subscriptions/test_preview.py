"""The preview serves what gateways ask for, and says why not where it cannot."""

from dataclasses import replace

import pytest

from genlock_core.subscriptions.preview import PREVIEW_LONG_SIDE, PREVIEW_RATE, preview_of, why_no_preview
from genlock_core.subscriptions.subscription import FrameKind

PREVIEW = preview_of("default/demo", epoch=3, subscriber="g0")


def test_what_a_gateway_asks_for_is_served() -> None:
    asked = preview_of("default/demo", epoch=3, subscriber="g0")
    assert (asked.session, asked.epoch, asked.subscriber) == ("default/demo", 3, "g0")
    assert (asked.frames, asked.rate, asked.long_side) == (FrameKind.GENERATED, 1.0, 448)
    assert why_no_preview(asked) == ""


def test_whoever_is_content_with_less_often_or_allows_for_larger_is_served_too() -> None:
    assert why_no_preview(replace(PREVIEW, rate=PREVIEW_RATE / 10, long_side=PREVIEW_LONG_SIDE * 2)) == ""


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"frames": FrameKind.SOURCE}, "no source frames"),
        ({"frames": FrameKind.ENCODED}, "no encoded frames"),
        ({"rate": None}, "1 pictures per second"),
        ({"rate": PREVIEW_RATE * 1.01}, "1 pictures per second"),
        ({"long_side": None}, "448 pixels"),
        ({"long_side": PREVIEW_LONG_SIDE - 1}, "448 pixels"),
    ],
)
def test_what_the_one_tap_cannot_give_is_refused_with_the_reason(wish: dict[str, object], why: str) -> None:
    assert why in why_no_preview(replace(PREVIEW, **wish))  # type: ignore[arg-type]
