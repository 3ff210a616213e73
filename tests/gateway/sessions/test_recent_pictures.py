"""What is kept of a publisher's pictures for a worker that opens its session: whole groups, from a key frame on."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.bounds import OBJECT_BYTES
from genlock_core.media import AccessUnit, Codec
from genlock_gateway.sessions.recent_pictures import MAX_UNITS, RECENT_LIMIT, RecentPictures

EVERYTHING = 0


def unit(at_ms: int, *, key: bool = False, size: int = 10, codec: Codec = Codec.H264) -> AccessUnit:
    return AccessUnit(codec, bytes(size), key, at_ms * 1000)


def room_for(units: int) -> RecentPictures:
    """Of ten bytes each."""
    return RecentPictures(limit=replace(RECENT_LIMIT, at_most=units * (10 + OBJECT_BYTES)))


def places_ms(units: tuple[AccessUnit, ...]) -> list[int]:
    return [one.capture_us // 1_000 for one in units]


def test_the_newest_group_is_everything_since_the_last_key_frame() -> None:
    recent = RecentPictures()
    for given_unit in (unit(0), unit(1, key=True), unit(2), unit(3, key=True), unit(4)):
        recent.add(given_unit)
    assert recent.newest_group == (unit(3, key=True), unit(4))


@pytest.mark.parametrize(
    ("seen_ms", "begins_ms"), [(50, 100), (100, 100), (350, 300), (400, 400), (10_000, 400)], ids=str
)
def test_a_decoder_begins_with_the_newest_key_frame_that_viewers_have_seen(seen_ms: int, begins_ms: int) -> None:
    recent = RecentPictures()
    for at_ms in range(100, 500, 25):
        recent.add(unit(at_ms, key=at_ms % 100 == 0))
    assert places_ms(recent.after(seen_ms * 1_000)) == list(range(begins_ms, 500, 25))


def test_what_is_before_a_key_frame_goes_once_that_is_old() -> None:
    recent = RecentPictures()
    for at_ms in (0, 500, 1_000, 1_500, 3_999):
        recent.add(unit(at_ms, key=at_ms in (0, 1_000)))
    assert places_ms(recent.after(EVERYTHING))[0] == 0
    recent.add(unit(4_000))
    assert places_ms(recent.after(EVERYTHING)) == [1_000, 1_500, 3_999, 4_000]


def test_older_groups_give_way_before_the_newest_one_does() -> None:
    recent = room_for(4)
    for at_ms in (0, 100, 200, 300):
        recent.add(unit(at_ms, key=at_ms in (0, 200)))
    recent.add(unit(400))
    assert places_ms(recent.after(EVERYTHING)) == [200, 300, 400]
    assert not recent.wants_key_frame


def test_a_newest_group_that_outgrows_its_bytes_is_dropped_whole_and_a_key_frame_wanted() -> None:
    recent = room_for(3)
    for at in range(4):
        recent.add(unit(at, key=at == 0))
    assert recent.newest_group == ()
    assert recent.wants_key_frame


def test_a_publisher_of_key_frames_alone_is_replayed_within_what_a_link_takes() -> None:
    recent = RecentPictures()
    for at_ms in range(2 * MAX_UNITS):
        recent.add(unit(at_ms, key=True))
    assert len(recent.after(EVERYTHING)) == MAX_UNITS


def test_a_publisher_with_a_key_frame_every_ten_seconds_is_kept_whole() -> None:
    recent = RecentPictures()
    for number in range(300):
        recent.add(unit(number * 33, key=number == 0, size=4_000))
    assert len(recent.newest_group) == 300


@pytest.mark.parametrize("key", [False, True])
def test_units_of_another_codec_or_from_the_past_end_what_was_held(key: bool) -> None:
    for other in (unit(1_005, key=key, codec=Codec.VP8), unit(400, key=key)):
        recent = RecentPictures()
        recent.add(unit(1_000, key=True))
        recent.add(other)
        assert recent.after(EVERYTHING) == ((other,) if key else ())


def test_pictures_that_are_shown_before_the_one_decoded_before_them_stay_in_the_group() -> None:
    recent = RecentPictures()
    reordered = (unit(1_000, key=True), unit(900), unit(1_100), unit(1_033), unit(1_066))
    for given_unit in reordered:
        recent.add(given_unit)
    assert recent.newest_group == reordered


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 400), st.integers(-50, 900)), max_size=80),
    st.integers(0, 10_000),
    st.floats(0.1, 5),
    st.integers(0, 40_000),
)
def test_it_begins_with_a_key_frame_and_is_never_over_its_bounds(
    given_units: list[tuple[bool, int, int]], max_bytes: int, max_seconds: float, seen_ms: int
) -> None:
    recent = RecentPictures(limit=replace(RECENT_LIMIT, at_most=max_bytes), max_seconds=max_seconds)
    given_now: list[AccessUnit] = []
    at_ms = 0
    for key, size, step_ms in given_units:
        at_ms += step_ms
        given_now.append(unit(at_ms, key=key, size=size))
        recent.add(given_now[-1])

        group, held = recent.newest_group, recent.after(EVERYTHING)
        assert sum(len(one.data) + OBJECT_BYTES for one in held) == recent._bytes.held <= max_bytes
        if group:
            assert [one.key_frame for one in group] == [True] + [False] * (len(group) - 1)
            assert group[-1].capture_us - group[0].capture_us <= max_seconds * 1e6

        # What is replayed is the end of what came, without a hole. It lacks no group that begins after what was seen.
        replayed = recent.after(seen_ms * 1_000)
        assert list(replayed) == given_now[len(given_now) - len(replayed) :]
        left = held[: len(held) - len(replayed)]
        if replayed:
            assert replayed[0].key_frame
            assert not any(one.key_frame and one.capture_us > seen_ms * 1_000 for one in left)
