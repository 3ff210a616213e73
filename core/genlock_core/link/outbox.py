"""What waits to be sent over one link, bounded whatever the peer does.

Control frames go first and in order. Too many of them mean that the peer does not read, which ends the connection.

Media waits per lane (channel, track, codec) and drops to the latest. When a lane is over its bound, everything before
its newest key frame is dropped. Without a key frame everything is dropped, and nothing is taken until the next one: a
decoder at the other end never gets a delta frame after a gap. Lanes take turns, one frame each.

Pictures go last, when neither control nor media waits: a preview takes nothing from the live path. Each channel has
room for one picture, and a newer one takes its place.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace

from genlock_core.bounds import ByteBound, ByteLimit
from genlock_core.errors import LinkProtocolError
from genlock_core.link.frames import MAX_PAYLOAD_BYTES, Flag, LinkFrame, Track, encode

MEDIA_LIMIT = ByteLimit(
    "pictures that wait to be sent",
    64 * 1024 * 1024,
    each="link between a gateway and a worker",
    when_full="the longest queue is cut to its newest key frame, or emptied",
)
PICTURE_LIMIT = ByteLimit(
    "previews that wait to be sent",
    4 * 1024 * 1024,
    each="link between a gateway and a worker",
    when_full="the one that has waited longest is dropped",
)
CONTROL_LIMIT = ByteLimit(
    "control frames that wait to be sent",
    8 * 1024 * 1024,
    each="link between a gateway and a worker",
    when_full="the link ends: its peer does not read",
)


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """Bounds of one connection's queues."""

    lane_frames: int = 30
    """Live frames per lane: about one second of video, beyond which it is worth nothing to a viewer."""
    lane_bytes: int = 4 * 1024 * 1024
    replay_frames: int = 1_800
    """Frames of a kept group of pictures per lane: it is sent in one go, and is worth nothing if cut."""
    replay_bytes: int = 16 * 1024 * 1024
    media_bytes: int = MEDIA_LIMIT.at_most
    """All lanes together; beyond it the longest lane is emptied."""
    picture_bytes: int = PICTURE_LIMIT.at_most
    """All pictures together; beyond it the one that has waited longest is dropped."""
    control_frames: int = 4_096
    control_bytes: int = CONTROL_LIMIT.at_most


class LinkOverflow(LinkProtocolError):
    """The peer does not read what it is told; the connection is closed."""


@dataclass(frozen=True, slots=True, order=True)
class MediaLane:
    """Media that must stay in order and whole: one encoding of one channel's track."""

    channel: int
    track: Track
    codec: int


OnDrop = Callable[[MediaLane, int], None]
"""Told how many frames of a lane were dropped; nothing more of it is sent before its next key frame."""


@dataclass(slots=True)
class _Queue:
    """A lane's frames. `gapped`: frames were dropped and no key frame has come since."""

    frames: deque[LinkFrame] = field(default_factory=deque)
    live_frames: int = 0
    live_bytes: int = 0
    replay_frames: int = 0
    replay_bytes: int = 0
    gapped: bool = False

    @property
    def size(self) -> int:
        return self.live_bytes + self.replay_bytes

    def append(self, frame: LinkFrame) -> None:
        self.frames.append(frame)
        self._count(frame, 1)

    def popleft(self) -> LinkFrame:
        frame = self.frames.popleft()
        self._count(frame, -1)
        return frame

    def _count(self, frame: LinkFrame, sign: int) -> None:
        if frame.flags & Flag.REPLAY:
            self.replay_frames += sign
            self.replay_bytes += sign * len(frame.payload)
        else:
            self.live_frames += sign
            self.live_bytes += sign * len(frame.payload)

    def is_over(self, limits: OutboxLimits) -> bool:
        """Over a bound; a single frame never is, the longest frame being a bound of its own."""
        return len(self.frames) > 1 and (
            self.live_frames > limits.lane_frames
            or self.live_bytes > limits.lane_bytes
            or self.replay_frames > limits.replay_frames
            or self.replay_bytes > limits.replay_bytes
        )

    def drop_to_latest_key(self) -> int:
        """Drop what stands before the newest key frame that is not the first frame; all if there is none."""
        newest = max((index for index, frame in enumerate(self.frames) if frame.flags & Flag.KEY), default=0)
        return self.drop_first(newest if newest > 0 else len(self.frames))

    def drop_first(self, count: int) -> int:
        for _ in range(count):
            self.popleft()
        self.gapped = not self.frames
        return count


class Outbox:
    """The queues of one connection. `pop` gives the next frame to send; see the module for the rules."""

    def __init__(self, *, on_drop: OnDrop, limits: OutboxLimits | None = None) -> None:
        self._limits = limits or OutboxLimits()
        self._on_drop = on_drop

        self._control: OrderedDict[Hashable, LinkFrame] = OrderedDict()
        self._control_bytes = ByteBound(replace(CONTROL_LIMIT, at_most=self._limits.control_bytes))
        self._unreplaceable = 0  # how many control frames have come without a key; the number is their key

        self._lanes: dict[MediaLane, _Queue] = {}
        self._turns: deque[MediaLane] = deque()  # lanes that have frames, each once
        self._media_bytes = ByteBound(replace(MEDIA_LIMIT, at_most=self._limits.media_bytes))

        self._pictures: OrderedDict[int, LinkFrame] = OrderedDict()  # by channel, the one that waits longest first
        self._picture_bytes = ByteBound(replace(PICTURE_LIMIT, at_most=self._limits.picture_bytes))

    def __bool__(self) -> bool:
        return bool(self._control or self._turns or self._pictures)

    @property
    def pending_frames(self) -> int:
        waiting = len(self._control) + len(self._pictures)
        return waiting + sum(len(queue.frames) for queue in self._lanes.values())

    @property
    def pending_bytes(self) -> int:
        """Payload bytes that wait."""
        return self._control_bytes.held + self._media_bytes.held + self._picture_bytes.held

    def push_control(self, frame: LinkFrame, *, replaces: Hashable = None) -> None:
        """Queue a control frame; one that waits under the same `replaces` key gives its place to this one.

        Raises LinkOverflow when more waits than may.
        """
        if replaces is None:
            self._unreplaceable += 1
            replaces = self._unreplaceable
        waiting = self._control.get(replaces)
        self._control_bytes.add(len(frame.payload) - (len(waiting.payload) if waiting else 0))
        self._control[replaces] = frame
        if len(self._control) > self._limits.control_frames or self._control_bytes.is_over:
            raise LinkOverflow(f"the peer does not read: {len(self._control)} control frames wait")

    def push_media(self, frame: LinkFrame) -> None:
        """Queue a MEDIA frame, or drop by the rules of the module; one too long for the link is dropped as well."""
        lane = MediaLane(frame.channel, frame.track, frame.codec)
        queue = self._lanes.setdefault(lane, _Queue())

        # After a gap only a key frame helps a decoder.
        if frame.flags & Flag.KEY:
            queue.gapped = False
        if len(frame.payload) > MAX_PAYLOAD_BYTES:
            queue.gapped = True
        if queue.gapped:
            self._on_drop(lane, 1)
            return

        queue.append(frame)
        self._media_bytes.add(len(frame.payload))
        if len(queue.frames) == 1:
            self._turns.append(lane)

        # The lane's own bounds, then the bound of all lanes together, which the longest one pays.
        dropped = 0
        while queue.is_over(self._limits):
            dropped += self._shrink(lane, queue)
        if dropped:
            self._on_drop(lane, dropped)
        while self._media_bytes.is_over:
            longest = max(self._lanes, key=lambda each: self._lanes[each].size)
            self._on_drop(longest, self._shrink(longest, self._lanes[longest]))

    def push_picture(self, frame: LinkFrame) -> None:
        """Queue a picture, in the place of one that still waits on its channel."""
        self._picture_bytes.add(len(frame.payload) - self._waiting_picture_bytes(frame.channel))
        self._pictures[frame.channel] = frame

        while self._picture_bytes.is_over:
            _, longest = self._pictures.popitem(last=False)
            self._picture_bytes.give(len(longest.payload))

    def _waiting_picture_bytes(self, channel: int) -> int:
        waiting = self._pictures.get(channel)
        return 0 if waiting is None else len(waiting.payload)

    def _shrink(self, lane: MediaLane, queue: _Queue) -> int:
        before = queue.size
        dropped = queue.drop_to_latest_key()
        self._media_bytes.give(before - queue.size)
        if not queue.frames:
            self._turns.remove(lane)
        return dropped

    def forget(self, channel: int) -> None:
        """A channel ended: drop its media and its picture without a report."""
        self._picture_bytes.give(self._waiting_picture_bytes(channel))
        self._pictures.pop(channel, None)
        for lane in [lane for lane in self._lanes if lane.channel == channel]:
            queue = self._lanes.pop(lane)
            self._media_bytes.give(queue.size)
            if queue.frames:
                self._turns.remove(lane)

    def forget_all(self) -> None:
        """The connection ends: drop all media and pictures without a report."""
        for channel in {lane.channel for lane in self._lanes} | set(self._pictures):
            self.forget(channel)

    def clear(self) -> None:
        """Drop everything."""
        self.forget_all()
        self._control.clear()
        self._control_bytes.clear()

    def pop(self) -> LinkFrame | None:
        """The next frame to send: control first, then the lanes in turn, then pictures. None when nothing waits."""
        if self._control:
            _, frame = self._control.popitem(last=False)
            self._control_bytes.give(len(frame.payload))
            return frame

        if not self._turns:
            return self._pop_picture()

        # The lane whose turn it is gives one frame, and waits for its next turn behind the others.
        lane = self._turns.popleft()
        queue = self._lanes[lane]
        frame = queue.popleft()
        self._media_bytes.give(len(frame.payload))
        if queue.frames:
            self._turns.append(lane)
        return frame

    def _pop_picture(self) -> LinkFrame | None:
        if not self._pictures:
            return None
        _, frame = self._pictures.popitem(last=False)
        self._picture_bytes.give(len(frame.payload))
        return frame

    def take(self, max_bytes: int) -> list[bytes]:
        """Encoded buffers of about `max_bytes` (at least one frame if there is one), in the order of `pop`."""
        buffers: list[bytes] = []
        size = 0
        while size < max_bytes and (frame := self.pop()) is not None:
            encoded = encode(frame)
            size += sum(map(len, encoded))
            buffers += encoded
        return buffers
