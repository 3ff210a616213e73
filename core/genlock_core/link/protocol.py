"""The link as a state machine without I/O: bytes and time in, events and bytes out, the same for both ends.

States: HANDSHAKE (made so) -> CONNECTED (both proofs are right) -> CLOSED (`leave`, the peer's goodbye, or a mistake);
nothing leads back. A mistake of the peer is a LinkProtocolError out of `receive` or `tick`.

A channel lives in one epoch, that of OPENED. Frames that cross with a CLOSE, and frames of another epoch, are dropped
and counted, for both happen between honest peers; a frame on a channel that never was is a mistake.
"""

import secrets as random_source
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from enum import Enum, auto
from struct import Struct
from typing import Literal

from pydantic import JsonValue

from genlock_core.clock import Clock
from genlock_core.errors import LinkAuthError, LinkProtocolError
from genlock_core.link import messages
from genlock_core.link.channels import Channel, Channels
from genlock_core.link.events import ChannelClosed, Connected, Event, LinkIdentity, MediaDropped, PeerLeft
from genlock_core.link.frames import (
    MAX_FRAME_BYTES,
    MAX_FRAME_BYTES_BEFORE_AUTH,
    Flag,
    Frame,
    FrameParser,
    FrameType,
    Track,
)
from genlock_core.link.handshake import Handshake
from genlock_core.link.liveness import LinkSilent, LinkTimings, Liveness
from genlock_core.link.messages import LinkRole, RefusalReason
from genlock_core.link.outbox import LinkOverflow, Outbox, OutboxLimits
from genlock_core.link.reception import Reception
from genlock_core.media import AccessUnit, Codec
from genlock_core.slo.stages import StageTimes

_COUNTER = Struct("!Q")
_NO_STAGES = StageTimes()


class LinkState(Enum):
    HANDSHAKE = auto()
    CONNECTED = auto()
    CLOSED = auto()


class LinkProtocol:
    """One end of one connection. Not safe for threads; `receive`, `tick` and the senders belong to one loop.

    `expect`: the process that must be at the other end. `progress`: the engine's counter, told with every heartbeat.
    `on_drop`: told when the outbox had to drop media; make an IDR then. `nonce`: so many random bytes.
    """

    def __init__(
        self,
        identity: LinkIdentity,
        secrets: Sequence[bytes],
        *,
        clock: Clock,
        on_drop: Callable[[MediaDropped], None],
        expect: LinkIdentity | None = None,
        progress: Callable[[], int] = int,
        timings: LinkTimings | None = None,
        limits: OutboxLimits | None = None,
        nonce: Callable[[int], bytes] = random_source.token_bytes,
    ) -> None:
        self.identity = identity
        self.state = LinkState.HANDSHAKE
        self._clock = clock
        self._progress = progress
        self.timings = timings or LinkTimings()
        self._parser = FrameParser(max_frame_bytes=MAX_FRAME_BYTES_BEFORE_AUTH)
        self._outbox = Outbox(
            on_drop=lambda lane, count: on_drop(MediaDropped(lane.channel, lane.track, lane.codec, count)),
            limits=limits,
        )
        self._channels = Channels()
        self._reception = Reception(identity.role, self._channels)
        self._handshake = Handshake(identity, secrets, nonce=nonce, expect=expect)
        self._handshake_until = clock.monotonic() + self.timings.handshake_s
        self._liveness = Liveness(self.timings, now=clock.monotonic())
        self._their_counter = -1
        self._overflow: LinkOverflow | None = None
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
    def has_ended(self) -> bool:
        return self.state is LinkState.CLOSED

    @property
    def silent_s(self) -> float:
        """Seconds since the peer last made progress."""
        return self._clock.monotonic() - self._liveness.last_progress_at

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

        `reading`: False while the owner leaves what the peer sends unread, which must not count as its silence.
        """
        now = self._clock.monotonic()
        try:
            if self._overflow is not None and self.state is not LinkState.CLOSED:
                raise self._overflow
            if self.state is LinkState.HANDSHAKE and now >= self._handshake_until:
                raise LinkSilent(f"the handshake took more than {self.timings.handshake_s:g} s")
            if self.state is not LinkState.CONNECTED:
                return []
            if self._liveness.heartbeat_due(now):
                heartbeat = Frame(FrameType.HEARTBEAT, payload=_COUNTER.pack(self._progress()))
                self._outbox.push_control(heartbeat, replaces=FrameType.HEARTBEAT)
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

    # Channels.

    def open(self, request: messages.Open) -> int:
        """Gateway: ask for a channel; ChannelOpened or ChannelRefused answers. Raises ValueError if that cannot be."""
        if self.identity.role is not LinkRole.GATEWAY or self.state is not LinkState.CONNECTED:
            raise ValueError(f"a {self.identity.role} cannot open a channel while the link is {self.state.name}")
        channel = self._channels.create(request.session, request.epoch)
        self._say(FrameType.OPEN, channel, request.to_json())
        return channel.number

    def accept(self, number: int, epoch: int) -> bool:
        """Worker: serve the channel in `epoch`. Raises ValueError for an epoch older than the one asked for."""
        channel = self._channels.get(number)
        if channel is None or channel.is_open or self.identity.role is not LinkRole.WORKER:
            return False
        if epoch < channel.epoch:
            raise ValueError(f"{channel.session}: epoch {epoch} cannot serve a channel of epoch {channel.epoch}")
        channel.epoch, channel.is_open = epoch, True
        self._say(FrameType.OPENED, channel, messages.Opened(session=channel.session, epoch=epoch).to_json())
        return True

    def refuse(self, number: int, reason: RefusalReason, message: str = "", *, epoch: int = 0) -> bool:
        """Worker: do not serve the channel; `epoch` is the one that this worker knows of."""
        channel = self._channels.get(number)
        if channel is None or channel.is_open or self.identity.role is not LinkRole.WORKER:
            return False
        refusal = messages.Refused(reason=reason, message=message[:1_000], epoch=epoch)
        self._say(FrameType.REFUSED, channel, refusal.to_json())
        self._channels.remove(number)
        return True

    def close_channel(self, number: int, reason: str = "") -> bool:
        """End a channel from either side; media that waits for it is dropped."""
        channel = self._channels.get(number)
        if channel is None:
            return False
        self._channels.remove(number)
        self._outbox.forget(number)
        self._say(FrameType.CLOSE, channel, messages.Close(reason=reason[:1_000]).to_json())
        return True

    # What is said on an open channel. Each gives False, and says nothing, if the channel is not open.

    def send_media(
        self,
        number: int,
        unit: AccessUnit,
        *,
        run: int,
        replay: bool = False,
        late: bool = False,
        stages: StageTimes = _NO_STAGES,
    ) -> bool:
        """One access unit, in the order of the calls per codec, or dropped (see `on_drop`)."""
        channel = self._channels.opened(number)
        if channel is None:
            return False
        flags = (Flag.KEY if unit.key_frame else 0) | (Flag.REPLAY if replay else 0) | (Flag.LATE if late else 0)
        self._outbox.push_media(
            Frame(
                FrameType.MEDIA,
                flags=flags,
                track=Track.SOURCE if self.identity.role is LinkRole.GATEWAY else Track.OUTPUT,
                codec=unit.codec,
                channel=number,
                epoch=channel.epoch,
                run=run,
                sequence=channel.next_sequence(unit.codec),
                capture_us=unit.capture_us,
                stages=stages.encode(),
                payload=unit.data,
            )
        )
        return True

    def request_key_frame(self, number: int, codec: Codec) -> bool:
        """Ask the peer for an IDR of what it sends in `codec`; requests that wait are one."""
        return self._tell(number, FrameType.KEY_FRAME, codec=codec, replaces=codec)

    def send_codecs(self, number: int, codecs: frozenset[Codec]) -> bool:
        payload = messages.CodecNames.dump_json(messages.names_of(codecs))
        return self._tell(number, FrameType.CODECS, payload, replaces=0)

    def nudge_control(self, number: int) -> bool:
        return self._tell(number, FrameType.CONTROL, replaces=0)

    def send_source(self, number: int, *, present: bool, run: int) -> bool:
        return self._tell(number, FrameType.SOURCE, messages.SourceState(present=present, run=run).to_json())

    def send_stats(self, number: int, report: Mapping[str, JsonValue]) -> bool:
        """Raises LinkProtocolError if the report is over MAX_JSON_BYTES."""
        payload = messages.Report.dump_json(dict(report))
        messages.check_json_length(payload)
        return self._tell(number, FrameType.STATS, payload, replaces=0)

    def send_handover(self, number: int, *, epoch: int, address: str) -> bool:
        payload = messages.Handover(epoch=epoch, address=address).to_json()
        return self._tell(number, FrameType.HANDOVER, payload)

    # Inside.

    def _tell(
        self, number: int, kind: FrameType, payload: bytes = b"", *, codec: int = 0, replaces: int | None = None
    ) -> bool:
        channel = self._channels.opened(number)
        if channel is None:
            return False
        self._say(kind, channel, payload, codec=codec, replaces=replaces)
        return True

    def _say(
        self, kind: FrameType, channel: Channel, payload: bytes, *, codec: int = 0, replaces: int | None = None
    ) -> None:
        frame = Frame(kind, codec=codec, channel=channel.number, epoch=channel.epoch, payload=payload)
        place: Hashable = None if replaces is None else (kind, channel.number, replaces)
        try:
            self._outbox.push_control(frame, replaces=place)
        except LinkOverflow as overflow:
            # Whoever speaks here is not to blame: `tick` raises it where the connection is looked after.
            self._overflow = overflow

    def _frames(self) -> Iterator[Frame]:
        """The frames that are whole, as long as the connection is up."""
        while not self.has_ended and (frame := self._parser.pop()) is not None:
            yield frame

    def _take(self, frame: Frame) -> list[Event]:
        if self.state is LinkState.HANDSHAKE:
            return self._shake_hands(frame)
        if frame.type is FrameType.HEARTBEAT:
            return self._heard(frame)
        if frame.type is FrameType.CLOSE and frame.channel == 0:
            goodbye = messages.parse(messages.Close, frame.payload)
            self._end()
            return [PeerLeft(goodbye.reason)]
        events = self._reception.take(frame)
        for event in events:
            if isinstance(event, ChannelClosed):
                self._outbox.forget(event.channel)
        return events

    def _shake_hands(self, frame: Frame) -> list[Event]:
        for answer in self._handshake.receive(frame):
            self._outbox.push_control(answer)
        if self._handshake.peer is None:
            return []
        self.state = LinkState.CONNECTED
        self._parser.max_frame_bytes = MAX_FRAME_BYTES
        self._liveness = Liveness(self.timings, now=self._clock.monotonic())
        return [Connected(self._handshake.peer, self._handshake.minor)]

    def _heard(self, frame: Frame) -> list[Event]:
        """A heartbeat: a gateway's is progress by itself, a worker's only if its engine's counter moved."""
        if len(frame.payload) != _COUNTER.size:
            raise LinkProtocolError(f"a heartbeat of {len(frame.payload)} bytes, {_COUNTER.size} are one")
        (counter,) = _COUNTER.unpack(frame.payload)
        if self.peer.role is LinkRole.WORKER and counter == self._their_counter:
            return []
        self._their_counter = counter
        return list(self._liveness.progressed(self._clock.monotonic()))

    def _fail(self, mistake: LinkProtocolError) -> None:
        """Tell the peer why, and close; of what waited nothing is sent any more."""
        self._outbox.clear()
        fault: Literal["auth", "protocol"] = "auth" if isinstance(mistake, LinkAuthError) else "protocol"
        self._close(messages.Close(reason=str(mistake)[:1_000], fault=fault))

    def _close(self, goodbye: messages.Close) -> None:
        if self.state is LinkState.CLOSED:
            return
        self._end()
        try:
            self._outbox.push_control(Frame(FrameType.CLOSE, payload=goodbye.to_json()))
        except LinkOverflow:
            self._outbox.clear()

    def _end(self) -> None:
        self.state = LinkState.CLOSED
        self._channels.clear()
        self._outbox.forget_all()
