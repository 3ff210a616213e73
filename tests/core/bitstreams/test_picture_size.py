"""Which pictures are too large for a decoder, as their headers say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.bitstreams.h264_headers import read_sequence_set
from genlock_core.bitstreams.picture_size import MAX_PICTURES_BYTES, MAX_SIDE, size_mistake, vp8_size
from genlock_core.media import Codec
from tests.bitstreams import bits

SLICE = bits.slice_start(5)


def vp8_frame(width: int, height: int, *, scale: int = 0, shown: int = 0x10) -> bytes:
    sides = b"".join((side | scale << 14).to_bytes(2, "little") for side in (width, height))
    return bytes([shown, 0, 0]) + b"\x9d\x01\x2a" + sides + b"x" * 20


@given(columns=st.integers(1, 2_000), rows=st.integers(1, 1_000), progressive=st.booleans())
def test_h264_with_a_side_that_is_too_long_is_a_mistake(columns: int, rows: int, progressive: bool) -> None:
    width, height = 16 * columns, 16 * rows * (1 if progressive else 2)
    sequence = bits.sequence_set(width=width, height=height, progressive=progressive)
    said = size_mistake(Codec.H264, bits.annex_b(b"\x09\xf0", sequence, bits.picture_set(), SLICE))
    assert (f"{width}x{height}" in said) is (max(width, height) > MAX_SIDE)


@given(width=st.integers(0, 0x3FFF), height=st.integers(0, 0x3FFF), scale=st.integers(0, 3))
def test_vp8_is_as_large_as_it_is_coded_whatever_it_is_scaled_by(width: int, height: int, scale: int) -> None:
    frame = vp8_frame(width, height, scale=scale)
    assert vp8_size(frame) == (width, height)
    assert bool(size_mistake(Codec.VP8, frame)) is (max(width, height) > MAX_SIDE)


@pytest.mark.parametrize(
    ("sequence", "fits"),
    [
        (bits.sequence_set(width=3_840, height=2_160, references=5), True),
        (bits.sequence_set(width=3_840, height=2_160, references=6, profile_idc=110, bit_depth=10), True),
        (bits.sequence_set(width=1_920, height=1_088, references=16, profile_idc=244, bit_depth=10), False),
        (bits.sequence_set(width=4_096, height=4_096, references=3), True),
        (bits.sequence_set(width=4_096, height=4_096, references=16), False),
        (bits.sequence_set(references=2**31), False),
    ],
    ids=["4K of level 5.2", "4K in 10 bits", "16 of 4:4:4 in 10 bits", "square", "16 squares", "endless"],
)
def test_all_that_a_picture_may_refer_to_counts(sequence: bytes, fits: bool) -> None:
    assert (size_mistake(Codec.H264, bits.annex_b(sequence, SLICE)) == "") is fits
    header = read_sequence_set(sequence)
    assert header is not None
    assert ((header.reference_frames + 1) * header.picture_bytes <= MAX_PICTURES_BYTES) is fits


def test_each_sequence_of_a_unit_counts_wherever_it_stands() -> None:
    large = bits.sequence_set(1, width=16_384, height=8_192)
    assert size_mistake(Codec.H264, bits.annex_b(bits.sequence_set(), SLICE, large))
    assert size_mistake(Codec.H264, b"junk" + bits.annex_b(large))


@given(st.binary(max_size=60))
def test_what_no_header_is_says_nothing(noise: bytes) -> None:
    unbroken = noise.replace(b"\x00\x00\x01", b"")
    assert size_mistake(Codec.H264, unbroken) == ""
    assert size_mistake(Codec.VP8, bytes([1]) + noise) == "", "no key frame"
    size_mistake(Codec.H264, bits.annex_b(b"\x67" + noise))
    size_mistake(Codec.VP8, noise)
