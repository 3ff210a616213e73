"""One gateway's channel for one session, as the worker sees it, and why there may be none."""

from dataclasses import dataclass

from genlock_core.link.connection import LinkConnection
from genlock_core.link.messages import RefusalReason
from genlock_core.media import AccessUnit, Codec
from genlock_core.slo.report import StreamReport
from genlock_core.slo.stages import StageTimes
from genlock_core.subscriptions.subscription import Subscription


class ChannelRefusal(Exception):
    """A gateway cannot have a channel for the session; `epoch` is the one that this worker knows of (0: none)."""

    def __init__(self, reason: RefusalReason, message: str, *, epoch: int = 0) -> None:
        self.reason = reason
        self.message = message
        self.epoch = epoch
        super().__init__(f"{reason}: {message}")


@dataclass(slots=True, eq=False)
class GatewayChannel:
    """A gateway's subscription to the encoded output, and perhaps where the publisher's frames come from (`publisher`).

    Made by the link server when a gateway opens it; gone when either side closes it or the link is down.
    """

    connection: LinkConnection
    number: int
    subscription: Subscription
    publisher: bool

    @property
    def gateway(self) -> str:
        """Whose channel it is."""
        return self.subscription.subscriber

    @property
    def codecs(self) -> frozenset[Codec]:
        """The codecs that the gateway has viewers for."""
        return self.subscription.codecs

    def want(self, codecs: frozenset[Codec]) -> None:
        """The gateway's viewers need these codecs now."""
        self.subscription = self.subscription.with_codecs(codecs)

    def send(self, unit: AccessUnit, *, run: int, late: bool, stages: StageTimes) -> None:
        self.connection.send_media(self.number, unit, run=run, late=late, stages=stages)

    def request_key_frame(self, codec: Codec) -> None:
        self.connection.request_key_frame(self.number, codec)

    def send_report(self, report: StreamReport) -> None:
        self.connection.send_stats(self.number, report.to_dict())

    def hand_over(self, *, epoch: int, address: str) -> None:
        self.connection.send_handover(self.number, epoch=epoch, address=address)

    def close(self, reason: str) -> None:
        self.connection.close_channel(self.number, reason)
