"""Encoders and decoders: one unit per picture, IDR on demand, and nothing that a publisher sends breaks anything."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_core.media import AccessUnit, Codec
from genlock_worker.intake.decode import Decoder
from genlock_worker.intake.pattern import draw
from genlock_worker.output.encode import AvEncoder, EncoderSettings, IdrRequests, choose_h264, open_encoder
from tests.worker.pattern_numbers import read_index

SETTINGS = EncoderSettings(width=192, height=128, frame_rate=16, bitrate=600_000)


def encoded(codec: Codec, count: int, idr_at: tuple[int, ...] = ()) -> list[AccessUnit]:
    encoder = open_encoder(codec, SETTINGS)
    return [
        encoder.encode(draw(i, width=192, height=128), capture_us=1_000 + i * 62_500, idr=i in idr_at)
        for i in range(count)
    ]


@pytest.mark.parametrize("codec", list(Codec))
def test_every_picture_is_one_unit_that_decodes_to_it_at_once(codec: Codec) -> None:
    decoder = Decoder(codec)
    for index, unit in enumerate(encoded(codec, 20)):
        assert (unit.codec, unit.capture_us) == (codec, 1_000 + index * 62_500)
        (frame,) = decoder.decode(unit)
        assert read_index(frame.fitted(width=192, height=128)) == index


@pytest.mark.parametrize("codec", list(Codec))
def test_the_first_unit_is_a_key_frame_and_later_ones_only_on_demand(codec: Codec) -> None:
    units = encoded(codec, 40, idr_at=(17,))
    assert [i for i, unit in enumerate(units) if unit.key_frame] == [0, 17]


def test_h264_is_constrained_baseline_with_headers_before_every_idr() -> None:
    units = encoded(Codec.H264, 10, idr_at=(5,))
    for unit in (units[0], units[5]):
        kinds = [part[0] & 31 for part in unit.data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if part]
        assert {7, 8, 5} <= set(kinds)
        sps = next(p for p in unit.data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if p and p[0] & 31 == 7)
        assert sps[1] == 66, "profile_idc of Baseline"
        assert sps[2] & 0x40, "constraint_set1_flag"


def test_the_bitrate_is_kept() -> None:
    units = encoded(Codec.H264, 96)
    assert sum(len(unit.data) for unit in units) * 8 / 6 < 1.3 * SETTINGS.bitrate


def test_the_best_encoder_for_h264_is_one_that_works() -> None:
    name = choose_h264()
    assert name in ("libx264", "h264_nvenc")
    assert AvEncoder("libx264", SETTINGS).codec is Codec.H264


@pytest.mark.parametrize("codec", list(Codec))
def test_a_decoder_begins_at_a_key_frame_and_again_after_a_gap(codec: Codec) -> None:
    units = encoded(codec, 12, idr_at=(8,))
    decoder = Decoder(codec)
    assert [bool(decoder.decode(unit)) for unit in units[3:10]] == [False] * 5 + [True] * 2
    decoder.gap()
    assert not decoder.decode(units[10])
    assert decoder.needs_key_frame


def test_after_corrupt_data_a_key_frame_mends_it() -> None:
    units = encoded(Codec.H264, 6, idr_at=(4,))
    decoder = Decoder(Codec.H264)
    assert len(decoder.decode(units[0])) == 1
    torn = AccessUnit(Codec.H264, b"\0\0\0\1\x65" + b"\xff" * 50, key_frame=True, capture_us=2)
    assert not decoder.decode(torn)
    assert decoder.needs_key_frame
    assert len(decoder.decode(units[4])) == 1


@settings(max_examples=60, deadline=None)
@given(codec=st.sampled_from(list(Codec)), data=st.binary(min_size=1, max_size=400), cut=st.integers(0, 300))
def test_no_bytes_crash_a_decoder(codec: Codec, data: bytes, cut: int) -> None:
    decoder, good = Decoder(codec), encoded(codec, 1)[0]
    for bad in (data, good.data[:cut] or b"\0", good.data[:cut] + data):
        decoder.decode(AccessUnit(codec, bad, key_frame=True, capture_us=1))
    assert len(Decoder(codec).decode(good)) == 1
    decoder.gap()
    assert all((frame.width, frame.height) == (192, 128) for frame in decoder.decode(good))


def test_idr_requests_are_gathered() -> None:
    requests = IdrRequests(spacing_s=0.25)
    assert requests.take(0.0), "the first frame"
    requests.ask()
    requests.ask()
    assert not requests.take(0.1)
    assert requests.take(0.3)
    assert not requests.take(1.0)
