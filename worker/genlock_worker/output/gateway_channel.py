"""One gateway's channel for one session, as the worker sees it, and why there may be none.

Stands with the output because that is what goes over it. The publisher's frames may come in by the same channel.
"""

from dataclasses import dataclass, field

from genlock_core.link.connection import LinkConnection
from genlock_core.link.messages import RefusalReason
from genlock_core.media import Codec, SourcePosition
from genlock_core.subscriptions.subscription import Subscription


@dataclass(slots=True, eq=False)
class GatewayChannel:
    """A gateway's subscription to the encoded output.

    Made by the link server when a gateway opens it; gone when either side closes it or the link is down.
    """

    connection: LinkConnection

    number: int
    """Which channel of the connection it is."""

    subscription: Subscription
    """Which gateway it is, and the codecs that it has viewers for."""

    publisher: bool
    """Whether the session's publisher is at this gateway."""

    synced: set[Codec] = field(default_factory=set)
    """The codecs in which the gateway has had its first IDR."""

    resumes: dict[Codec, SourcePosition] = field(default_factory=dict)
    """Until the worker before has been shown up to there: the first unit after this place is an IDR, none before it is
    sent."""

    def takes(self, codec: Codec, position: SourcePosition) -> bool:
        """Whether the gateway can use what stands there."""
        after = self.resumes.get(codec)
        return codec in self.subscription.codecs and (after is None or position > after)


class ChannelRefusal(Exception):
    """A gateway cannot have a channel for the session; `epoch` is the one that this worker knows of (0: none)."""

    def __init__(self, reason: RefusalReason, message: str, *, epoch: int = 0) -> None:
        self.reason = reason
        self.message = message
        self.epoch = epoch
        super().__init__(f"{reason}: {message}")
