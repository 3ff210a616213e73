"""Steps give way quickly, come back slowly, and ever more slowly where coming back does not last."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.rows.approximation import RAISE_AFTER_S, TROUBLE_WINDOW_S, StepPolicy


def lowered(policy: StepPolicy, ceiling: int, now: float) -> float:
    """Trouble until the steps fall by one; returns when."""
    before = policy.steps(ceiling)
    while policy.steps(ceiling) == before:
        now += 0.25
        policy.trouble(now)
        policy.decide(ceiling, now, load_with_one_more=2.0)
    return now


def raised(policy: StepPolicy, ceiling: int, now: float) -> float:
    before = policy.steps(ceiling)
    while policy.steps(ceiling) == before:
        now += 0.25
        policy.decide(ceiling, now, load_with_one_more=0.1)
    return now


def test_one_late_chunk_changes_nothing() -> None:
    policy = StepPolicy(minimum=1, now_s=0.0)
    policy.trouble(5.0)
    assert policy.decide(4, 5.0, load_with_one_more=1.0) == 4


def test_trouble_lowers_by_one_at_a_time_and_never_below_the_minimum() -> None:
    policy, now = StepPolicy(minimum=2, now_s=0.0), 0.0
    now = lowered(policy, 4, now)
    assert policy.steps(4) == 3
    later = lowered(policy, 4, now)
    assert later - now >= 1.0
    for _ in range(50):
        later += 0.25
        policy.trouble(later)
        assert policy.decide(4, later, load_with_one_more=2.0) == 2


def test_it_raises_after_a_quiet_time_and_only_if_the_load_allows() -> None:
    policy = StepPolicy(minimum=1, now_s=0.0)
    now = lowered(policy, 2, 0.0)
    assert policy.decide(2, now + 60, load_with_one_more=0.95) == 1
    assert raised(policy, 2, now) - now >= RAISE_AFTER_S


def test_a_raise_that_fails_makes_the_next_one_wait_longer() -> None:
    policy = StepPolicy(minimum=1, now_s=0.0)
    now = lowered(policy, 2, 0.0)
    up = raised(policy, 2, now)
    down = lowered(policy, 2, up)
    assert raised(policy, 2, down) - down >= 2 * RAISE_AFTER_S


def test_what_the_user_wants_is_taken_at_once() -> None:
    policy = StepPolicy(minimum=1, now_s=0.0)
    now = lowered(policy, 4, 0.0)
    policy.forget(now)
    assert policy.decide(2, now, load_with_one_more=2.0) == 2
    assert policy.decide(4, now, load_with_one_more=2.0) == 4


def test_a_request_below_the_minimum_stands() -> None:
    policy = StepPolicy(minimum=2, now_s=0.0)
    policy.trouble(5.0)
    policy.trouble(5.1)
    assert policy.decide(1, 5.1, load_with_one_more=2.0) == 1


@given(st.lists(st.tuples(st.floats(0.01, 3), st.booleans(), st.floats(0, 2)), max_size=80))
def test_steps_stay_between_minimum_and_request(events: list[tuple[float, bool, float]]) -> None:
    policy, now = StepPolicy(minimum=2, now_s=0.0), 0.0
    for wait, trouble, load in events:
        now += wait
        if trouble:
            policy.trouble(now)
        assert 2 <= policy.decide(3, now, load_with_one_more=load) <= 3


def test_what_the_user_wants_forgets_how_patient_it_was() -> None:
    policy = StepPolicy(minimum=1, now_s=0.0)
    down = lowered(policy, 2, raised(policy, 2, lowered(policy, 2, 0.0)))
    policy.forget(down)
    again = lowered(policy, 2, down + 60)
    assert RAISE_AFTER_S <= raised(policy, 2, again) - again < 2 * RAISE_AFTER_S


def test_a_lower_ceiling_lowers_at_once_and_what_was_given_way_stays() -> None:
    policy = StepPolicy(minimum=1, now_s=0.0)
    lowered(policy, 4, 0.0)
    assert policy.steps(4) == 3
    assert policy.steps(3) == 2
    assert policy.steps(1) == 1


def test_a_ceiling_that_comes_back_gives_its_steps_back() -> None:
    policy = StepPolicy(minimum=1, now_s=0.0)
    assert policy.decide(2, 1.0, load_with_one_more=0.1) == 2
    assert policy.decide(4, 1.1, load_with_one_more=2.0) == 4


@given(st.lists(st.tuples(st.floats(0.01, 3), st.booleans(), st.floats(0, 2), st.integers(1, 4)), max_size=80))
def test_steps_are_never_above_the_ceiling_nor_below_the_minimum_that_it_allows(
    events: list[tuple[float, bool, float, int]],
) -> None:
    policy, now = StepPolicy(minimum=2, now_s=0.0), 0.0
    for wait, trouble, load, ceiling in events:
        now += wait
        if trouble:
            policy.trouble(now)
        steps = policy.decide(ceiling, now, load_with_one_more=load)
        assert min(2, ceiling) <= steps <= ceiling
        assert steps == policy.steps(ceiling)


def test_trouble_that_is_a_whole_window_old_is_forgotten() -> None:
    policy = StepPolicy(minimum=1, now_s=0.0)
    policy.trouble(10.0)
    policy.trouble(10.0 + TROUBLE_WINDOW_S)
    assert policy.decide(4, 10.0 + TROUBLE_WINDOW_S, load_with_one_more=2.0) == 4
    policy.trouble(10.1 + TROUBLE_WINDOW_S)
    assert policy.decide(4, 10.1 + TROUBLE_WINDOW_S, load_with_one_more=2.0) == 3
