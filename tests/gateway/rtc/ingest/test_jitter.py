"""Whole frames out of packets that come as they like."""

from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_core.bounds import OBJECT_BYTES, Holdings
from genlock_gateway.rtc.ingest.jitter import (
    CAPACITY_PACKETS,
    END_WAIT_S,
    MAX_END_WAIT_S,
    MAX_FRAME_BYTES,
    MAX_NACKS,
    NACK_RETRY_S,
    PATIENCE_S,
    BufferedFrame,
    FrameAssembler,
    MediaPacket,
    NackSchedule,
    split_at_wrap,
)
from genlock_gateway.rtc.ingest.payload_shape import PayloadShape, h264_shape, vp8_shape


def stream(sizes: list[int], *, first: int = 0) -> list[MediaPacket]:
    """Frames of so many packets; the first packet of each begins with S."""
    packets, sequence = [], first
    for number, size in enumerate(sizes):
        for part in range(size):
            payload = (b"S" if part == 0 else b"-") + bytes([number % 256, part % 256])
            packets.append(MediaPacket(sequence & 0xFFFF, number * 3000, part == size - 1, payload, 0.0))
            sequence += 1
    return packets


def shape_of(payload: bytes) -> PayloadShape:
    """S begins a picture, F stands in front of one, everything else is a slice, which is whole unless it is `~`."""
    kind = payload[:1]
    return PayloadShape(kind in (b"S", b"F"), kind in (b"S", b"F"), kind != b"F", kind not in (b"F", b"~"))


def assembler() -> FrameAssembler:
    return FrameAssembler(shape_of=shape_of)


def feed_at(target: FrameAssembler, words: str, *, timestamp: int, first: int, at_s: float = 0.0) -> list[str]:
    """Packets of one timestamp, a letter each, with a marker where a `!` follows; gives the frames that left."""
    frames: list[str] = []
    for number, word in enumerate(words.replace("!", "").strip()):
        at = [at for at, letter in enumerate(words) if letter != "!"][number]
        packet = MediaPacket(first + number, timestamp, words[at + 1 : at + 2] == "!", word.encode(), at_s)
        frames += map(text, target.add(packet).frames)
    return frames


def text(frame: BufferedFrame) -> str:
    return b"".join(frame.payloads).decode()


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
    target = FrameAssembler(shape_of=lambda _payload: PayloadShape(False, False, True, True))
    packets = stream([2, 2, 2])
    frames = feed(target, packets)
    assert [frame.timestamp for frame in frames] == [3000, 6000]


def test_markers_on_each_slice_cost_the_first_frame_alone_which_leaves_again_when_it_is_whole() -> None:
    target = assembler()
    assert feed_at(target, "S!a!b!", timestamp=0, first=0) == ["S"], "as if the marker were the end"
    assert feed_at(target, "S!a!b!", timestamp=1, first=3) == ["Sab"]
    assert feed_at(target, "S!", timestamp=2, first=6) == ["Sab"]
    assert target.ends_at_s == END_WAIT_S
    assert target.expire(END_WAIT_S * 0.9).frames == ()
    assert [text(frame) for frame in target.expire(END_WAIT_S).frames] == ["S"]


def test_a_marker_in_front_of_the_first_frame_warns_in_time() -> None:
    target = assembler()
    assert feed_at(target, "F!S!a!b!", timestamp=0, first=0) == []
    assert feed_at(target, "S!a!b!", timestamp=1, first=4) == ["FSab"]
    assert feed_at(target, "S!", timestamp=2, first=7) == ["Sab"]


def test_a_marker_in_front_costs_a_sender_of_single_slices_one_short_wait() -> None:
    target = assembler()
    assert feed_at(target, "F!S!", timestamp=0, first=0) == []
    assert feed_at(target, "S!", timestamp=1, first=2) == ["FS", "S"]
    assert feed_at(target, "F!S!", timestamp=2, first=3) == ["FS"]


def test_slices_with_one_marker_at_the_end_leave_at_once() -> None:
    target = assembler()
    for number in range(3):
        assert feed_at(target, "Sab!", timestamp=number, first=3 * number) == ["Sab"]
        assert target.ends_at_s is None


def test_without_any_marker_a_frame_ends_with_the_next_or_after_a_short_wait() -> None:
    target = assembler()
    assert feed_at(target, "Sab", timestamp=0, first=0, at_s=1.0) == []
    assert feed_at(target, "Sa", timestamp=1, first=3, at_s=1.1) == ["Sab"]
    assert target.ends_at_s == 1.1 + END_WAIT_S
    assert [text(frame) for frame in target.expire(1.1 + END_WAIT_S).frames] == ["Sa"]
    assert target.ends_at_s is None


def test_a_slice_that_is_not_whole_is_waited_for() -> None:
    target = assembler()
    feed_at(target, "Sa", timestamp=0, first=0)
    feed_at(target, "S~", timestamp=1, first=2)
    assert target.ends_at_s is None
    feed_at(target, "a", timestamp=1, first=4)
    assert target.ends_at_s == END_WAIT_S


def test_a_sender_that_pauses_between_slices_gets_more_time() -> None:
    target = assembler()
    feed_at(target, "S", timestamp=0, first=0)
    feed_at(target, "S", timestamp=1, first=1)
    waits = []
    for number in range(2, 9):
        assert target.ends_at_s is not None
        waits.append(round(target.ends_at_s, 6))
        target.expire(target.ends_at_s)
        feed_at(target, "a", timestamp=1, first=number)
    assert waits[:3] == [END_WAIT_S, 2 * END_WAIT_S, 4 * END_WAIT_S]
    assert waits[-1] == MAX_END_WAIT_S


def test_two_pictures_of_one_timestamp_are_two() -> None:
    target = assembler()
    assert feed_at(target, "Sa!Sb!", timestamp=0, first=0) == ["Sa", "Sb"]
    assert feed_at(target, "SaFSb!", timestamp=1, first=4) == ["Sa", "FSb"]
    assert target.ends_at_s is None, "the markers are believed"


def test_a_hole_is_not_taken_for_an_end() -> None:
    target = assembler()
    feed_at(target, "S", timestamp=0, first=0)
    feed_at(target, "S", timestamp=1, first=1)
    feed_at(target, "S", timestamp=2, first=3)
    assert target.ends_at_s is None
    assert target.expire(END_WAIT_S).frames == ()


def test_a_frame_without_end_is_given_up() -> None:
    target, lost = assembler(), 0
    for number in range(2 * MAX_FRAME_BYTES // 60_000):
        packet = MediaPacket(
            number, 7, marker=False, payload=b"S" * 60_000 if not number else b"a" * 60_000, arrival_s=0
        )
        lost += target.add(packet).lost
        assert target._open_bytes.held <= MAX_FRAME_BYTES
    assert lost == 1
    assert feed_at(target, "Sa!", timestamp=8, first=2 * MAX_FRAME_BYTES // 60_000) == ["Sa"]


@given(size=st.integers(1, 1_200), is_vp8=st.booleans())
@settings(max_examples=10)
def test_a_picture_that_never_ends_is_given_up_whatever_its_packets_are(size: int, is_vp8: bool) -> None:
    """One timestamp, no marker, no hole: twice as much as may be held comes, and no more than that is."""
    holdings = Holdings()
    shape = vp8_shape if is_vp8 else h264_shape
    target = FrameAssembler(shape_of=shape, holdings=holdings)
    most, lost = 0, 0
    for number in range(2 * MAX_FRAME_BYTES // (size + OBJECT_BYTES)):
        first = (b"\x10" if is_vp8 else b"\x65\x88") if number == 0 else (b"\x00" if is_vp8 else b"\x65\x08")
        payload = (first + bytes(size))[: max(2, size)]
        lost += target.add(MediaPacket(number & 0xFFFF, 7, False, payload, number / 1_000)).lost
        if number % 500 == 0:
            most = max(most, holdings.held_bytes)
    assert lost >= 1
    assert len(target._open.packets) * OBJECT_BYTES <= MAX_FRAME_BYTES
    assert most <= 2 * MAX_FRAME_BYTES
    assert all(not bound.is_over for bound in holdings.bounds)


packets_of_noise = st.tuples(st.integers(0, 65535), st.integers(0, 9), st.booleans(), st.sampled_from("SFa~"))


@given(st.lists(packets_of_noise, max_size=200))
@settings(max_examples=50)
def test_noise_neither_crashes_nor_grows(noise: list[tuple[int, int, bool, str]]) -> None:
    target = assembler()
    for sequence, timestamp, marker, kind in noise:
        target.add(MediaPacket(sequence, timestamp, marker, kind.encode(), 0.0))
        assert len(target._packets) <= CAPACITY_PACKETS
        assert target._waiting_bytes.held == sum(waiting.cost for waiting in target._packets.values())
        assert target._open_bytes.held == sum(packet.cost for packet in target._open.packets)
        assert target._last_bytes.held == sum(packet.cost for packet in target._last.packets)
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
