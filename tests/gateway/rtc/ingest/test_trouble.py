"""A publication that makes no picture has a reason; one that makes pictures, or sends nothing, has none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.media import Trouble
from genlock_gateway.rtc.ingest.trouble import PATIENCE_S, SILENT_S, SURE_PATIENCE_S, TroubleWatch


def watched(seconds: float, *, refused: Trouble | None = None, begin_s: float = 100.0) -> tuple[TroubleWatch, float]:
    """A publisher that has sent packets for so long; also the time."""
    watch, now_s = TroubleWatch(), begin_s
    while now_s < begin_s + seconds:
        watch.packet(now_s)
        if refused is not None:
            watch.refused(refused)
        now_s += 0.03
    return watch, now_s


def test_packets_without_a_picture_are_no_key_frame_after_a_while() -> None:
    watch, now_s = watched(PATIENCE_S * 0.9)
    assert watch.trouble(now_s) is None
    watch, now_s = watched(PATIENCE_S * 1.1)
    assert watch.trouble(now_s) is Trouble.NO_KEY_FRAME
    watch.used()
    assert watch.trouble(now_s) is None


@pytest.mark.parametrize("why", list(Trouble))
def test_what_was_refused_is_the_reason(why: Trouble) -> None:
    if why is not Trouble.ENCRYPTED:
        watch, now_s = watched(PATIENCE_S * 1.1, refused=why)
        assert watch.trouble(now_s) is why


def test_what_no_key_frame_changes_is_told_sooner() -> None:
    watch, now_s = watched(SURE_PATIENCE_S * 1.1, refused=Trouble.UNSUPPORTED_PROFILE)
    assert watch.trouble(now_s) is Trouble.UNSUPPORTED_PROFILE


def test_packets_that_no_key_opens_are_encrypted_until_one_is_read() -> None:
    watch, now_s = TroubleWatch(), 0.0
    for _ in range(200):
        now_s += 0.03
        watch.unreadable(now_s)
    assert watch.trouble(now_s) is Trouble.ENCRYPTED
    watch.packet(now_s)
    assert watch.trouble(now_s) is Trouble.NO_KEY_FRAME


def test_a_publisher_that_stops_is_in_no_trouble() -> None:
    watch, now_s = watched(PATIENCE_S * 2)
    assert watch.trouble(now_s + SILENT_S) is None
    watch.packet(now_s + 2 * SILENT_S)
    assert watch.trouble(now_s + 2 * SILENT_S) is None, "the time counts anew"


@given(st.lists(st.tuples(st.sampled_from(["packet", "unreadable", "refused", "used"]), st.floats(0, 3)), max_size=60))
def test_there_is_none_right_after_a_used_picture(steps: list[tuple[str, float]]) -> None:
    watch, now_s = TroubleWatch(), 0.0
    for step, elapsed_s in steps:
        now_s += elapsed_s
        match step:
            case "packet":
                watch.packet(now_s)
            case "unreadable":
                watch.unreadable(now_s)
            case "refused":
                watch.refused(Trouble.UNDECODABLE)
            case _:
                watch.used()
                assert watch.trouble(now_s) is None
