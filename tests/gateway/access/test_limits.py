"""How often and how much."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_core.clock import ManualClock
from genlock_gateway.access.limits import MAX_BUCKETS, Buckets, TokenBucket


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0.5, 12)), max_size=60), st.floats(0.5, 20), st.integers(1, 10))
def test_a_bucket_never_gives_more_than_its_burst_and_its_rate(
    asked: list[tuple[float, float]], rate: float, burst: int
) -> None:
    bucket, now_s, taken = TokenBucket(rate_per_s=rate, burst=burst, now_s=0.0), 0.0, 0.0
    for step_s, units in asked:
        now_s += step_s
        if bucket.take(now_s, units) == 0.0:
            taken += min(units, burst)
        assert taken <= burst + rate * now_s + 1e-6


def test_a_refusal_says_how_long_to_wait_and_is_right() -> None:
    bucket = TokenBucket(rate_per_s=2.0, burst=1, now_s=0.0)
    assert bucket.take(0.0) == 0.0
    wait_s = bucket.take(0.0)
    assert wait_s == 0.5
    assert bucket.take(wait_s) == 0.0


def test_what_costs_more_than_the_burst_takes_a_full_bucket() -> None:
    bucket = TokenBucket(rate_per_s=1.0, burst=3, now_s=0.0)
    assert bucket.take(0.0, 10) == 0.0
    assert bucket.take(1.0, 10) == 2.0
    assert bucket.take(3.0, 10) == 0.0


def test_keys_are_told_apart_and_forgotten_in_time() -> None:
    buckets = Buckets(ManualClock(), rate_per_s=1.0, burst=1)
    for number in range(MAX_BUCKETS + 10):
        assert buckets.take(f"a{number}") == 0.0
        assert buckets.take(f"a{number}") > 0
    assert len(buckets._buckets) == MAX_BUCKETS
