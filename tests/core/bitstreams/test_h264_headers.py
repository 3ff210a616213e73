"""What the headers say, and that broken ones say nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.bitstreams.h264 import nal_type, split_annex_b
from genlock_core.bitstreams.h264_headers import (
    PictureHeader,
    SequenceHeader,
    SliceHeader,
    read_picture_set,
    read_recovery_point,
    read_sequence_set,
    read_slice,
)
from genlock_core.media import Codec
from tests.bitstreams import bits
from tests.gateway.rtc.clips import encode


@pytest.mark.parametrize("profile_idc", [66, 77, 100, 244])
@pytest.mark.parametrize("progressive", [True, False])
def test_a_sequence_set_tells_its_number_profile_and_size(profile_idc: int, progressive: bool) -> None:
    nal = bits.sequence_set(7, profile_idc=profile_idc, width=640, height=384, progressive=progressive)
    chroma_format = 3 if profile_idc == 244 else 1
    assert read_sequence_set(nal) == SequenceHeader(7, profile_idc, 640, 384, chroma_format=chroma_format)


@given(references=st.integers(0, 2**31), bit_depth=st.integers(8, 14), profile_idc=st.sampled_from([100, 110, 244]))
def test_a_sequence_set_tells_what_its_pictures_take(references: int, bit_depth: int, profile_idc: int) -> None:
    nal = bits.sequence_set(profile_idc=profile_idc, references=references, bit_depth=bit_depth)
    header = read_sequence_set(nal)
    assert header is not None
    assert (header.reference_frames, header.bit_depth) == (references, bit_depth)
    samples = 320 * 192 * (3 if profile_idc == 244 else 1.5)
    assert header.picture_bytes == samples * (2 if bit_depth > 8 else 1)


def test_an_encoders_sets_are_read() -> None:
    nals = split_annex_b(encode(Codec.H264, 1)[0].data)
    assert [read_sequence_set(nal) for nal in nals if nal_type(nal) == 7] == [SequenceHeader(0, 66, 192, 112)]
    assert [read_picture_set(nal) for nal in nals if nal_type(nal) == 8] == [PictureHeader(0, 0, 1)]
    assert [read_slice(nal) for nal in nals if nal_type(nal) == 5] == [SliceHeader(0, is_intra=True, picture_set_id=0)]


@given(number=st.integers(0, 255), sequence=st.integers(0, 31), groups=st.integers(1, 3))
def test_a_picture_set_tells_its_number_and_its_sequence(number: int, sequence: int, groups: int) -> None:
    nal = bits.picture_set(number, sequence=sequence, slice_groups=groups)
    assert read_picture_set(nal) == PictureHeader(number, sequence, groups)


@given(first=st.integers(0, 40_000), slice_type=st.integers(0, 9), picture=st.integers(0, 255))
def test_a_slice_tells_where_it_begins_its_kind_and_its_picture_set(first: int, slice_type: int, picture: int) -> None:
    nal = bits.slice_start(1, first_macroblock=first, slice_type=slice_type, picture=picture)
    assert read_slice(nal) == SliceHeader(first, slice_type in (2, 4, 7, 9), picture)


def test_numbers_that_no_set_may_have_are_refused() -> None:
    assert read_sequence_set(bits.sequence_set(32)) is None
    assert read_picture_set(bits.picture_set(256)) is None
    assert read_picture_set(bits.picture_set(0, sequence=32)) is None


@pytest.mark.parametrize("frames", [0, 1, 59])
def test_a_recovery_point_is_found_behind_other_messages(frames: int) -> None:
    alone = bits.recovery_point(frames)
    assert read_recovery_point(alone) == frames
    assert read_recovery_point(bits.user_data()[:-1] + alone[1:]) == frames
    assert read_recovery_point(bits.user_data()) is None
    long = bytes([6, 5, 255, 45]) + b"x" * 300
    assert read_recovery_point(long + alone[1:]) == frames
    assert read_recovery_point(long + b"\x80") is None
    assert read_recovery_point(bits.sequence_set()) is None


@given(st.binary(min_size=1, max_size=80))
def test_noise_is_read_without_harm(noise: bytes) -> None:
    for kind in (1, 5, 6, 7, 8):
        nal = bytes([kind]) + noise
        read_sequence_set(nal)
        read_picture_set(nal)
        read_slice(nal)
        read_recovery_point(nal)


def test_headers_that_end_in_the_middle_are_none() -> None:
    assert read_sequence_set(b"\x67\x42") is None
    assert read_picture_set(b"\x68") is None
    assert read_slice(b"\x65") is None
    assert read_slice(b"\x65" + b"\x00" * 16) is None, "a number of more than 32 bits"
