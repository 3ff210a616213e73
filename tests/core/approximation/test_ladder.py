from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.approximation.ladder import CHUNK_FRAMES, ladder_in
from genlock_core.approximation.levels import Ladder, Level, at_level, levels_of
from genlock_core.sizing.placement import Placement, PoolShape, Unplaceable, place
from genlock_core.sizing.profile import ChunkLatency, ProfileRow, load_profiles
from genlock_core.spec.session import (
    Approximation,
    ApproximationPolicy,
    Resolution,
    ResolvedSession,
    SessionKey,
    StreamSessionSpec,
    resolve,
)
from genlock_worker.engines import contract

POOL = PoolShape("p", "wan2.1-1.3b", "H100", 1, "mock")


def session(**changes: Any) -> ResolvedSession:
    return resolve(SessionKey(name="demo"), StreamSessionSpec(steps=4)).model_copy(update=changes)


def row(steps: int, fps: float, **changes: Any) -> ProfileRow:
    plain: dict[str, Any] = {
        "model": "wan2.1-1.3b", "resolution": Resolution(width=832, height=480), "gpu_product": "H100", "gpus": 1,
        "source": "a test",
    }  # fmt: skip
    return ProfileRow(**{**plain, "steps": steps, "fps_per_session": fps, **changes})


def ladder(rows: list[ProfileRow], **changes: Any) -> Ladder:
    found = ladder_in(session(**changes), rows, POOL)
    assert isinstance(found, Ladder), found
    return found


def told(found: Ladder) -> list[tuple[int, int]]:
    return [(rung.level.steps, rung.cost) for rung in found.rungs]


def test_a_level_costs_what_placement_says_of_a_session_that_asks_for_it() -> None:
    rows = [row(4, 32), row(3, 48), row(2, 64), row(1, 130)]
    assert told(ladder(rows)) == [(4, 500), (3, 333), (2, 250), (1, 125)]


def test_a_level_that_costs_no_less_than_the_one_above_is_left_out_and_told() -> None:
    found = ladder([row(4, 32), row(3, 33), row(2, 16), row(1, 64)])
    assert told(found) == [(4, 500), (1, 250)]
    assert "3 steps is left out: it costs 500 thousandths, 4 steps costs 500" in found.left_out
    assert "2 steps is left out: it costs 1000 thousandths, 4 steps costs 500" in found.left_out


def test_a_level_whose_measured_latency_is_over_the_deadline_is_left_out_and_told() -> None:
    late = ChunkLatency(p50=1, p95=2, p99=501)
    found = ladder([row(4, 32), row(3, 48, chunk_latency_ms=late), row(2, 64)])
    assert told(found) == [(4, 500), (2, 250)]
    assert any("3 steps is left out" in note and "501 ms (p99)" in note for note in found.left_out)


def test_a_pool_that_cannot_run_what_is_asked_for_has_no_ladder() -> None:
    found = ladder_in(session(), [row(4, 15.9), row(1, 130)], POOL)
    assert isinstance(found, Unplaceable)
    assert "15.9 fps" in str(found)


def test_the_same_session_costs_something_else_in_another_pool() -> None:
    rows = [row(steps, 32 + 32 * (4 - steps), gpus=gpus) for steps in (4, 2) for gpus in (1, 2)]
    rows[1] = row(4, 64, gpus=2)
    wide = PoolShape("wide", "wan2.1-1.3b", "H100", 2, "mock")
    first, second = (ladder_in(session(), rows, pool) for pool in (POOL, wide))
    assert isinstance(first, Ladder)
    assert isinstance(second, Ladder)
    assert first.top.cost == 500
    assert second.top.cost == 250


def test_published_figures_make_a_ladder() -> None:
    wide = PoolShape("p", "wan2.1-1.3b", "NVIDIA-H100", 2, "mock")
    found = ladder_in(session(), load_profiles(), wide)
    assert isinstance(found, Ladder)
    assert told(found) == [(4, 1_000), (2, 500)]


def halving(deadline_ms: int = 1_000) -> dict[str, Any]:
    may = Approximation(min_steps=2, min_frame_rate=8)
    return {"approximation": may, "frame_rate": 16, "frame_deadline_ms": deadline_ms}


def test_every_second_frame_is_the_last_rung_and_costs_what_half_the_frames_cost() -> None:
    latency = ChunkLatency(p50=1, p95=2, p99=200)
    found = ladder([row(4, 32), row(3, 48), row(2, 64, chunk_latency_ms=latency)], **halving())
    assert [rung.level for rung in found.rungs] == [Level(4), Level(3), Level(2), Level(2, every=2)]
    assert [rung.cost for rung in found.rungs] == [500, 333, 250, 125]
    assert [rung.quality for rung in found.rungs] == [1.0, 0.75, 0.5, 0.25]
    assert not any("age of the picture" in note for note in found.unprofiled)


@pytest.mark.parametrize(("deadline_ms", "rungs"), [(388, 2), (387, 1)])
def test_every_second_frame_is_left_out_where_the_picture_would_be_older_than_promised(
    deadline_ms: int, rungs: int
) -> None:
    # 200 ms and three periods of 125 ms, against the deadline and three periods of 62.5 ms.
    rows = [row(2, 64, chunk_latency_ms=ChunkLatency(p50=1, p95=2, p99=200))]
    found = ladder(rows, steps=2, **halving(deadline_ms))
    assert len(found.rungs) == rungs
    assert ("the picture would be 575 ms old" in "".join(found.left_out)) == (rungs == 1)


def test_an_age_that_nobody_measured_is_at_least_what_a_worker_computes_and_is_told() -> None:
    slow = ladder([row(2, 16.1)], steps=2, **halving(430))
    assert len(slow.rungs) == 1
    quick = ladder([row(2, 64)], steps=2, **halving(430))
    assert len(quick.rungs) == 2
    assert "age of the picture at 2 steps, 1 of 2 frames" in quick.unprofiled


def test_fewer_steps_make_no_picture_older_so_they_are_not_asked_for_its_age() -> None:
    found = ladder([row(4, 17), row(2, 33)], frame_deadline_ms=100)
    assert told(found) == [(4, 1_000), (2, 500)]


def test_a_chunk_is_as_long_as_engines_make_it() -> None:
    assert contract.CHUNK_FRAMES == CHUNK_FRAMES


@given(
    fps=st.tuples(*(st.floats(16, 400) for _ in range(4))),
    steps=st.integers(1, 4),
    least=st.integers(1, 4),
    never=st.booleans(),
    least_rate=st.none() | st.integers(1, 16),
)
def test_a_ladder_never_leaves_what_the_session_allows_and_is_priced_by_placement(
    fps: tuple[float, ...], steps: int, least: int, never: bool, least_rate: int | None
) -> None:
    policy = ApproximationPolicy.NEVER if never else ApproximationPolicy.ADAPTIVE
    may = Approximation(policy=policy, min_steps=min(least, steps), min_frame_rate=least_rate)
    asked = session(steps=steps, approximation=may)
    rows = [row(number, figure) for number, figure in enumerate(fps, start=1)]

    found = ladder_in(asked, rows, POOL)
    assert isinstance(found, Ladder)
    assert found.top.level == levels_of(asked)[0]
    assert {rung.level for rung in found.rungs} <= set(levels_of(asked))
    assert len(found.rungs) + len(found.left_out) == len(levels_of(asked))
    own = place(asked, rows, [POOL])
    assert isinstance(own, Placement)
    for rung in found.rungs:
        # The record holds the costs of all steps, and says the same.
        if rung.level.every == 1:
            assert own.choices[0].levels[rung.level.steps - 1] == rung.cost
        placed = place(at_level(asked, rung.level), rows, [POOL])
        assert isinstance(placed, Placement)
        assert placed.choices[0].cost == rung.cost


@pytest.mark.parametrize(("steps", "quality"), [(4, 1.0), (3, 0.75), (2, 0.5), (1, 0.25)])
def test_a_quality_that_nobody_measured_is_the_share_of_steps(steps: int, quality: float) -> None:
    found = ladder([row(4, 32), row(3, 48), row(2, 64), row(1, 130)])
    assert found.rungs[4 - steps].quality == quality
