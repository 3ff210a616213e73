"""A draw of arrivals is what was asked for, and the same for one seed."""

import numpy as np
import pytest

from bench.replay.traces import DAY_S, Rate, TracedSession, synthetic_day
from bench.replay.workload import PROMPT_SHARES, Workload, poisson, shifted


def drawn(seed: int) -> Workload:
    return poisson("day", synthetic_day(), None, at_once=60, dice=np.random.default_rng(seed))


def test_a_seed_says_it_all() -> None:
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_so_many_sessions_are_there_at_once_as_were_asked_for() -> None:
    workload = drawn(1)
    session_s = sum(min(one.length_s, workload.span_s - one.at_s) for one in workload.arrivals)
    assert session_s / workload.span_s == pytest.approx(60, rel=0.1)


def test_sessions_run_already_when_it_begins() -> None:
    flat = Rate.of(np.ones(60), 60.0)
    counts = [
        sum(one.at_s == 0 for one in poisson("", flat, None, at_once=60, dice=np.random.default_rng(seed)).arrivals)
        for seed in range(20)
    ]
    assert np.mean(counts) == pytest.approx(60, rel=0.1)


def test_arrivals_come_where_the_rate_has_them() -> None:
    rate = Rate.of(np.array([0.0, 3.0]), 3_600.0)
    workload = poisson("half", rate, [10.0], at_once=5, dice=np.random.default_rng(1))
    assert all(one.at_s >= 3_600 for one in workload.arrivals)


def test_prompts_have_their_shares() -> None:
    prompts = [one.prompt for one in drawn(1).arrivals]
    shares = np.bincount(prompts) / len(prompts)
    assert shares == pytest.approx(PROMPT_SHARES, abs=0.02)


def test_copies_are_turned_by_whole_days_and_at_most_half_an_hour() -> None:
    sessions = [TracedSession(43_200.0, 60.0), TracedSession(3 * DAY_S - 1.0, 5.0)]
    workload = shifted("turned", sessions, copies=3, days=3, dice=np.random.default_rng(1))
    noons = [one.at_s % DAY_S for one in workload.arrivals if one.length_s == 60]
    assert len(noons) == 3
    assert all(abs(at_s - 43_200) <= 1_800 for at_s in noons)
    assert [one.at_s for one in workload.arrivals] == sorted(one.at_s for one in workload.arrivals)
