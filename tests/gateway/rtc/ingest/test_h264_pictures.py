"""Where a decoder can start, what stands in front of it, and what nobody can decode."""

from collections.abc import Iterator

import pytest

from genlock_core.media import Trouble
from genlock_gateway.rtc.ingest.h264_pictures import MAX_FRONT_BYTES, MAX_NALS, H264Pictures
from genlock_gateway.rtc.ingest.picture import Picture
from tests.bitstreams.bits import annex_b, picture_set, recovery_point, sequence_set, slice_start, user_data

SPS, PPS, IDR = sequence_set(), picture_set(), slice_start(5)
INTRA, INTER = slice_start(1, slice_type=7), slice_start(1, slice_type=5)
DELIMITER = b"\x09\x10"
PIXELS = 320 * 192


def key(*nals: bytes) -> Picture:
    return Picture(annex_b(*nals), key_frame=True, pixels=PIXELS)


def take(pictures: H264Pictures, *nals: bytes, any_start: bool = False) -> Picture | Trouble | None:
    return pictures.picture(nals, any_start=any_start)


@pytest.fixture
def pictures() -> H264Pictures:
    made = H264Pictures()
    take(made, SPS, PPS)
    return made


def test_a_sei_before_the_parameter_sets_costs_no_key_frame() -> None:
    assert take(H264Pictures(), user_data(), SPS, PPS, IDR) == key(SPS, PPS, user_data(), IDR)


def test_an_idr_gets_every_set_that_was_sent_before_it(pictures: H264Pictures) -> None:
    take(pictures, picture_set(1))
    assert take(pictures, IDR) == key(SPS, PPS, picture_set(1), IDR)


def test_a_delimiter_stays_in_front(pictures: H264Pictures) -> None:
    assert take(pictures, DELIMITER, IDR) == key(DELIMITER, SPS, PPS, IDR)


def test_what_comes_alone_belongs_to_the_next_picture(pictures: H264Pictures) -> None:
    take(pictures, IDR)
    assert take(pictures, picture_set(1)) is None
    assert take(pictures, user_data()) is None
    assert take(pictures, INTER) == Picture(annex_b(picture_set(1), user_data(), INTER), key_frame=False, pixels=0)
    assert take(pictures, INTER) == Picture(annex_b(INTER), key_frame=False, pixels=0)


def test_what_waits_for_a_picture_is_bounded(pictures: H264Pictures) -> None:
    for _ in range(200):
        take(pictures, b"\x06" + b"x" * 1_000)
    picture = take(pictures, INTER)
    assert isinstance(picture, Picture)
    assert len(picture.data) < MAX_FRONT_BYTES + 2_000


def test_a_recovery_point_is_a_key_frame(pictures: H264Pictures) -> None:
    point = recovery_point(0)
    assert take(pictures, point, INTER) == key(SPS, PPS, point, INTER)


def test_a_point_from_which_the_picture_becomes_right_starts_a_decoder_only_where_one_has_to_start(
    pictures: H264Pictures,
) -> None:
    point = recovery_point(30)
    assert take(pictures, point, INTER, any_start=True) == key(SPS, PPS, point, INTER)
    assert take(pictures, point, INTER) == Picture(annex_b(point, INTER), key_frame=False, pixels=0)


def test_intra_slices_start_a_decoder_only_where_nothing_better_does(pictures: H264Pictures) -> None:
    delta = Picture(annex_b(INTRA), key_frame=False, pixels=0)
    assert take(pictures, INTRA) == key(SPS, PPS, INTRA)
    take(pictures, IDR)
    assert take(pictures, INTRA) == delta, "later pictures may refer past it"
    assert take(pictures, INTRA, any_start=True) == key(SPS, PPS, INTRA)
    assert take(pictures, INTRA, INTER, any_start=True) != key(SPS, PPS, INTRA, INTER)


@pytest.mark.parametrize(
    ("nals", "trouble"),
    [
        ((IDR,), Trouble.NO_PARAMETER_SETS),
        ((SPS, IDR), Trouble.NO_PARAMETER_SETS),
        ((SPS, PPS, slice_start(5, picture=1)), Trouble.NO_PARAMETER_SETS),
        ((sequence_set(profile_idc=88), PPS, IDR), Trouble.UNSUPPORTED_PROFILE),
        ((SPS, PPS, slice_start(2)), Trouble.UNSUPPORTED_PROFILE),
        ((SPS, PPS, b"\x65\x00"), Trouble.UNDECODABLE),
    ],
)
def test_what_nobody_can_decode_has_a_reason(nals: tuple[bytes, ...], trouble: Trouble) -> None:
    assert take(H264Pictures(), *nals) is trouble


def test_filler_is_left_out(pictures: H264Pictures) -> None:
    assert take(pictures, b"\x0c" + b"\xff" * 50, IDR) == key(SPS, PPS, IDR)


def test_a_broken_payload_is_an_error(pictures: H264Pictures) -> None:
    with pytest.raises(ValueError, match="truncated"):
        take(pictures, b"\x18\xff\xff\x00")


class _Counted(list[bytes]):
    """Payloads, of which it is counted how many were read."""

    read = 0

    def __iter__(self) -> Iterator[bytes]:
        for payload in super().__iter__():
            self.read += 1
            yield payload


@pytest.mark.parametrize(
    "payload",
    [b"\x78" + b"\x00\x01\x06" * 490, b"\x65\x88" + b"\x00\x00\x01\x06" * 300],
    ids=["aggregated", "start codes in a payload"],
)
def test_a_picture_of_a_million_units_is_refused_before_they_are_taken_apart(payload: bytes) -> None:
    payloads = _Counted([payload] * 1_700)
    assert H264Pictures().picture(payloads, any_start=False) is Trouble.UNDECODABLE
    assert payloads.read <= MAX_NALS // 300 + 1
