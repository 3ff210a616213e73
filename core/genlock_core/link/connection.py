"""The link on asyncio: one `LinkConnection` per TCP connection, at either end. All rules are in `protocol`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue

from genlock_core.clock import Clock
from genlock_core.errors import GenlockError
from genlock_core.link.events import Event, LinkIdentity
from genlock_core.link.messages import Open, RefusalReason
from genlock_core.media import AccessUnit, Codec
from genlock_core.slo.stages import StageTimes


class CloseCause(StrEnum):
    """Why a link is down."""

    CLOSED = "closed"
    """This side closed it."""
    LEFT = "left"
    """The peer said goodbye first."""
    REFUSED = "refused"
    """Nobody listens at the address, or another process does: the peer is gone."""
    RESET = "reset"
    """The connection broke without a goodbye: the peer's process died, or the network cut it."""
    SILENT = "silent"
    """The peer made no progress, or did not read, for too long."""
    PROTOCOL = "protocol"
    AUTH = "auth"


@dataclass(frozen=True, slots=True)
class Closure:
    cause: CloseCause
    detail: str


class LinkDown(GenlockError):
    """No link to the peer; `cause` says whether its process is gone (REFUSED, RESET)."""

    def __init__(self, address: str, closure: Closure) -> None:
        self.address, self.cause, self.detail = address, closure.cause, closure.detail
        super().__init__(f"no link to {address}: {closure.cause} ({closure.detail})")


async def connect(
    address: str,
    *,
    identity: LinkIdentity,
    secrets: Sequence[bytes],
    clock: Clock,
    expect: LinkIdentity | None = None,
) -> "LinkConnection":
    """Connect a gateway to the worker at `host:port` and prove both sides. Raises LinkDown."""
    raise NotImplementedError


class LinkConnection:
    """One link. The senders below never block and give False when the channel is not open (any more)."""

    peer: LinkIdentity
    closed: "asyncio.Future[Closure]"

    def events(self) -> AsyncIterator[Event]:
        """Everything that happens, in order, until the link is down. One reader; reading slowly slows the peer down."""
        raise NotImplementedError

    def open(self, request: Open) -> int:
        """Gateway: ask for a channel; the answer is ChannelOpened or ChannelRefused. Raises LinkDown once it is down."""
        raise NotImplementedError

    def accept(self, channel: int, epoch: int) -> bool:
        """Worker: serve the channel in `epoch`."""
        raise NotImplementedError

    def refuse(self, channel: int, reason: RefusalReason, message: str = "", *, epoch: int = 0) -> bool:
        """Worker: do not serve it."""
        raise NotImplementedError

    def close_channel(self, channel: int, reason: str = "") -> bool: raise NotImplementedError

    def send_media(
        self,
        channel: int,
        unit: AccessUnit,
        *,
        run: int,
        replay: bool = False,
        late: bool = False,
        stages: StageTimes = StageTimes(),
    ) -> bool:
        """Gateway: a source unit; worker: an output unit. A MediaDropped event says when an IDR is needed."""
        raise NotImplementedError

    def request_key_frame(self, channel: int, codec: Codec) -> bool: raise NotImplementedError
    def send_codecs(self, channel: int, codecs: frozenset[Codec]) -> bool: raise NotImplementedError
    def nudge_control(self, channel: int) -> bool: raise NotImplementedError
    def send_source(self, channel: int, *, present: bool, run: int) -> bool: raise NotImplementedError
    def send_stats(self, channel: int, report: dict[str, JsonValue]) -> bool: raise NotImplementedError
    def send_handover(self, channel: int, *, epoch: int, address: str) -> bool: raise NotImplementedError

    @property
    def silent_s(self) -> float:
        """Seconds since the peer last made progress (a worker: its engine's counter moved)."""
        raise NotImplementedError

    async def close(self, reason: str = "") -> None:
        """Say goodbye and close; returns when it is down."""
        raise NotImplementedError
