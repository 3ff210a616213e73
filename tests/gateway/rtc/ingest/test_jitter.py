"""Whole frames out of packets that come as they like."""

from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_gateway.rtc.ingest.jitter import (
    CAPACITY_PACKETS,
    MAX_NACKS,
    NACK_RETRY_S,
    PATIENCE_S,
    BufferedFrame,
    FrameAssembler,
    MediaPacket,
    NackSchedule,
    split_at_wrap,
)


def stream(sizes: list[int], *, first: int = 0) -> list[MediaPacket]:
    """Frames of so many packets; the first packet of each begins with S."""
    packets, sequence = [], first
    for number, size in enumerate(sizes):
        for part in range(size):
            payload = (b"S" if part == 0 else b"-") + bytes([number % 256, part % 256])
            packets.append(MediaPacket(sequence & 0xFFFF, number * 3000, part == size - 1, payload, 0.0))
            sequence += 1
    return packets


def assembler() -> FrameAssembler:
    return FrameAssembler(starts_frame=lambda payload: payload[:1] == b"S")


def feed(target: FrameAssembler, packets: list[MediaPacket]) -> list[BufferedFrame]:
    return [frame for packet in packets for frame in target.add(packet).frames]


def test_a_frame_leaves_with_the_packet_that_carries_its_marker() -> None:
    target = assembler()
    packets = stream([3, 2])
    assert [len(target.add(packet).frames) for packet in packets] == [0, 0, 1, 0, 1]


def test_a_frame_without_marker_leaves_when_the_next_begins() -> None:
    target = assembler()
    first, second = stream([1, 1])
    unmarked = MediaPacket(first.sequence, first.timestamp, marker=False, payload=first.payload, arrival_s=0.0)
    assert feed(target, [unmarked]) == []
    assert [frame.timestamp for frame in feed(target, [second])] == [0, 3000]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12), st.integers(0, 65535), st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_reordered_and_doubled_packets_make_the_same_frames(sizes: list[int], first: int, random: object) -> None:
    packets = stream(sizes, first=first)
    shuffled = packets[1:] + packets[1:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    frames = feed(assembler(), packets[:1] + shuffled)
    assert [frame.timestamp for frame in frames] == [3000 * number for number in range(len(sizes))]
    assert [len(frame.payloads) for frame in frames] == sizes


@given(st.lists(st.integers(1, 6), min_size=3, max_size=20), st.sets(st.integers(1, 100)), st.integers(0, 65535))
@settings(max_examples=100)
def test_whatever_is_lost_every_frame_that_leaves_is_whole(sizes: list[int], lost: set[int], first: int) -> None:
    target = assembler()
    packets = stream(sizes, first=first)
    frames = feed(target, [packet for number, packet in enumerate(packets) if number not in lost])
    for step in range(2 * len(packets)):
        frames += target.expire(step * PATIENCE_S).frames
    touched = {packets[number].timestamp for number in lost if number < len(packets)}
    assert [frame.timestamp for frame in frames] == sorted({packet.timestamp for packet in packets} - touched)
    for frame in frames:
        assert len(frame.payloads) == sizes[frame.timestamp // 3000]
    assert target.missing() == []


def test_a_hole_waits_for_its_retransmission_and_no_longer() -> None:
    target = assembler()
    packets = stream([2, 2, 2])
    feed(target, [packets[0], packets[1], packets[2], packets[4], packets[5]])
    assert target.missing() == [3]
    assert target.expire(PATIENCE_S * 0.9).frames == ()
    given_up = target.expire(PATIENCE_S)
    assert given_up.lost
    assert [frame.timestamp for frame in given_up.frames] == [6000]
    assert target.add(packets[3]).frames == ()


def test_a_beginning_that_cannot_be_known_drops_the_frame() -> None:
    target = FrameAssembler(starts_frame=lambda _payload: False)
    packets = stream([2, 2, 2])
    frames = feed(target, packets)
    assert [frame.timestamp for frame in frames] == [3000, 6000]


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 9), st.booleans()), max_size=200))
@settings(max_examples=50)
def test_noise_neither_crashes_nor_grows(noise: list[tuple[int, int, bool]]) -> None:
    target = assembler()
    for sequence, timestamp, marker in noise:
        target.add(MediaPacket(sequence, timestamp, marker, b"S", 0.0))
        assert len(target._packets) <= CAPACITY_PACKETS
        assert len(target.missing()) <= CAPACITY_PACKETS


def test_padding_between_frames_is_passed_over() -> None:
    target = assembler()
    packets = stream([1, 1])
    padding = MediaPacket(1, 0, marker=False, payload=b"", arrival_s=0.0)
    late = MediaPacket(2, 3000, marker=True, payload=packets[1].payload, arrival_s=0.0)
    assert len(feed(target, [packets[0], padding, late])) == 2


def test_a_missing_packet_is_asked_for_at_once_and_a_few_times_more() -> None:
    schedule = NackSchedule()
    now, asked = 0.0, 0
    assert schedule.due([5], now) == [5]
    for _ in range(100):
        now += NACK_RETRY_S / 2
        asked += len(schedule.due([5], now))
    assert asked == MAX_NACKS - 1
    assert schedule.due([], now) == []
    assert schedule.due([5, 6], now) == [5, 6]


def test_reports_are_split_where_sequence_numbers_wrap() -> None:
    assert split_at_wrap([65534, 65535, 65536, 65538]) == [[65534, 65535], [0, 2]]
    assert split_at_wrap([]) == []
