"""When a session moves."""

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from genlock_core.claims import liveness
from genlock_core.claims.claims import MoveCause, WorkerState, WorkerView
from genlock_core.claims.identity import FormatRange, WorkerIdentity
from genlock_core.claims.liveness import LinkView, should_move
from genlock_core.claims.lua import load
from genlock_core.claims.pulse import Vitals

SESSION = "default/demo"


def worker(age_ms: int, gateways: tuple[str, ...]) -> WorkerView:
    return WorkerView(
        identity=WorkerIdentity("w0", "1"),
        pool="a",
        model="m",
        address="w0:7000",
        state=WorkerState.READY,
        heartbeat_age_ms=age_ms,
        progress=1,
        links={SESSION: gateways, "default/other": ("g9",)},
        capacity=1_000,
        free=0,
        sessions={SESSION: 1},
        formats=FormatRange(1, 1),
    )


workers = st.builds(worker, st.integers(0, 5_000), st.lists(st.sampled_from(["g0", "g1", "g2"])).map(tuple))
links = st.builds(LinkView, st.just("g0"), st.booleans(), st.integers(0, 5_000))


@given(workers | st.none(), st.integers(0, 5_000))
def test_a_refused_link_moves_at_once(view: WorkerView | None, silent_ms: int) -> None:
    assert should_move(SESSION, LinkView("g0", True, silent_ms), view) is MoveCause.REFUSED


@given(links, workers)
def test_one_gateways_bad_network_steals_nothing(link: LinkView, view: WorkerView) -> None:
    others = set(view.links[SESSION]) - {"g0"}
    if not link.refused and view.heartbeat_age_ms <= liveness.HEARTBEAT_STALE_MS and others:
        assert should_move(SESSION, link, view) is None


@given(links, workers)
def test_silence_moves_if_the_worker_is_stale_or_nobody_else_is_linked(link: LinkView, view: WorkerView) -> None:
    stale = view.heartbeat_age_ms > liveness.HEARTBEAT_STALE_MS
    alone = not set(view.links[SESSION]) - {"g0"}
    if not link.refused and link.silent_ms >= liveness.SILENCE_MS and (stale or alone):
        assert should_move(SESSION, link, view) is MoveCause.SILENT


def candidate(age_ms: int = 300, late_ms: int | None = 100) -> WorkerView:
    vitals = (
        None if late_ms is None else Vitals(alive=1, phase="stepping", late_ms=late_ms, patience_ms=1_000, patient=True)
    )
    return replace(worker(age_ms, ()), identity=WorkerIdentity("w1", "1"), vitals=vitals)


def leaves(silent_ms: int, *candidates: WorkerView) -> bool:
    """Whether a worker that has been silent for so long is left, where these have room."""
    cause = should_move(SESSION, LinkView("g0", False, silent_ms), worker(5_000, ()), candidates=candidates)
    return cause is MoveCause.SILENT


def test_a_silent_worker_is_left_for_one_that_is_well_or_of_which_nothing_bad_is_known() -> None:
    assert leaves(1_000, candidate())
    assert leaves(1_000, candidate(late_ms=None)), "a worker of the release before"
    assert leaves(1_000), "where nobody has room the move is tried, so that people are told"


def test_a_silent_worker_is_not_left_for_one_that_is_as_slow() -> None:
    assert not leaves(1_300, candidate(late_ms=1_300))
    assert not leaves(9_000, candidate(age_ms=2_000)), "its own heartbeat is stale"
    assert leaves(1_300, candidate(late_ms=1_300), candidate())


def test_who_hangs_for_long_is_left_even_for_a_slow_one() -> None:
    assert leaves(2_600, candidate(late_ms=1_300))


@given(st.integers(0, 20_000), st.lists(st.builds(candidate, st.integers(0, 3_000), st.integers(0, 9_000))))
def test_no_silence_moves_to_where_it_is_not_better(silent_ms: int, candidates: list[WorkerView]) -> None:
    better = [one for one in candidates if one.heartbeat_age_ms <= 1_000 and one.vitals is not None]
    if candidates and leaves(silent_ms, *candidates):
        assert min(one.vitals.late_ms for one in better if one.vitals is not None) <= silent_ms / 2


def test_a_dead_process_is_left_for_any_worker() -> None:
    cause = should_move(SESSION, LinkView("g0", True, 0), worker(0, ()), candidates=[candidate(late_ms=9_000)])
    assert cause is MoveCause.REFUSED


@given(links, workers | st.none())
def test_a_link_that_makes_progress_never_moves(link: LinkView, view: WorkerView | None) -> None:
    if not link.refused and link.silent_ms < liveness.SILENCE_MS:
        assert should_move(SESSION, link, view) is None


@given(links, workers | st.none())
def test_an_expired_lease_moves_whatever_the_link_says(link: LinkView, view: WorkerView | None) -> None:
    cause = should_move(SESSION, link, view, lease_expired=True)
    assert cause is (MoveCause.REFUSED if link.refused else MoveCause.EXPIRED)


def test_silence_towards_a_worker_that_redis_does_not_know_waits_for_it_to_reassert() -> None:
    assert should_move(SESSION, LinkView("g0", False, 4_000), None) is None


def test_the_scripts_hold_the_same_figures() -> None:
    source = load("renew").source
    figures = dict(re.findall(r"^local (\w+_MS) = (\d+)$", source, re.MULTILINE))
    assert int(figures["LEASE_MS"]) == liveness.LEASE_MS
    assert int(figures["HOLD_MS"]) == liveness.HOLD_MS
    assert int(figures["LATE_MS"]) == liveness.LATE_MS
