"""What a payload says of its picture, in each of the forms of RFC 6184 and RFC 7741."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.media import Codec
from genlock_gateway.rtc.egress.packetise import packetise_h264, packetise_vp8
from genlock_gateway.rtc.ingest.payload_shape import PayloadShape, h264_shape, vp8_shape
from tests.bitstreams.bits import annex_b, picture_set, sequence_set, slice_start, user_data
from tests.gateway.rtc.clips import encode

FRONT = PayloadShape(begins=True, begins_next=False, has_slice=False, ends_slice=False)
DELIMITER = PayloadShape(begins=True, begins_next=True, has_slice=False, ends_slice=False)
NOTHING = PayloadShape(begins=False, begins_next=False, has_slice=False, ends_slice=False)
FIRST = PayloadShape(begins=True, begins_next=True, has_slice=True, ends_slice=True)
LATER = PayloadShape(begins=False, begins_next=False, has_slice=True, ends_slice=True)
REPEATED = PayloadShape(begins=True, begins_next=False, has_slice=True, ends_slice=True)
"""A later slice of an IDR picture, with the parameter sets once more: what comes first is not known to be missed."""
MIDDLE = PayloadShape(begins=False, begins_next=False, has_slice=True, ends_slice=False)


def aggregated(*nals: bytes) -> bytes:
    return b"\x18" + b"".join(len(nal).to_bytes(2, "big") + nal for nal in nals)


@pytest.mark.parametrize(
    ("payload", "shape"),
    [
        (sequence_set(), FRONT),
        (user_data(), FRONT),
        (b"\x09\x10", DELIMITER),
        (slice_start(5), FIRST),
        (slice_start(1), FIRST),
        (slice_start(1, first_macroblock=9), LATER),
        (aggregated(sequence_set(), picture_set()), FRONT),
        (aggregated(user_data(), sequence_set(), picture_set(), slice_start(5)), FIRST),
        (aggregated(slice_start(1, first_macroblock=3), slice_start(1, first_macroblock=9)), LATER),
        (picture_set(), NOTHING),
        (b"\x0c\xff\xff", NOTHING),
        (b"", NOTHING),
        (aggregated(sequence_set(), picture_set(), slice_start(5, first_macroblock=9))[:-1], REPEATED),
    ],
)
def test_single_units_and_aggregates(payload: bytes, shape: PayloadShape) -> None:
    assert h264_shape(payload) == shape


@pytest.mark.parametrize("first_macroblock", [0, 40])
def test_fragments(first_macroblock: int) -> None:
    payloads = packetise_h264(annex_b(slice_start(1, first_macroblock=first_macroblock, body=b"\x55" * 5_000)))
    first, *middle, last = [h264_shape(payload) for payload in payloads]
    begins = first_macroblock == 0
    assert first == PayloadShape(begins, begins, has_slice=True, ends_slice=False)
    assert set(middle) == {MIDDLE}
    assert last == LATER


def test_a_vp8_frame_tells_where_it_begins() -> None:
    first, *others = [vp8_shape(payload) for payload in packetise_vp8(encode(Codec.VP8, 1)[0].data, picture_id=0)]
    assert first == PayloadShape(begins=True, begins_next=True, has_slice=True, ends_slice=False)
    assert set(others) == {MIDDLE}


@given(st.binary(max_size=60))
def test_noise_is_read_without_harm(noise: bytes) -> None:
    for payload in (noise, b"\x18" + noise, b"\x7c" + noise):
        h264_shape(payload)
        vp8_shape(payload)
