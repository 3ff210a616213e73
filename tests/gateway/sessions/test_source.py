"""The kept group of pictures: always decodable, always bounded."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_core.media import AccessUnit, Codec
from genlock_gateway.sessions.source import GroupOfPictures


def unit(at_ms: int, *, key: bool = False, size: int = 10, codec: Codec = Codec.H264) -> AccessUnit:
    return AccessUnit(codec, bytes(size), key, at_ms * 1000)


def test_it_holds_everything_since_the_last_key_frame() -> None:
    group = GroupOfPictures()
    for given_unit in (unit(0), unit(1, key=True), unit(2), unit(3, key=True), unit(4)):
        group.add(given_unit)
    assert group.units == (unit(3, key=True), unit(4))


def test_a_group_that_outgrows_its_bytes_is_dropped_whole_and_a_key_frame_wanted() -> None:
    group = GroupOfPictures(max_bytes=35)
    for at in range(4):
        group.add(unit(at, key=at == 0))
    assert group.units == ()
    assert group.wants_key_frame


def test_a_publisher_with_a_key_frame_every_ten_seconds_is_kept_whole() -> None:
    group = GroupOfPictures()
    for number in range(300):
        group.add(unit(number * 33, key=number == 0, size=4_000))
    assert len(group.units) == 300


def test_units_of_another_codec_or_from_the_past_end_the_group() -> None:
    for other in (unit(5, codec=Codec.VP8), unit(0)):
        group = GroupOfPictures()
        group.add(unit(1, key=True))
        group.add(other)
        assert group.units == ()


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 400), st.integers(-50, 900)), max_size=80),
    st.integers(0, 1_000),
    st.floats(0.1, 5),
)
def test_it_is_empty_or_starts_with_a_key_frame_and_never_over_its_bounds(
    given_units: list[tuple[bool, int, int]], max_bytes: int, max_seconds: float
) -> None:
    group, at_ms = GroupOfPictures(max_bytes=max_bytes, max_seconds=max_seconds), 0
    for key, size, step_ms in given_units:
        at_ms += step_ms
        group.add(unit(at_ms, key=key, size=size))
        assert sum(len(held.data) for held in group.units) <= max_bytes
        if group.units:
            assert [held.key_frame for held in group.units] == [True] + [False] * (len(group.units) - 1)
            assert group.units[-1].capture_us - group.units[0].capture_us <= max_seconds * 1e6
