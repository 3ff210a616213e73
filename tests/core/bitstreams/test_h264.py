"""NAL units in a byte stream: what is joined is split again, and nothing that comes is harmful."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_core.bitstreams.h264 import join_annex_b, nal_type, split_annex_b

NAL = st.binary(min_size=1, max_size=20).filter(lambda nal: b"\x00\x00" not in nal and nal[-1] != 0)


@given(st.lists(NAL, max_size=8))
def test_what_was_joined_is_split_again(nals: list[bytes]) -> None:
    assert split_annex_b(join_annex_b(nals)) == nals


@given(st.lists(st.sampled_from([b"\x00", b"\x01", b"\x00\x00\x01", b"\x65", b"\x03"]), max_size=40))
def test_whatever_comes_is_split_into_units_of_at_least_a_byte(parts: list[bytes]) -> None:
    for nal in split_annex_b(b"".join(parts)):
        assert nal_type(nal) in range(32)
        assert b"\x00\x00\x01" not in nal


def test_start_codes_of_three_bytes_and_trailing_zeros_belong_to_no_unit() -> None:
    assert split_annex_b(b"junk\x00\x00\x01\x67\x01\x00\x00\x00\x01\x68\x02\x00\x00") == [b"\x67\x01", b"\x68\x02"]
