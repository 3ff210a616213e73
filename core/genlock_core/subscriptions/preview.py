"""The preview: one small JPEG picture a second of what a session shows now.

Gateway and worker check the same bounds, so they stand here, once. A worker makes one picture whoever asks: one rate
and one size, and a subscription that does not go with them is refused.
"""

from typing import Final

from genlock_core.subscriptions.subscription import FrameKind, Subscription

PREVIEW_RATE: Final = 1.0
"""Pictures per second."""

PREVIEW_LONG_SIDE: Final = 448
"""Pixels."""

MAX_PREVIEW_BYTES: Final = 128 * 1024
"""No picture is longer, on the wire or in memory. One of 448 x 258 pixels usually has 15 to 40 KiB."""

PREVIEW_TTL_S: Final = 5.0
"""A preview ends this long after it was last asked for."""


def preview_of(session: str, *, epoch: int, subscriber: str) -> Subscription:
    """The subscription to a session's preview."""
    return Subscription(
        session=session,
        epoch=epoch,
        subscriber=subscriber,
        frames=FrameKind.GENERATED,
        rate=PREVIEW_RATE,
        long_side=PREVIEW_LONG_SIDE,
    )


def why_no_preview(subscription: Subscription) -> str:
    """Why a subscription cannot be served by the preview; empty if it can."""
    if subscription.frames is not FrameKind.GENERATED:
        return f"there are no {subscription.frames} frames to subscribe to here, only generated pictures"

    if subscription.rate is None or subscription.rate > PREVIEW_RATE:
        return f"there are {PREVIEW_RATE:g} pictures per second; subscribe to so many or fewer"

    if subscription.long_side is None or subscription.long_side < PREVIEW_LONG_SIDE:
        return f"pictures have {PREVIEW_LONG_SIDE} pixels on their longer side; allow for so many"

    return ""
