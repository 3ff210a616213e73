"""Frames as bytes: they come back in any fragmentation, and what is not a frame is refused, once and for all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_core.errors import LinkProtocolError
from genlock_core.link.frames import (
    MAX_FRAME_BYTES,
    MAX_FRAME_BYTES_BEFORE_AUTH,
    MAX_PAYLOAD_BYTES,
    Flag,
    FrameParser,
    FrameType,
    LinkFrame,
    Track,
    encode,
)
from genlock_core.slo.stages import Stage, StageTimes

stages = st.dictionaries(st.sampled_from(Stage), st.integers(0, 2**32 - 1), max_size=4).map(
    lambda offsets: StageTimes.of(offsets).encode()
)
frames = st.builds(
    LinkFrame,
    type=st.sampled_from(FrameType),
    flags=st.integers(0, sum(Flag)),
    track=st.sampled_from(Track),
    codec=st.integers(0, 255),
    channel=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 2**64 - 1),
    run=st.integers(0, 2**64 - 1),
    sequence=st.integers(0, 2**32 - 1),
    capture_us=st.integers(-(2**63), 2**63 - 1),
    stages=stages,
    payload=st.binary(max_size=200) | st.integers(2_000, 4_000).map(bytes),
)


def pieces(data: st.DataObject, whole: bytes) -> list[bytes]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    return [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@given(st.lists(frames, max_size=6), st.data())
@settings(max_examples=100, deadline=None)
def test_frames_come_back_in_any_fragmentation(sent: list[LinkFrame], data: st.DataObject) -> None:
    whole = b"".join(buffer for frame in sent for buffer in encode(frame))
    parser = FrameParser()
    received = [frame for piece in pieces(data, whole) for frame in parser.feed(piece)]
    assert received == sent
    assert parser.buffered_bytes == 0


@given(frames, st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_or_cut_frame_never_does_worse_than_a_protocol_error(frame: LinkFrame, data: st.DataObject) -> None:
    damaged = bytearray(b"".join(encode(frame)))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(1, len(damaged))) :]
    parser = FrameParser()
    try:
        for piece in pieces(data, bytes(damaged)):
            parser.feed(piece)
    except LinkProtocolError as mistake:
        with pytest.raises(LinkProtocolError, match=str(mistake).partition("(")[0][:20]):
            parser.feed(b"")
    assert parser.buffered_bytes <= len(damaged)


@given(st.binary(max_size=400), st.integers(1, 50))
@settings(max_examples=150, deadline=None)
def test_noise_never_does_worse_than_a_protocol_error(noise: bytes, step: int) -> None:
    parser = FrameParser()
    try:
        for start in range(0, len(noise), step):
            parser.feed(noise[start : start + step])
    except LinkProtocolError:
        assert parser.buffered_bytes == 0
    assert parser.buffered_bytes <= len(noise)


def test_an_announced_length_is_refused_before_its_bytes_come() -> None:
    with pytest.raises(LinkProtocolError, match="4194305 bytes, at most 4194304"):
        FrameParser().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))
    with pytest.raises(LinkProtocolError, match="at most 262144"):
        FrameParser(max_frame_bytes=MAX_FRAME_BYTES_BEFORE_AUTH).feed((2**20).to_bytes(4, "big"))
    with pytest.raises(LinkProtocolError, match="too short"):
        FrameParser().feed((36).to_bytes(4, "big"))


def test_the_limit_may_be_raised_between_two_frames_of_one_push() -> None:
    first, second = LinkFrame(FrameType.AUTH), LinkFrame(FrameType.MEDIA, payload=bytes(300_000))
    parser = FrameParser(max_frame_bytes=MAX_FRAME_BYTES_BEFORE_AUTH)
    parser.push(b"".join([*encode(first), *encode(second)]))
    assert parser.pop() == first
    parser.max_frame_bytes = MAX_FRAME_BYTES
    assert parser.pop() == second


def test_the_longest_payload_goes_with_all_its_stage_times_and_a_longer_frame_does_not() -> None:
    times = StageTimes.of(dict.fromkeys(Stage, 1)).encode()
    longest = LinkFrame(FrameType.MEDIA, stages=times, payload=bytes(MAX_PAYLOAD_BYTES))
    buffers = encode(longest)
    assert buffers[-1] is longest.payload
    assert FrameParser().feed(b"".join(buffers)) == [longest]
    with pytest.raises(LinkProtocolError, match="over the link's maximum"):
        encode(LinkFrame(FrameType.MEDIA, payload=bytes(MAX_FRAME_BYTES)))


def test_stage_times_that_are_not_whole_are_refused_both_ways() -> None:
    with pytest.raises(LinkProtocolError, match="whole entries"):
        encode(LinkFrame(FrameType.MEDIA, stages=b"\x01"))
    good = b"".join(encode(LinkFrame(FrameType.MEDIA)))
    with pytest.raises(LinkProtocolError, match="within its stage times"):
        FrameParser().feed(good[:-1] + b"\x09")


@pytest.mark.parametrize(("position", "value"), [(4, 0), (4, 200), (5, 8), (6, 3)])
def test_unknown_types_flags_and_tracks_are_refused(position: int, value: int) -> None:
    data = bytearray(b"".join(encode(LinkFrame(FrameType.MEDIA))))
    data[position] = value
    with pytest.raises(LinkProtocolError, match="unknown"):
        FrameParser().feed(bytes(data))


def test_a_long_frame_in_small_pieces_is_copied_once() -> None:
    whole = b"".join(encode(LinkFrame(FrameType.MEDIA, payload=bytes(MAX_PAYLOAD_BYTES))))
    parser = FrameParser()
    found = [frame for start in range(0, len(whole), 64) for frame in parser.feed(whole[start : start + 64])]
    assert len(found) == 1
    assert parser.buffered_bytes == 0
