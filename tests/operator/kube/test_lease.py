"""The rule by which replicas share a lease, on a clock that the test sets."""

from typing import Any

from genlock_operator.kube.lease import DURATION_S, GIVE_UP_AFTER_S, LeaseCandidate


def asked(candidate: LeaseCandidate, spec: dict[str, Any] | None, now_s: float) -> dict[str, Any] | None:
    return candidate.wanted(spec, now_s=now_s, wall_ms=round(now_s * 1_000))


def test_the_first_one_takes_a_lease_that_nobody_has() -> None:
    wanted = asked(LeaseCandidate("a"), None, 0.0)
    assert wanted is not None
    assert (wanted["holderIdentity"], wanted["leaseTransitions"]) == ("a", 1)


def test_the_second_one_waits_as_long_as_the_first_renews() -> None:
    first, second = LeaseCandidate("a"), LeaseCandidate("b")
    spec = asked(first, None, 0.0)
    for now_s in range(1, 20):
        spec = asked(first, spec, float(now_s))
        assert asked(second, spec, now_s + 0.5) is None


def test_the_second_one_takes_over_when_the_first_has_not_renewed_for_the_duration() -> None:
    second = LeaseCandidate("b")
    spec = asked(LeaseCandidate("a"), None, 0.0)
    assert asked(second, spec, 1.0) is None
    assert asked(second, spec, 1.0 + DURATION_S - 0.01) is None
    wanted = asked(second, spec, 1.0 + DURATION_S)
    assert wanted is not None
    assert (wanted["holderIdentity"], wanted["leaseTransitions"]) == ("b", 2)


def test_a_holder_that_cannot_renew_stops_before_anybody_may_begin() -> None:
    first = LeaseCandidate("a")
    first.written(asked_s=10.0)
    assert first.holds(10.0 + GIVE_UP_AFTER_S - 0.01)
    assert not first.holds(10.0 + GIVE_UP_AFTER_S)
    assert GIVE_UP_AFTER_S < DURATION_S


def test_a_lease_that_was_given_back_is_taken_at_once() -> None:
    first, second = LeaseCandidate("a"), LeaseCandidate("b")
    spec = asked(first, None, 0.0)
    assert spec is not None
    assert asked(second, spec, 0.5) is None
    wanted = asked(second, first.released(spec, wall_ms=600), 1.0)
    assert wanted is not None
    assert wanted["holderIdentity"] == "b"
