"""The link on asyncio: one `LinkConnection` per TCP connection, the same at both ends. All rules are in `protocol`.

Three tasks serve a connection:

- One reads. It waits while the owner has events to take: a slow owner slows the peer down and costs no memory here.
- One writes. It waits for the socket: what is not sent yet stays in the outbox, which is bounded.
- One ticks: heartbeats, silence, timeouts.
"""

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from pydantic import JsonValue

from genlock_core.bounds import OBJECT_BYTES, ByteBound, ByteLimit
from genlock_core.claims.silence import Silence
from genlock_core.clock import Clock
from genlock_core.errors import LinkProtocolError
from genlock_core.link.closure import CloseCause, Closure, LinkDown, cause_of
from genlock_core.link.events import (
    ChannelClosed,
    ChannelRefused,
    Connected,
    Event,
    LinkIdentity,
    MediaDropped,
    MediaReceived,
    PeerLeft,
    PictureReceived,
    StatsReceived,
)
from genlock_core.link.frames import MAX_FRAME_BYTES
from genlock_core.link.messages import MAX_JSON_BYTES, Open, RefusalReason, Subscribe
from genlock_core.link.outbox import MediaLane
from genlock_core.link.protocol import LinkProtocol
from genlock_core.media import AccessUnit, Codec, SourcePosition, StillPicture
from genlock_core.process.tasks import end_tasks, wait_first
from genlock_core.slo.stages import StageTimes

logger = logging.getLogger(__name__)

READ_BYTES = 256 * 1024
EVENTS_WAITING = 256
"""Events that may wait for their owner before the peer is made to wait."""
EVENTS_LIMIT = ByteLimit(
    "events that wait for their owner",
    16 * 1024 * 1024,
    each="link between a gateway and a worker",
    when_full="the peer is made to wait",
)
"""It is full while another frame of the greatest length would not fit."""
FAREWELL_S = 1.0
"""How long a closing side waits for the peer to take the goodbye."""

_NO_STAGES = StageTimes()


MediaSink: TypeAlias = Callable[[MediaReceived], None]
"""Takes the access units of one channel. It is called on the event loop and must return at once."""


def _uncounted(_: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Meter:
    """Told of the bytes that come and go, so that all links of a process are one metric."""

    received: Callable[[int], object] = _uncounted
    sent: Callable[[int], object] = _uncounted


class LinkConnection:
    """One link, made by `client.connect` or `server.serve`.

    Made (its tasks run) -> proven (`connected` returns) -> down (`closed` is done, `events` ends).

    The senders never block. They return False when the channel is not open, or not open any more: a caller that sends
    while the peer closes needs no special case.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        address: str,
        clock: Clock,
        make_protocol: Callable[[Callable[[MediaDropped], None]], LinkProtocol],
        meter: Meter | None = None,
        said: bytes = b"",
    ) -> None:
        """`said`: what the peer has said already, before `reader`."""
        self.address = address
        self.closed: asyncio.Future[Closure] = asyncio.get_running_loop().create_future()
        self._said = said
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._protocol = make_protocol(self._dropped)
        self._meter = meter or Meter()
        self._proven = asyncio.Event()

        # What the owner has still to take, and the drops that are told before it.
        self._sinks: dict[int, MediaSink] = {}  # by channel
        self._events: deque[Event] = deque()
        self._event_bytes = ByteBound(EVENTS_LIMIT)
        self._drops: dict[MediaLane, MediaDropped] = {}
        self._arrived = asyncio.Event()
        """Set when there is something for the owner, or the link is down."""
        self._room = asyncio.Event()
        """Set while few enough events wait (`_has_room`)."""
        self._room.set()

        self._wake = asyncio.Event()
        """Set when the writing task has something to do. At first it has: the handshake."""
        self._wake.set()

        # Written bytes wait in the outbox, where media can still be dropped, not in the transport.
        writer.transport.set_write_buffer_limits(high=READ_BYTES)
        raw: socket.socket = writer.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        self._serving = asyncio.create_task(self._serve(), name=f"link {address}")

    @property
    def peer(self) -> LinkIdentity:
        """The process at the other end."""
        return self._protocol.peer

    @property
    def greeted(self) -> bool:
        """Whether the peer has said HELLO with a key of the installation."""
        return self._protocol.greeted

    @property
    def is_proven(self) -> bool:
        """Whether both sides have shown that they know the secret."""
        return self._proven.is_set()

    @property
    def silence(self) -> Silence:
        """For how long the peer has made no progress (a worker: its engine's counter moved), and what is normal."""
        return self._protocol.silence

    async def connected(self) -> None:
        """Wait until both sides are proven. Raises LinkDown."""
        try:
            await wait_first(self._proven, self.closed)
        except asyncio.CancelledError:
            self._serving.cancel()  # nobody else has this connection yet
            raise
        if self.closed.done():
            raise LinkDown(self.address, self.closed.result())

    def deliver_media(self, channel: int, sink: MediaSink) -> None:
        """Give the channel's access units to `sink` from now on, until the channel has ended.

        They come in their places among the other events, while the owner reads `events`, which does not show them.
        """
        self._sinks[channel] = sink

    async def events(self) -> AsyncIterator[Event]:
        """Everything that happens, in order, until the link is down. For one reader; reading slowly slows the peer.

        Access units of a channel that has a sink go there instead.
        """
        while True:
            while self._drops:
                yield self._drops.pop(next(iter(self._drops)))
            while self._events:
                event = self._events.popleft()
                self._event_bytes.give(_cost(event))
                if isinstance(event, MediaReceived) and event.channel in self._sinks:
                    self._hand_over(event)
                else:
                    if isinstance(event, ChannelClosed | ChannelRefused):
                        self._sinks.pop(event.channel, None)
                    yield event
                if self._has_room:
                    self._room.set()

            # The owner may have sent something while it had the event, and media may have been dropped.
            if self._drops:
                continue
            if self.closed.done():
                return
            self._arrived.clear()
            await self._arrived.wait()

    async def close(self, reason: str = "") -> Closure:
        """Say goodbye and close; gives the cause, which is another one if the link was down already."""
        self._protocol.leave(reason)
        self._wake.set()
        return await asyncio.shield(self.closed)

    def cut(self) -> None:
        """End the connection at once and without a goodbye."""
        self._writer.transport.abort()

    # Senders; see LinkProtocol for what each means.

    def open(self, request: Open) -> int:
        """Gateway: ask for a channel; ChannelOpened or ChannelRefused answers. Raises LinkDown."""
        return self._asked(lambda: self._protocol.open(request))

    def subscribe(self, request: Subscribe) -> int:
        """Gateway: ask for pictures; ChannelOpened or ChannelRefused answers. Raises LinkDown, PeerTooOld."""
        return self._asked(lambda: self._protocol.subscribe(request))

    def _asked(self, ask: Callable[[], int]) -> int:
        try:
            channel = ask()
        except ValueError as error:
            closure = self.closed.result() if self.closed.done() else Closure(CloseCause.CLOSED, str(error))
            raise LinkDown(self.address, closure) from None
        self._wake.set()
        return channel

    def accept(self, channel: int, epoch: int, *, restore_ms: int | None = None) -> bool:
        """Worker: serve the channel in `epoch`. Raises ValueError for an epoch older than the one asked for."""
        return self._sent(self._protocol.accept(channel, epoch, restore_ms=restore_ms))

    def refuse(self, channel: int, reason: RefusalReason, message: str = "", *, epoch: int = 0) -> bool:
        """Worker: do not serve it; `epoch` is the one that this worker knows of (0: none)."""
        return self._sent(self._protocol.refuse(channel, reason, message, epoch=epoch))

    def close_channel(self, channel: int, reason: str = "") -> bool:
        """Both: end a channel."""
        self._sinks.pop(channel, None)
        return self._sent(self._protocol.close_channel(channel, reason))

    def send_media(
        self,
        channel: int,
        unit: AccessUnit,
        *,
        run: int,
        replay: bool = False,
        late: bool = False,
        stages: StageTimes = _NO_STAGES,
    ) -> bool:
        """Gateway: a source unit; worker: an output unit. A MediaDropped event says when an IDR is needed."""
        return self._sent(self._protocol.send_media(channel, unit, run=run, replay=replay, late=late, stages=stages))

    def request_key_frame(self, channel: int, codec: Codec, *, after: SourcePosition | None = None) -> bool:
        """Both: ask for an IDR of what the peer sends in `codec`: at once, or as the first picture `after` a place."""
        return self._sent(self._protocol.request_key_frame(channel, codec, after=after))

    def send_codecs(self, channel: int, codecs: frozenset[Codec]) -> bool:
        """Gateway: the output codecs that it has viewers for."""
        return self._sent(self._protocol.send_codecs(channel, codecs))

    def nudge_control(self, channel: int) -> bool:
        """Gateway: the control stream has something new."""
        return self._sent(self._protocol.nudge_control(channel))

    def send_source(self, channel: int, *, present: bool, run: int) -> bool:
        """Gateway: the publisher came or went."""
        return self._sent(self._protocol.send_source(channel, present=present, run=run))

    def send_stats(self, channel: int, report: Mapping[str, JsonValue]) -> bool:
        """Worker: the session's report. Raises LinkProtocolError if it is too long."""
        return self._sent(self._protocol.send_stats(channel, report))

    def send_handover(self, channel: int, *, epoch: int, address: str) -> bool:
        """Worker: the session moved politely to the worker at `address`."""
        return self._sent(self._protocol.send_handover(channel, epoch=epoch, address=address))

    def renew(self, channel: int, *, ttl_s: float) -> bool:
        """Gateway: it still wants the pictures of this channel, for so long."""
        return self._sent(self._protocol.renew(channel, ttl_s=ttl_s))

    def send_picture(self, channel: int, picture: StillPicture) -> bool:
        """Worker: a picture to a subscriber; it goes when nothing else waits, unless a newer one has come by then."""
        return self._sent(self._protocol.send_picture(channel, picture))

    def _sent(self, said: bool) -> bool:  # noqa: FBT001 - passes a sender's answer through
        if said:
            self._flush()
        return said

    def _flush(self) -> None:
        """Send what waits. At once, if the socket keeps up: waking the writing task would cost latency."""
        while self._writer.transport.get_write_buffer_size() == 0 and (buffers := self._protocol.data_to_send()):
            self._send(buffers)
        if self._protocol.has_data_to_send:
            self._wake.set()

    def _send(self, buffers: list[bytes]) -> None:
        self._writer.writelines(buffers)
        self._meter.sent(sum(map(len, buffers)))

    def _hand_over(self, media: MediaReceived) -> None:
        try:
            self._sinks[media.channel](media)
        except Exception:  # a fault in one session must not end the link of all
            logger.exception("%s: an access unit was not handled", media.session)

    # The tasks.

    async def _serve(self) -> None:
        parts = {"reads": self._read(), "writes": self._write(), "ticks": self._tick()}
        tasks = [asyncio.create_task(part, name=f"link {self.address} {name}") for name, part in parts.items()]
        closure = Closure(CloseCause.CLOSED, "the task that serves the link was cancelled")
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            closure = next(_closure(task) for task in tasks if task.done())
        finally:
            try:
                await end_tasks(tasks)
                self._protocol.leave(closure.detail)  # from here on nobody can send
                with contextlib.suppress(OSError, TimeoutError):
                    await self._farewell()
            finally:
                # Also if somebody cancels this task once more while it says goodbye: others wait for `closed`.
                self._writer.close()
                self._finish(closure)

    def _finish(self, closure: Closure) -> None:
        if not self.closed.done():
            self.closed.set_result(closure)
        self._arrived.set()
        logger.info("link down", extra={"address": self.address, "cause": closure.cause, "detail": closure.detail})

    async def _read(self) -> Closure:
        data = self._said or await self._reader.read(READ_BYTES)
        while data:
            self._meter.received(len(data))
            for event in self._protocol.receive(data):
                if isinstance(event, Connected):
                    self._proven.set()
                    continue

                await self._room.wait()
                self._deliver(event)
                if isinstance(event, PeerLeft):
                    return Closure(CloseCause.LEFT, event.reason)
            self._wake.set()  # the protocol may have answers
            data = await self._reader.read(READ_BYTES)
        raise ConnectionResetError("the peer's end closed without a goodbye")

    async def _write(self) -> Closure:
        while not self._protocol.has_ended:
            await self._wake.wait()
            self._wake.clear()
            while buffers := self._protocol.data_to_send(READ_BYTES):
                self._send(buffers)
                await self._writer.drain()
        return Closure(CloseCause.CLOSED, "closed by this side")

    async def _tick(self) -> Closure:
        while True:
            wait_s = self._protocol.next_tick_at - self._clock.monotonic()
            # The next tick may move closer while this one waits, at most to one heartbeat from now.
            await asyncio.sleep(min(max(wait_s, 0.0), self._protocol.timings.heartbeat_s))
            for event in self._protocol.tick(reading=self._room.is_set()):
                self._deliver(event)
            self._wake.set()

    def _deliver(self, event: Event) -> None:
        self._events.append(event)
        self._event_bytes.add(_cost(event))
        if not self._has_room:
            self._room.clear()
        self._arrived.set()

    @property
    def _has_room(self) -> bool:
        """Whether the owner keeps up, so that more may be read."""
        return len(self._events) < EVENTS_WAITING and self._event_bytes.fits(MAX_FRAME_BYTES)

    def _dropped(self, dropped: MediaDropped) -> None:
        """Media was dropped. Drops that the owner has not heard of yet are added up per lane: nothing slows a sender
        down, so single events would be without bound."""
        lane = MediaLane(dropped.channel, dropped.track, dropped.codec)
        waiting = self._drops.get(lane)
        self._drops[lane] = replace(dropped, count=dropped.count + (waiting.count if waiting else 0))
        self._arrived.set()

    async def _farewell(self) -> None:
        """Send what is still to be said, and wait until the peer has read it.

        A socket that is closed while bytes of the peer are unread is reset, and the peer loses the goodbye.
        """
        async with asyncio.timeout(FAREWELL_S):
            while buffers := self._protocol.data_to_send(READ_BYTES):
                self._send(buffers)
            await self._writer.drain()
            if self._writer.can_write_eof():
                self._writer.write_eof()
            while await self._reader.read(READ_BYTES):
                pass


def _cost(event: Event) -> int:
    """What an event takes while it waits."""
    match event:
        case MediaReceived():
            return OBJECT_BYTES + len(event.unit.data)
        case PictureReceived():
            return OBJECT_BYTES + len(event.picture.jpeg)
        case StatsReceived():
            return OBJECT_BYTES + MAX_JSON_BYTES
        case _:
            return OBJECT_BYTES


def _closure(task: "asyncio.Task[Closure]") -> Closure:
    """How the first task to end says that the link ended."""
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, LinkProtocolError):
        return Closure(cause_of(error), str(error))
    if isinstance(error, OSError):
        return Closure(CloseCause.RESET, str(error) or type(error).__name__)
    logger.error("serving a link failed", exc_info=error)
    return Closure(CloseCause.PROTOCOL, f"this side failed: {error!r}")
