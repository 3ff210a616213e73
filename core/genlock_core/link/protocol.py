"""The link as a state machine without I/O: bytes and time in, events and bytes out, the same for both ends.

States: HANDSHAKE (made so) -> CONNECTED (both proofs are right) -> CLOSED (`leave`, the peer's goodbye, or a mistake);
nothing leads back. A mistake of the peer is a LinkProtocolError out of `receive` or `tick`.

A channel lives in one epoch, that of OPENED. Two kinds of frames are dropped and counted, because they come from honest
peers as well: frames of another epoch, and frames that cross with a CLOSE. A frame on a channel that never was is a
mistake.
"""

import secrets as random_source
from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto
from typing import Literal

from genlock_core.claims.pulse import Pulse
from genlock_core.claims.silence import Rhythm, Silence
from genlock_core.clock import Clock
from genlock_core.errors import LinkAuthError, LinkProtocolError
from genlock_core.link import heartbeat, messages
from genlock_core.link.channels import Channels
from genlock_core.link.events import ChannelClosed, Connected, Event, LinkIdentity, MediaDropped, PeerLeft
from genlock_core.link.frames import (
    MAX_FRAME_BYTES,
    MAX_FRAME_BYTES_BEFORE_AUTH,
    FrameParser,
    FrameType,
    LinkFrame,
)
from genlock_core.link.handshake import SUBSCRIPTIONS_SINCE, Handshake, PeerTooOld
from genlock_core.link.liveness import LinkSilent, LinkTimings, Liveness
from genlock_core.link.messages import LinkRole
from genlock_core.link.outbox import LinkOverflow, Outbox, OutboxLimits
from genlock_core.link.reception import Reception
from genlock_core.link.transmission import Transmission


class LinkState(Enum):
    HANDSHAKE = auto()
    CONNECTED = auto()
    CLOSED = auto()


class LinkProtocol(Transmission):
    """One end of one connection. Not safe for threads; `receive`, `tick` and the senders belong to one loop.

    What it says on channels that are open, or to be opened by its answer, is `Transmission`'s part.

    `expect` is the process that must be at the other end. `pulse` is what every heartbeat says of this process.
    `on_drop` is called when the outbox had to drop media: the owner makes an IDR then. `nonce` gives as many random
    bytes as it is asked for. `rhythm` is what is known of the peer's signs of life, and learns here.
    """

    def __init__(
        self,
        identity: LinkIdentity,
        secrets: Sequence[bytes],
        *,
        clock: Clock,
        on_drop: Callable[[MediaDropped], None],
        expect: LinkIdentity | None = None,
        pulse: Callable[[], Pulse] = Pulse,
        rhythm: Rhythm | None = None,
        timings: LinkTimings | None = None,
        limits: OutboxLimits | None = None,
        nonce: Callable[[int], bytes] = random_source.token_bytes,
    ) -> None:
        outbox = Outbox(
            on_drop=lambda lane, count: on_drop(MediaDropped(lane.channel, lane.track, lane.codec, count)),
            limits=limits,
        )
        super().__init__(identity.role, Channels(), outbox)
        self.identity = identity
        self.state = LinkState.HANDSHAKE
        self.timings = timings or LinkTimings()
        self._clock = clock
        self._pulse = pulse
        self._rhythm = rhythm or Rhythm()

        self._parser = FrameParser(max_frame_bytes=MAX_FRAME_BYTES_BEFORE_AUTH)
        self._reception = Reception(identity.role, self._channels)
        self._handshake = Handshake(identity, secrets, nonce=nonce, expect=expect)
        self._handshake_until = clock.monotonic() + self.timings.handshake_s
        self._liveness = Liveness(self.timings, now=clock.monotonic(), rhythm=self._rhythm)

        for frame in self._handshake.start():
            self._outbox.push_control(frame)

    # What others want to know.

    @property
    def peer(self) -> LinkIdentity:
        """Who is at the other end. Raises ValueError before the handshake is done."""
        if self._handshake.peer is None:
            raise ValueError("the handshake is not done")
        return self._handshake.peer

    @property
    def greeted(self) -> bool:
        """The peer knows the name of a key of the installation, which is no proof yet."""
        return self._handshake.greeted

    @property
    def minor(self) -> int:
        """The minor version that both sides speak, 0 before the handshake is done."""
        return self._handshake.minor

    @property
    def has_ended(self) -> bool:
        return self.state is LinkState.CLOSED

    @property
    def silence(self) -> Silence:
        """For how long the peer has made no progress, and for how long that is normal for it."""
        return self._liveness.silence(self._clock.monotonic())

    @property
    def stale_frames(self) -> int:
        """Frames of another epoch than their channel's that came and were dropped."""
        return self._reception.stale_frames

    @property
    def crossed_frames(self) -> int:
        """Frames that came for a channel that had ended, and were dropped."""
        return self._reception.crossed_frames

    @property
    def buffered_bytes(self) -> int:
        """Bytes held for both ways."""
        return self._parser.buffered_bytes + self._outbox.pending_bytes

    @property
    def next_tick_at(self) -> float:
        """When `tick` is due, on the clock's `monotonic`."""
        if self._overflow is not None:
            return self._clock.monotonic()
        return self._handshake_until if self.state is LinkState.HANDSHAKE else self._liveness.next_at

    # In and out.

    def receive(self, data: bytes) -> list[Event]:
        """Bytes of the peer. Raises LinkProtocolError, after which the state is CLOSED."""
        events: list[Event] = []
        if self.has_ended:
            return events
        try:
            self._parser.push(data)
            for frame in self._frames():
                events += self._take(frame)
        except LinkProtocolError as mistake:
            self._fail(mistake)
            raise
        return events

    def tick(self, *, reading: bool = True) -> list[Event]:
        """Time has passed: heartbeats, silence, the handshake's time limit, an overflow. Raises like `receive`.

        `reading` is False while the owner leaves unread what the peer sends: that is not the peer's silence.
        """
        now = self._clock.monotonic()
        try:
            # A sender met the overflow, but must not raise: it is told here.
            if self._overflow is not None and self.state is not LinkState.CLOSED:
                raise self._overflow
            if self.state is LinkState.HANDSHAKE and now >= self._handshake_until:
                raise LinkSilent(f"the handshake took more than {self.timings.handshake_s:g} s")
            if self.state is not LinkState.CONNECTED:
                return []

            if self._liveness.heartbeat_due(now):
                payload = heartbeat.encode(self._pulse(), minor=self.minor)
                frame = LinkFrame(FrameType.HEARTBEAT, payload=payload)
                self._outbox.push_control(frame, replaces=FrameType.HEARTBEAT)

            return list(self._liveness.tick(now, reading=reading))
        except LinkProtocolError as mistake:
            self._fail(mistake)
            raise

    def data_to_send(self, max_bytes: int = 256 * 1024) -> list[bytes]:
        """The next buffers for the peer, [] when nothing waits; also after CLOSED, until the goodbye is out."""
        return self._outbox.take(max_bytes)

    @property
    def has_data_to_send(self) -> bool:
        return bool(self._outbox)

    def leave(self, reason: str = "") -> None:
        """Say goodbye: nothing more is received; what waits as media is dropped."""
        self._close(messages.Close(reason=reason[:1_000]))

    def open(self, request: messages.Open) -> int:
        """Gateway: ask for a channel; ChannelOpened or ChannelRefused answers. Raises ValueError if that cannot be."""
        if self._role is not LinkRole.GATEWAY or self.state is not LinkState.CONNECTED:
            raise ValueError(f"a {self.identity.role} cannot open a channel while the link is {self.state.name}")
        channel = self._channels.create(request.session, request.epoch)
        self._say(FrameType.OPEN, channel, request.to_json())
        return channel.number

    def subscribe(self, request: messages.Subscribe) -> int:
        """Gateway: ask for pictures; ChannelOpened or ChannelRefused answers. Raises ValueError if that cannot be.

        Raises PeerTooOld for a worker to which the frame would be unknown: it would end the whole link.
        """
        if self._role is not LinkRole.GATEWAY or self.state is not LinkState.CONNECTED:
            raise ValueError(f"a {self.identity.role} cannot subscribe while the link is {self.state.name}")
        if self.minor < SUBSCRIPTIONS_SINCE:
            raise PeerTooOld(f"{self.peer} knows no subscriptions to pictures: upgrade it")
        channel = self._channels.create(request.session, request.epoch, of_pictures=True)
        self._say(FrameType.SUBSCRIBE, channel, request.to_json())
        return channel.number

    # Inside.

    def _frames(self) -> Iterator[LinkFrame]:
        """The frames that are whole, as long as the connection is up."""
        while not self.has_ended and (frame := self._parser.pop()) is not None:
            yield frame

    def _take(self, frame: LinkFrame) -> list[Event]:
        if self.state is LinkState.HANDSHAKE:
            return self._shake_hands(frame)
        if frame.type is FrameType.HEARTBEAT:
            return self._heard(frame)

        # Channel 0 is the connection itself: the peer says goodbye.
        if frame.type is FrameType.CLOSE and frame.channel == 0:
            goodbye = messages.parse(messages.Close, frame.payload)
            self._end()
            return [PeerLeft(goodbye.reason)]

        events = self._reception.take(frame)
        for event in events:
            if isinstance(event, ChannelClosed):
                self._outbox.forget(event.channel)
        return events

    def _shake_hands(self, frame: LinkFrame) -> list[Event]:
        for answer in self._handshake.receive(frame):
            self._outbox.push_control(answer)
        if self._handshake.peer is None:
            return []

        # The peer has shown the secret: from here on it may say everything, in frames of the full length.
        self.state = LinkState.CONNECTED
        self._reception.minor = self._handshake.minor
        self._parser.max_frame_bytes = MAX_FRAME_BYTES
        self._liveness = Liveness(self.timings, now=self._clock.monotonic(), rhythm=self._rhythm)
        return [Connected(self._handshake.peer, self._handshake.minor)]

    def _heard(self, frame: LinkFrame) -> list[Event]:
        """A heartbeat came. A gateway's is progress by itself, a worker's only if its engine's counter moved."""
        pulse = heartbeat.decode(frame.payload, minor=self.minor)
        counts = self.peer.role is LinkRole.WORKER
        return list(self._liveness.heard(pulse, self._clock.monotonic(), counts=counts))

    def _fail(self, mistake: LinkProtocolError) -> None:
        """Tell the peer why, and close. Nothing of what waited is sent any more."""
        self._outbox.clear()
        fault: Literal["auth", "protocol"] = "auth" if isinstance(mistake, LinkAuthError) else "protocol"
        self._close(messages.Close(reason=str(mistake)[:1_000], fault=fault))

    def _close(self, goodbye: messages.Close) -> None:
        if self.state is LinkState.CLOSED:
            return
        self._end()
        try:
            self._outbox.push_control(LinkFrame(FrameType.CLOSE, payload=goodbye.to_json()))
        except LinkOverflow:
            self._outbox.clear()

    def _end(self) -> None:
        self.state = LinkState.CLOSED
        self._channels.clear()
        self._outbox.forget_all()
