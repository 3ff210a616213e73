"""Packetisation, against aiortc's depacketisers."""

from aiortc.codecs.h264 import h264_depayload
from aiortc.codecs.vpx import VpxPayloadDescriptor, vp8_depayload
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_core.bitstreams.h264 import join_annex_b, split_annex_b
from genlock_gateway.rtc.egress.packetise import MAX_PAYLOAD_BYTES, packetise_h264, packetise_vp8, segment_runs


@st.composite
def nal_units(draw: st.DrawFn) -> bytes:
    """A NAL unit whose body holds no start code and does not end with zero, as emulation prevention guarantees."""
    size = draw(st.one_of(st.integers(1, 40), st.integers(1100, 1300), st.integers(1300, 9000)))
    header = draw(st.integers(0, 3)) << 5 | draw(st.integers(1, 23))
    fill = draw(st.integers(1, 255))
    return bytes([header]) + bytes([fill]) * (size - 1) + b"\x80"


@given(st.lists(nal_units(), min_size=1, max_size=8))
@settings(max_examples=80)
def test_h264_comes_back_as_it_was(nals: list[bytes]) -> None:
    payloads = packetise_h264(join_annex_b(nals))
    assert b"".join(map(h264_depayload, payloads)) == join_annex_b(nals)
    assert all(0 < len(payload) <= MAX_PAYLOAD_BYTES for payload in payloads)


@given(nal_units())
@settings(max_examples=40)
def test_fragments_are_equal_but_for_a_last_one_that_is_not_longer(nal: bytes) -> None:
    sizes = [len(payload) for payload in packetise_h264(join_annex_b([nal]))]
    assert set(sizes[:-1]) <= {sizes[0]}
    assert sizes[-1] <= sizes[0]


def test_start_codes_of_three_and_four_bytes_are_understood() -> None:
    assert split_annex_b(b"\x00\x00\x01\x67\x01\x00\x00\x00\x01\x68\x02\x00\x00\x01\x65\x03") == [
        b"\x67\x01",
        b"\x68\x02",
        b"\x65\x03",
    ]
    assert split_annex_b(b"no start code") == []


@given(st.binary(min_size=1, max_size=9000), st.integers(0, 0x7FFF))
@settings(max_examples=60)
def test_vp8_comes_back_as_it_was(data: bytes, picture_id: int) -> None:
    payloads = packetise_vp8(data, picture_id=picture_id)
    assert b"".join(map(vp8_depayload, payloads)) == data
    descriptors = [VpxPayloadDescriptor.parse(payload)[0] for payload in payloads]
    assert [item.partition_start for item in descriptors] == [1] + [0] * (len(payloads) - 1)
    assert {item.picture_id for item in descriptors} == {picture_id}
    assert all(len(payload) <= MAX_PAYLOAD_BYTES for payload in payloads)


@given(st.lists(st.integers(1, 1200), max_size=80), st.integers(1, 64), st.integers(1300, 20_000))
def test_runs_cover_all_packets_and_can_be_cut_by_the_kernel(sizes: list[int], most: int, limit: int) -> None:
    payloads = [b"x" * size for size in sizes]
    runs = segment_runs(payloads, max_segments=most, max_bytes=limit, overhead=28)
    covered = [index for run in runs for index in range(run.start, run.stop)]
    assert covered == list(range(len(sizes)))
    for run in runs:
        own = sizes[run.start : run.stop]
        assert len(own) <= most
        assert set(own[:-1]) <= {own[0]}
        assert own[-1] <= own[0]
        assert sum(size + 28 for size in own) <= limit
