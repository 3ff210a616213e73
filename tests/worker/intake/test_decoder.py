"""Any legal stream: pictures come out in the order in which they are shown, no later than the stream needs."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from genlock_core.media import AccessUnit, Codec, Trouble
from genlock_worker.intake import decode
from genlock_worker.intake.decode import MAX_PICTURELESS, MAX_REORDERED, Decoder
from tests.bitstreams import bits, clips
from tests.bitstreams.clips import FRAME_US, HEIGHT, WIDTH, CodedPicture
from tests.worker.pattern_numbers import read_index


def units(pictures: Sequence[CodedPicture], *, keys: tuple[int, ...] = (0,)) -> list[AccessUnit]:
    """In decoding order; `keys` are the places of those with which a decoder may start."""
    return [
        AccessUnit(Codec.H264, picture.data, place in keys, picture.number * FRAME_US)
        for place, picture in enumerate(pictures)
    ]


def shown(decoder: Decoder, given: Sequence[AccessUnit]) -> list[list[int]]:
    """What came out with each unit: the numbers that are painted in the pictures, which must fit their times."""
    out: list[list[int]] = []
    for unit in given:
        numbers = [(read_index(frame.fitted(width=WIDTH, height=HEIGHT)), frame.pts) for frame in decoder.decode(unit)]
        assert all(pts == number * FRAME_US for number, pts in numbers)
        out.append([number for number, _ in numbers])
    return out


def flat(out: list[list[int]]) -> list[int]:
    return [number for numbers in out for number in numbers]


def test_without_reordering_each_picture_comes_with_its_own_unit() -> None:
    for options in (clips.X264, {"preset": "veryfast", "profile": "high", "tune": "zerolatency"}):
        made = clips.h264(12, options=options, x264="ref=3")
        assert shown(Decoder(Codec.H264), units(made)) == [[number] for number in range(12)]


def test_b_frames_come_out_in_order_and_two_pictures_later() -> None:
    made = clips.b_frames(30)
    assert [picture.number for picture in made[:4]] == [0, 3, 1, 2]
    decoder = Decoder(Codec.H264)
    assert shown(decoder, units(made)) == [[], []] + [[number] for number in range(28)]
    assert decoder.failures == 0


@pytest.mark.parametrize("count", [1, 2, 3, 13, 14, 15])
def test_what_is_held_back_comes_out_of_a_stream_that_stands_still_and_it_goes_on_afterwards(count: int) -> None:
    made = units(clips.b_frames(30))
    decoder = Decoder(Codec.H264)
    before = flat(shown(decoder, made[:count]))
    assert decoder.holds
    held = [read_index(frame.fitted(width=WIDTH, height=HEIGHT)) for frame in decoder.drain()]
    assert sorted([*before, *held]) == sorted(unit.capture_us // FRAME_US for unit in made[:count])
    assert decoder.drain() == []

    # Some come out a second time; that is for the caller to know.
    after = flat(shown(decoder, made[count:]))
    assert after == list(range(after[0], 28))
    assert after[0] <= len(before) + len(held)
    assert decoder.failures == 0


def test_a_key_frame_after_a_stand_still_begins_anew() -> None:
    made = units([*clips.b_frames(8), *clips.b_frames(8)], keys=(0, 8))
    decoder = Decoder(Codec.H264)
    shown(decoder, made[:8])
    decoder.drain()
    decoder.gap()
    assert flat(shown(decoder, made[8:])) == list(range(6))


def test_nothing_is_kept_of_a_stream_without_reordering() -> None:
    decoder = Decoder(Codec.H264)
    shown(decoder, units(clips.h264(4)))
    assert not decoder.holds
    assert decoder.drain() == []


def test_a_group_that_is_too_long_to_decode_once_more_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_KEPT_UNITS", 5)
    made = units(clips.b_frames(12))
    decoder = Decoder(Codec.H264)
    shown(decoder, made[:5])
    assert decoder.drain()
    shown(decoder, made[5:])
    assert decoder.drain() == []


def test_a_stream_that_does_not_state_its_reordering_is_learned_from_its_pictures() -> None:
    made = [
        CodedPicture(picture.number, bits.annex_b(*map(bits.without_usability, picture.nals)), picture.is_idr)
        for picture in clips.b_frames(30)
    ]
    numbers = flat(shown(Decoder(Codec.H264), units(made)))
    assert numbers == sorted(numbers)
    assert len(numbers) >= 28


def test_a_group_that_is_open_starts_a_decoder_without_what_was_before_it() -> None:
    made = clips.b_frames(40, x264="open-gop=1:keyint=12")
    start = next(place for place, picture in enumerate(made) if place and bits.has_recovery_point(picture.nals))
    assert [picture.number for picture in made[start : start + 3]] == [12, 10, 11], "two lead it that need the others"
    decoder = Decoder(Codec.H264)
    assert flat(shown(decoder, units(made[start:]))) == list(range(12, 38))
    assert (decoder.failures, decoder.needs_key_frame) == (0, False)


def test_intra_slices_without_a_recovery_point_start_a_decoder_too() -> None:
    made = clips.b_frames(40, x264="open-gop=1:keyint=12")
    start = next(place for place, picture in enumerate(made) if place and bits.has_recovery_point(picture.nals))
    bare = [
        CodedPicture(picture.number, bits.annex_b(*[nal for nal in picture.nals if nal[0] & 31 != 6]), is_idr=False)
        for picture in made[start:]
    ]
    decoder = Decoder(Codec.H264)
    numbers = flat(shown(decoder, units(bare)))
    assert numbers[0] == 12
    assert len(numbers) >= 20
    assert not decoder.needs_key_frame


def test_a_picture_that_is_refreshed_bit_by_bit_starts_a_decoder_when_it_is_whole() -> None:
    made = clips.h264(90, options={**clips.X264, "profile": "main"}, x264="intra-refresh=1:keyint=20:bframes=0")
    starts = [place for place, picture in enumerate(made) if place and bits.has_recovery_point(picture.nals)]
    decoder = Decoder(Codec.H264)
    numbers = flat(shown(decoder, units(made[starts[0] :])))
    assert starts[0] <= numbers[0] <= starts[0] + 25
    assert numbers == list(range(numbers[0], 90))
    assert decoder.failures == 0


def test_interlaced_pictures_come_out_whole() -> None:
    made = clips.h264(8, options={**clips.X264, "profile": "main"}, x264="interlaced=1:tff=1")
    decoder = Decoder(Codec.H264)
    assert [len(decoder.decode(unit)) for unit in units(made)] == [1] * 8


@pytest.mark.parametrize("is_idr", [True, False])
def test_a_start_without_a_picture_is_given_up(*, is_idr: bool) -> None:
    good = clips.h264(2)
    sets = [nal for nal in good[0].nals if nal[0] & 31 in (7, 8)]
    empty = bits.annex_b(*sets, *([b"\x65\x88"] if is_idr else [bits.recovery_point(0)]))
    decoder = Decoder(Codec.H264)
    decoder.decode(AccessUnit(Codec.H264, empty, True, 0))
    given = 0
    while not decoder.needs_key_frame:
        decoder.decode(AccessUnit(Codec.H264, good[1].data, False, given + 1))
        given += 1
        assert given <= (MAX_REORDERED if is_idr else MAX_PICTURELESS)
    assert decoder.failures == 1
    assert flat(shown(decoder, units(good))) == [0, 1]


# -- pictures that are too large ---------------------------------------------------------------------------------------


class _Untouched:
    """A decoder that must not be asked."""

    def decode(self, _packet: object) -> None:
        raise AssertionError("the decoder got a picture that is too large")


@pytest.mark.parametrize("is_first", [True, False])
def test_a_picture_that_is_too_large_never_reaches_the_decoder(monkeypatch: pytest.MonkeyPatch, is_first: bool) -> None:
    decoder = Decoder(Codec.H264)
    good = units(clips.h264(2), keys=(0, 1))
    if not is_first:
        assert decoder.decode(good[0])
    monkeypatch.setattr(decoder, "_context", _Untouched())
    large = bits.annex_b(bits.sequence_set(width=16_384, height=8_192), bits.picture_set(), bits.slice_start(5))
    assert decoder.decode(AccessUnit(Codec.H264, large, key_frame=is_first, capture_us=1)) == []
    assert decoder.trouble is Trouble.UNSUPPORTED_PROFILE

    assert decoder.needs_key_frame
    assert flat(shown(decoder, good)) == [0, 1], "the next key frame is shown"
    assert decoder.trouble is None


def test_what_the_header_hides_the_decoder_refuses_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_SIDE", 64)
    decoder = Decoder(Codec.H264)
    assert decoder.decode(units(clips.h264(1))[0]) == []
    assert decoder.needs_key_frame


def test_a_stream_that_holds_back_more_than_fits_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    given = units(clips.b_frames(12))
    assert flat(shown(Decoder(Codec.H264), given))
    small = replace(decode.PICTURES_LIMIT, at_most=WIDTH * HEIGHT * 3 // 2)
    monkeypatch.setattr(decode, "PICTURES_LIMIT", small)
    decoder = Decoder(Codec.H264)
    assert flat(shown(decoder, given)) == []
    assert decoder.trouble is Trouble.UNSUPPORTED_PROFILE
