"""The rate that a publisher is allowed."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_gateway.rtc.ingest.remb import MAX_BPS, MIN_BPS, START_BPS, RateCeiling


def test_it_falls_with_congestion_and_rises_slowly_after() -> None:
    ceiling = RateCeiling()
    assert ceiling.update(congested=False, estimate_bps=100, now_s=0.0) == START_BPS
    assert ceiling.update(congested=True, estimate_bps=800_000, now_s=1.0) == 800_000
    assert ceiling.update(congested=False, estimate_bps=100, now_s=2.0) == 864_000


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10**8), st.floats(0, 100)), max_size=40))
def test_it_stays_within_its_bounds(steps: list[tuple[bool, int, float]]) -> None:
    ceiling, now = RateCeiling(), 0.0
    for congested, estimate, elapsed in steps:
        now += elapsed
        assert MIN_BPS <= ceiling.update(congested=congested, estimate_bps=estimate, now_s=now) <= MAX_BPS
