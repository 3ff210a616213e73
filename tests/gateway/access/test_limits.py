"""How often and how much."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from genlock_core.clock import ManualClock
from genlock_gateway.access.limits import MAX_ADDRESSES, AddressLimiter, TokenBucket
from genlock_gateway.access.problems import Problem


@given(st.lists(st.floats(0, 3), max_size=60), st.floats(0.5, 20), st.integers(1, 10))
def test_a_bucket_never_gives_more_than_its_burst_and_its_rate(steps: list[float], rate: float, burst: int) -> None:
    bucket, now_s, taken = TokenBucket(rate_per_s=rate, burst=burst, now_s=0.0), 0.0, 0
    for step_s in steps:
        now_s += step_s
        taken += bucket.take(now_s) == 0.0
        assert taken <= burst + rate * now_s + 1e-6


def test_a_refusal_says_how_long_to_wait_and_is_right() -> None:
    bucket = TokenBucket(rate_per_s=2.0, burst=1, now_s=0.0)
    assert bucket.take(0.0) == 0.0
    wait_s = bucket.take(0.0)
    assert wait_s == 0.5
    assert bucket.take(wait_s) == 0.0


def test_addresses_are_told_apart_and_forgotten_in_time() -> None:
    limiter = AddressLimiter(ManualClock(), rate_per_s=1.0, burst=1)
    for number in range(MAX_ADDRESSES + 10):
        scope = {
            "type": "http",
            "headers": [],
            "client": (f"10.0.{number >> 8}.{number & 255}", 1),
            "method": "POST",
            "path": "/",
        }
        limiter.admit(Request(scope))
    assert len(limiter._buckets) == MAX_ADDRESSES


def test_a_whole_ipv6_network_is_one_client() -> None:
    limiter = AddressLimiter(ManualClock(), rate_per_s=1.0, burst=1)
    asked = [Request({"type": "http", "headers": [], "client": (f"2001:db8::{number}", 1)}) for number in (1, 2)]
    limiter.admit(asked[0])
    with pytest.raises(Problem):
        limiter.admit(asked[1])
