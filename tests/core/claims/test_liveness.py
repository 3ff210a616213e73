"""When a session moves."""

import re

from hypothesis import given
from hypothesis import strategies as st

from genlock_core.claims import liveness
from genlock_core.claims.claims import MoveCause, WorkerState, WorkerView
from genlock_core.claims.identity import FormatRange, WorkerIdentity
from genlock_core.claims.liveness import LinkView, should_move
from genlock_core.claims.lua import load

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
