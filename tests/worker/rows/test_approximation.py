"""Steps give way quickly, come back slowly, and ever more slowly where coming back does not last."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.rows.approximation import RAISE_AFTER_S, StepPolicy


def lowered(policy: StepPolicy, now: float) -> float:
    """Trouble until the steps fall by one; returns when."""
    before = policy.steps
    while policy.steps == before:
        now += 0.25
        policy.trouble(now)
        policy.decide(now, load_with_one_more=2.0)
    return now


def raised(policy: StepPolicy, now: float) -> float:
    before = policy.steps
    while policy.steps == before:
        now += 0.25
        policy.decide(now, load_with_one_more=0.1)
    return now


def test_one_late_chunk_changes_nothing() -> None:
    policy = StepPolicy(requested=4, minimum=1, now_s=0.0)
    policy.trouble(5.0)
    assert policy.decide(5.0, load_with_one_more=1.0) == 4


def test_trouble_lowers_by_one_at_a_time_and_never_below_the_minimum() -> None:
    policy, now = StepPolicy(requested=4, minimum=2, now_s=0.0), 0.0
    now = lowered(policy, now)
    assert policy.steps == 3
    later = lowered(policy, now)
    assert later - now >= 1.0
    for _ in range(50):
        later += 0.25
        policy.trouble(later)
        assert policy.decide(later, load_with_one_more=2.0) == 2


def test_it_raises_after_a_quiet_time_and_only_if_the_load_allows() -> None:
    policy = StepPolicy(requested=2, minimum=1, now_s=0.0)
    now = lowered(policy, 0.0)
    assert policy.decide(now + 60, load_with_one_more=0.95) == 1
    assert raised(policy, now) - now >= RAISE_AFTER_S


def test_a_raise_that_fails_makes_the_next_one_wait_longer() -> None:
    policy = StepPolicy(requested=2, minimum=1, now_s=0.0)
    now = lowered(policy, 0.0)
    up = raised(policy, now)
    down = lowered(policy, up)
    assert raised(policy, down) - down >= 2 * RAISE_AFTER_S


def test_what_the_user_wants_is_taken_at_once() -> None:
    policy = StepPolicy(requested=4, minimum=1, now_s=0.0)
    now = lowered(policy, 0.0)
    policy.request(2, now)
    assert policy.decide(now, load_with_one_more=2.0) == 2


def test_a_request_below_the_minimum_stands() -> None:
    policy = StepPolicy(requested=1, minimum=2, now_s=0.0)
    policy.trouble(5.0)
    policy.trouble(5.1)
    assert policy.decide(5.1, load_with_one_more=2.0) == 1


@given(st.lists(st.tuples(st.floats(0.01, 3), st.booleans(), st.floats(0, 2)), max_size=80))
def test_steps_stay_between_minimum_and_request(events: list[tuple[float, bool, float]]) -> None:
    policy, now = StepPolicy(requested=3, minimum=2, now_s=0.0), 0.0
    for wait, trouble, load in events:
        now += wait
        if trouble:
            policy.trouble(now)
        assert 2 <= policy.decide(now, load_with_one_more=load) <= 3
