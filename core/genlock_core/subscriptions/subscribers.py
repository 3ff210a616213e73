"""The side that has the frames: who is subscribed to one thing, whose turn it is, and whose time is over.

A subscription has a time to live and is renewed while somebody still asks. So a subscriber that died, or forgot what it
asked for, costs nothing for longer than that time, whatever its connection says.
"""

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from genlock_core.subscriptions.subscription import Subscription

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class _Subscriber:
    subscription: Subscription
    until_s: float
    due_s: float


class Subscribers(Generic[Key]):
    """The subscribers of one thing, at most `limit` of them. Times are monotonic seconds, and told."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._subscribers: dict[Key, _Subscriber] = {}

    def __len__(self) -> int:
        return len(self._subscribers)

    def __contains__(self, key: Key) -> bool:
        return key in self._subscribers

    @property
    def keys(self) -> tuple[Key, ...]:
        """Everybody who is subscribed, in the order in which they came."""
        return tuple(self._subscribers)

    def add(self, key: Key, subscription: Subscription, *, ttl_s: float, now_s: float) -> bool:
        """Subscribe until `ttl_s` from now; the first frame is due at once. False if there is no room."""
        if key not in self._subscribers and len(self._subscribers) >= self._limit:
            return False

        self._subscribers[key] = _Subscriber(subscription, until_s=now_s + ttl_s, due_s=now_s)
        return True

    def renew(self, key: Key, *, ttl_s: float, now_s: float) -> None:
        """It still asks. A subscriber whose time was over already stays away: it has to subscribe again."""
        if (subscriber := self._subscribers.get(key)) is not None:
            subscriber.until_s = now_s + ttl_s

    def remove(self, key: Key) -> None:
        """It has left."""
        self._subscribers.pop(key, None)

    def expire(self, now_s: float) -> tuple[Key, ...]:
        """Take out everybody whose time is over, and say who that was."""
        over = tuple(key for key, subscriber in self._subscribers.items() if subscriber.until_s <= now_s)
        for key in over:
            del self._subscribers[key]
        return over

    def take_due(self, now_s: float, *, served: Collection[Key] = ()) -> tuple[Key, ...]:
        """Whoever is to have the frame of this moment; their next one is due a period of their rate later.

        `served` have had that frame already and keep their turn. Turns that nobody could use do not add up: after a
        pause a subscriber has one frame, not a burst.
        """
        due = tuple(
            key for key, subscriber in self._subscribers.items() if subscriber.due_s <= now_s and key not in served
        )
        for key in due:
            rate = self._subscribers[key].subscription.rate
            self._subscribers[key].due_s = now_s if rate is None else now_s + 1 / rate
        return due
