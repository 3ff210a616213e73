"""VP8 frames: key frames have a start code and a size."""

from genlock_core.media import Trouble
from genlock_gateway.rtc.ingest.picture import Picture
from genlock_gateway.rtc.ingest.vp8_pictures import starts_vp8_frame, vp8_picture

KEY = b"\x10\x02\x00\x9d\x01\x2a\x81\x00\x43\x40" + b"x" * 20
"""129 x 67 pixels, scaled by 5/4 upwards."""


def test_a_key_frame_tells_its_size_whatever_it_is_scaled_by() -> None:
    assert vp8_picture([b"\x10" + KEY[:15], b"\x00" + KEY[15:]]) == Picture(KEY, key_frame=True, pixels=129 * 67)


def test_a_key_frame_that_is_too_large_is_not_handed_on() -> None:
    large = KEY[:6] + (4_097).to_bytes(2, "little") + KEY[8:]
    assert vp8_picture([b"\x10" + large]) is Trouble.UNSUPPORTED_PROFILE


def test_other_frames_are_handed_on_as_they_are() -> None:
    assert vp8_picture([b"\x10\x11rest"]) == Picture(b"\x11rest", key_frame=False, pixels=0)
    assert vp8_picture([b"\x10"]) is None


def test_a_key_frame_without_its_start_code_is_none() -> None:
    assert vp8_picture([b"\x10" + bytes(30)]) is Trouble.UNDECODABLE
    assert vp8_picture([b"\x10" + KEY[:9]]) is Trouble.UNDECODABLE


def test_a_reserved_bit_does_not_hide_where_a_frame_begins() -> None:
    assert starts_vp8_frame(b"\x10")
    assert starts_vp8_frame(b"\x18")
    assert starts_vp8_frame(b"\xb0\x80\x01")
    assert not starts_vp8_frame(b"\x11"), "another partition"
    assert not starts_vp8_frame(b"\x00")
    assert not starts_vp8_frame(b"")
