"""The outbox: bounded, in order per lane, never a delta frame after a gap, fair between lanes."""

from collections import defaultdict, deque
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from genlock_core.link.frames import Flag, FrameType, LinkFrame, Track
from genlock_core.link.outbox import LinkOverflow, MediaLane, Outbox, OutboxLimits

SMALL = OutboxLimits(
    lane_frames=4,
    lane_bytes=400,
    replay_frames=6,
    replay_bytes=600,
    media_bytes=1_000,
    picture_bytes=400,
    control_frames=5,
    control_bytes=500,
)
LONGEST = 300


def media(sequence: int, *, key: bool = False, replay: bool = False, channel: int = 1, size: int = 10) -> LinkFrame:
    flags = (Flag.KEY if key else 0) | (Flag.REPLAY if replay else 0)
    return LinkFrame(
        FrameType.MEDIA, flags, Track.SOURCE, codec=1, channel=channel, sequence=sequence, payload=bytes(size)
    )


def picture(number: int, *, channel: int = 1, size: int = 10) -> LinkFrame:
    return LinkFrame(FrameType.PICTURE, channel=channel, capture_us=number, payload=bytes(size))


def drain(outbox: Outbox) -> list[LinkFrame]:
    frames = []
    while (frame := outbox.pop()) is not None:
        frames.append(frame)
    return frames


class Drops(list[tuple[MediaLane, int]]):
    def __call__(self, lane: MediaLane, count: int) -> None:
        self.append((lane, count))

    @property
    def total(self) -> int:
        return sum(count for _, count in self)


def test_control_goes_before_media_and_in_order() -> None:
    outbox = Outbox(on_drop=Drops())
    outbox.push_media(media(0, key=True))
    outbox.push_control(LinkFrame(FrameType.OPENED, channel=1))
    outbox.push_control(LinkFrame(FrameType.CLOSE, channel=1))
    assert [frame.type for frame in drain(outbox)] == [FrameType.OPENED, FrameType.CLOSE, FrameType.MEDIA]


def test_a_control_frame_that_replaces_another_takes_its_place() -> None:
    outbox = Outbox(on_drop=Drops())
    outbox.push_control(LinkFrame(FrameType.HEARTBEAT, payload=b"1"), replaces="heartbeat")
    outbox.push_control(LinkFrame(FrameType.CLOSE, channel=3))
    outbox.push_control(LinkFrame(FrameType.HEARTBEAT, payload=b"2"), replaces="heartbeat")
    assert [(frame.type, frame.payload) for frame in drain(outbox)] == [
        (FrameType.HEARTBEAT, b"2"),
        (FrameType.CLOSE, b""),
    ]
    assert outbox.pending_bytes == 0


def test_control_that_nobody_reads_is_an_overflow() -> None:
    outbox = Outbox(on_drop=Drops(), limits=SMALL)
    for _ in range(SMALL.control_frames):
        outbox.push_control(LinkFrame(FrameType.STATS, channel=1))
    with pytest.raises(LinkOverflow, match="does not read"):
        outbox.push_control(LinkFrame(FrameType.STATS, channel=1))


def test_an_overfull_lane_is_emptied_and_waits_for_a_key_frame() -> None:
    drops = Drops()
    outbox = Outbox(on_drop=drops, limits=SMALL)
    for sequence in range(6):
        outbox.push_media(media(sequence, key=sequence == 0))
    assert drain(outbox) == []
    assert drops.total == 6
    outbox.push_media(media(6))
    outbox.push_media(media(7, key=True))
    outbox.push_media(media(8))
    assert [frame.sequence for frame in drain(outbox)] == [7, 8]


def test_an_overfull_lane_keeps_what_follows_its_newest_key_frame() -> None:
    drops = Drops()
    outbox = Outbox(on_drop=drops, limits=SMALL)
    for sequence in range(5):
        outbox.push_media(media(sequence, key=sequence in (0, 3)))
    assert [frame.sequence for frame in drain(outbox)] == [3, 4]
    assert drops == [(MediaLane(1, Track.SOURCE, 1), 3)]


def test_a_replay_does_not_use_up_the_room_of_live_frames() -> None:
    drops = Drops()
    outbox = Outbox(on_drop=drops, limits=SMALL)
    for sequence in range(6):
        outbox.push_media(media(sequence, key=sequence == 0, replay=True))
    for sequence in range(6, 10):
        outbox.push_media(media(sequence))
    assert [frame.sequence for frame in drain(outbox)] == list(range(10))
    assert not drops


def test_lanes_take_turns() -> None:
    outbox = Outbox(on_drop=Drops())
    for sequence in range(3):
        outbox.push_media(media(sequence, key=True, channel=1))
    outbox.push_media(media(0, key=True, channel=2))
    assert [(frame.channel, frame.sequence) for frame in drain(outbox)] == [(1, 0), (2, 0), (1, 1), (1, 2)]


def test_the_longest_lane_gives_way_when_all_together_are_too_much() -> None:
    drops = Drops()
    outbox = Outbox(on_drop=drops, limits=replace(SMALL, media_bytes=500))
    outbox.push_media(media(0, key=True, channel=1, size=300))
    outbox.push_media(media(0, key=True, channel=2, size=100))
    outbox.push_media(media(0, key=True, channel=3, size=200))
    assert [frame.channel for frame in drain(outbox)] == [2, 3]
    assert drops == [(MediaLane(1, Track.SOURCE, 1), 1)]


def test_a_channel_that_ended_leaves_nothing() -> None:
    drops = Drops()
    outbox = Outbox(on_drop=drops)
    outbox.push_media(media(0, key=True, channel=1))
    outbox.push_media(media(0, key=True, channel=2))
    outbox.forget(1)
    assert [frame.channel for frame in drain(outbox)] == [2]
    assert not outbox
    assert not drops


def test_take_stops_at_the_wanted_size_but_gives_at_least_a_frame() -> None:
    outbox = Outbox(on_drop=Drops())
    for sequence in range(3):
        outbox.push_media(media(sequence, key=True, size=5_000))
    assert len(b"".join(outbox.take(1))) > 5_000
    assert outbox.pending_frames == 2
    assert len(b"".join(outbox.take(1_000_000))) > 10_000
    assert outbox.take(1) == []


def test_pictures_wait_for_all_others_and_the_latest_of_a_channel_is_the_only_one() -> None:
    outbox = Outbox(on_drop=Drops())
    for number in range(3):
        outbox.push_picture(picture(number))
    outbox.push_picture(picture(3, channel=2))
    outbox.push_media(media(0, key=True))
    outbox.push_control(LinkFrame(FrameType.CLOSE, channel=3))
    sent = [(frame.type, frame.channel, frame.capture_us) for frame in drain(outbox)]
    assert [kind for kind, _, _ in sent[:2]] == [FrameType.CLOSE, FrameType.MEDIA]
    assert sent[2:] == [(FrameType.PICTURE, 1, 2), (FrameType.PICTURE, 2, 3)]


def test_a_picture_of_a_channel_that_ended_is_gone() -> None:
    outbox = Outbox(on_drop=Drops())
    outbox.push_picture(picture(1, channel=1))
    outbox.push_picture(picture(2, channel=2))
    outbox.forget(1)
    assert outbox.pending_bytes == 10
    assert [frame.channel for frame in drain(outbox)] == [2]
    outbox.push_picture(picture(3))
    outbox.forget_all()
    assert not outbox
    assert outbox.pending_bytes == 0


class OutboxMachine(RuleBasedStateMachine):
    """Any order of pushes and pops against what the rules promise."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped: dict[MediaLane, int] = defaultdict(int)
        self.pushed: dict[MediaLane, deque[LinkFrame]] = defaultdict(deque)
        self.sent: dict[MediaLane, list[LinkFrame]] = defaultdict(list)
        self.counts: dict[MediaLane, int] = defaultdict(int)
        self.pictures = 0
        self.last_picture: dict[int, int] = {}
        self.outbox = Outbox(on_drop=self._drop, limits=SMALL)

    def _drop(self, lane: MediaLane, count: int) -> None:
        assert count > 0
        self.dropped[lane] += count

    @rule(
        channel=st.integers(1, 3),
        codec=st.integers(1, 2),
        flags=st.sampled_from([0, 0, Flag.KEY, Flag.REPLAY, Flag.KEY | Flag.REPLAY]),
        size=st.integers(0, LONGEST),
    )
    def push(self, channel: int, codec: int, flags: int, size: int) -> None:
        lane = MediaLane(channel, Track.OUTPUT, codec)
        if not self.counts[lane]:
            flags |= Flag.KEY
        frame = LinkFrame(
            FrameType.MEDIA,
            flags,
            Track.OUTPUT,
            codec,
            channel,
            sequence=self.counts[lane],
            payload=bytes(size),
        )
        self.counts[lane] += 1
        self.pushed[lane].append(frame)
        self.outbox.push_media(frame)

    @rule(channel=st.integers(1, 3), size=st.integers(0, LONGEST))
    def push_picture(self, channel: int, size: int) -> None:
        self.pictures += 1
        self.last_picture[channel] = self.pictures
        self.outbox.push_picture(picture(self.pictures, channel=channel, size=size))

    @rule(count=st.integers(1, 5))
    def pop(self, count: int) -> None:
        for _ in range(count):
            if (frame := self.outbox.pop()) is None:
                assert not self.outbox
                return
            if frame.type is FrameType.PICTURE:
                assert frame.capture_us == self.last_picture[frame.channel], "an older picture was kept"
                assert not self.outbox._turns, "a picture went before media"
                continue
            lane = MediaLane(frame.channel, frame.track, frame.codec)
            before = self.sent[lane][-1].sequence if self.sent[lane] else -1
            assert frame.sequence > before, "a lane was reordered"
            assert frame.sequence == before + 1 or frame.flags & Flag.KEY, "a delta frame follows a gap"
            self.sent[lane].append(frame)

    @invariant()
    def bounded(self) -> None:
        assert self.outbox.pending_bytes <= SMALL.media_bytes + SMALL.picture_bytes
        assert self.outbox._picture_bytes.held == sum(len(frame.payload) for frame in self.outbox._pictures.values())
        assert self.outbox.pending_frames <= 6 * (SMALL.lane_frames + SMALL.replay_frames) + 3

    def teardown(self) -> None:
        while self.outbox:
            self.pop(5)
        for lane, count in self.counts.items():
            assert len(self.sent[lane]) + self.dropped[lane] == count, "a frame was lost without a report"
        assert self.outbox.pending_bytes == 0


OutboxMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOutbox = OutboxMachine.TestCase
