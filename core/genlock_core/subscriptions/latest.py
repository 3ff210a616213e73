"""The subscriber's side: the latest frame that came, and nothing of an epoch that is over."""

from typing import Generic, TypeVar

from genlock_core.subscriptions.subscription import Subscription

Frame = TypeVar("Frame")


class LatestFrame(Generic[Frame]):
    """Room for one frame: a newer one takes its place, so that a subscriber that never reads costs one frame.

    `follow` when the session has moved. From then on frames of the old epoch are refused, and the one that is kept
    goes: what is shown comes from the worker that owns the session.
    """

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.frame: Frame | None = None

    def put(self, frame: Frame, *, epoch: int) -> bool:
        """Keep the frame, if it is of the subscription's epoch."""
        if epoch != self.subscription.epoch:
            return False

        self.frame = frame
        return True

    def follow(self, epoch: int) -> None:
        """The session has this epoch now. Raises StaleEpoch for an older one."""
        followed = self.subscription.following(epoch)
        if followed != self.subscription:
            self.subscription = followed
            self.frame = None
