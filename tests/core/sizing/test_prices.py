from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.approximation.levels import Ladder, Level, at_level, levels_of
from genlock_core.claims.record import HalfRate, PoolChoice, SessionRecord
from genlock_core.levelling.ladders import ladder_of
from genlock_core.sizing.candidates import PoolShape
from genlock_core.sizing.placement import Placement, place
from genlock_core.sizing.profile import CHUNK_FRAMES, ChunkLatency, ProfileRow, load_profiles, own_rows
from genlock_core.spec.manifest import load_manifest
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
from tests.test_project import ROOT

POOL = PoolShape("p", "wan2.1-1.3b", "H100", 1, "mock")


def session(**changes: Any) -> ResolvedSession:
    return resolve(SessionKey(name="demo"), StreamSessionSpec(steps=4)).model_copy(update=changes)


def row(steps: int, fps: float, **changes: Any) -> ProfileRow:
    plain: dict[str, Any] = {
        "model": "wan2.1-1.3b", "resolution": Resolution(width=832, height=480), "gpu_product": "H100", "gpus": 1,
        "source": "a test",
    }  # fmt: skip
    return ProfileRow(**{**plain, "steps": steps, "fps_per_session": fps, **changes})


def placed(rows: list[ProfileRow], pool: PoolShape = POOL, **changes: Any) -> Placement:
    found = place(session(**changes), rows, [pool])
    assert isinstance(found, Placement), found
    return found


def ladder(rows: list[ProfileRow], pool: PoolShape = POOL, **changes: Any) -> Ladder:
    """What the price list says to whoever plans levels."""
    (choice,) = placed(rows, pool, **changes).choices
    return ladder_of(SessionRecord(session=session(**changes), pools=(choice,)), choice)


def told(found: Ladder) -> list[tuple[int, int]]:
    return [(rung.level.steps, rung.cost) for rung in found.rungs]


def late(p99: float) -> ChunkLatency:
    return ChunkLatency(p50=1, p95=2, p99=p99)


def test_a_level_costs_what_placement_says_of_a_session_that_asks_for_it() -> None:
    rows = [row(4, 32), row(3, 48), row(2, 64), row(1, 130)]
    assert told(ladder(rows)) == [(4, 500), (3, 333), (2, 250), (1, 125)]


def test_fewer_steps_that_are_not_faster_cost_what_more_of_them_do_and_are_on_no_ladder() -> None:
    rows = [row(4, 32), row(3, 33), row(2, 16), row(1, 64)]
    assert placed(rows).choices[0].levels == (250, 500, 500, 500)
    assert told(ladder(rows)) == [(4, 500), (1, 250)]


def test_fewer_steps_whose_measured_latency_is_over_the_deadline_are_on_no_ladder() -> None:
    found = ladder([row(4, 32), row(3, 48, chunk_latency_ms=late(501)), row(2, 64)])
    assert told(found) == [(4, 500), (2, 250)]
    assert told(ladder([row(4, 32), row(3, 48, chunk_latency_ms=late(500)), row(2, 64)]))[1] == (3, 333)


def test_more_steps_whose_measured_latency_is_over_the_deadline_have_no_price() -> None:
    rows = [row(1, 64), row(2, 32), row(3, 24, chunk_latency_ms=late(501)), row(4, 20)]
    assert placed(rows, steps=1).choices[0].levels == (250, 500)
    in_time = [*rows[:2], row(3, 24, chunk_latency_ms=late(500)), row(4, 20, chunk_latency_ms=late(501))]
    assert placed(in_time, steps=1).choices[0].levels == (250, 500, 1_000)


def test_steps_that_one_session_alone_makes_in_time_have_a_price_whatever_several_took() -> None:
    rows = [row(1, 64), row(2, 10, sessions=4, chunk_latency_ms=late(900)), row(2, 20, chunk_latency_ms=late(200))]
    assert placed(rows, steps=1).choices[0].levels == (250, 1_000, 1_000, 1_000)


def test_the_same_session_costs_something_else_in_another_pool() -> None:
    rows = [row(4, 32), row(4, 64, gpus=2), row(2, 96), row(2, 96, gpus=2)]
    wide = PoolShape("wide", "wan2.1-1.3b", "H100", 2, "mock")
    assert ladder(rows).top.cost == 500
    assert ladder(rows, wide).top.cost == 250


def test_published_figures_make_a_ladder() -> None:
    wide = PoolShape("p", "wan2.1-1.3b", "NVIDIA-H100", 2, "mock")
    assert told(ladder(list(load_profiles()), wide)) == [(4, 1_000), (2, 500)]


def halving(deadline_ms: int = 1_000) -> dict[str, Any]:
    may = Approximation(min_steps=2, min_frame_rate=8)
    return {"approximation": may, "frame_rate": 16, "frame_deadline_ms": deadline_ms}


def test_every_second_frame_is_the_last_rung_and_costs_what_half_the_frames_cost() -> None:
    rows = [row(4, 32), row(3, 48), row(2, 64, chunk_latency_ms=late(200))]
    found = ladder(rows, **halving())
    assert [rung.level for rung in found.rungs] == [Level(4), Level(3), Level(2), Level(2, every=2)]
    assert [rung.cost for rung in found.rungs] == [500, 333, 250, 125]
    assert [rung.quality for rung in found.rungs] == [1.0, 0.75, 0.5, 0.25]
    assert not any("age of the picture" in note for note in placed(rows, **halving()).unprofiled)


def test_every_second_frame_that_saves_nothing_has_no_price() -> None:
    assert placed([row(4, 1_000_000)], **halving()).choices[0].half is None


@pytest.mark.parametrize(("deadline_ms", "rungs"), [(388, 2), (387, 1)])
def test_every_second_frame_has_no_price_where_the_picture_would_be_older_than_promised(
    deadline_ms: int, rungs: int
) -> None:
    # 200 ms and three periods of 125 ms, against the deadline and three periods of 62.5 ms.
    rows = [row(2, 64, chunk_latency_ms=late(200))]
    found = ladder(rows, steps=2, **halving(deadline_ms))
    assert len(found.rungs) == rungs
    assert (placed(rows, steps=2, **halving(deadline_ms)).choices[0].half is None) == (rungs == 1)


def test_an_age_that_nobody_measured_is_at_least_what_a_worker_computes_and_is_told() -> None:
    assert placed([row(2, 16.1)], steps=2, **halving(430)).choices[0].half is None
    quick = placed([row(2, 64)], steps=2, **halving(430))
    assert quick.choices[0].half == HalfRate(steps=2, cost=125)
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
def test_every_rung_costs_what_placement_says_of_a_session_that_asks_for_it(
    fps: tuple[float, ...], steps: int, least: int, never: bool, least_rate: int | None
) -> None:
    policy = ApproximationPolicy.NEVER if never else ApproximationPolicy.ADAPTIVE
    may = Approximation(policy=policy, min_steps=min(least, steps), min_frame_rate=least_rate)
    rows = [row(number, figure) for number, figure in enumerate(fps, start=1)]
    asked = session(steps=steps, approximation=may)

    found = ladder(rows, steps=steps, approximation=may)
    assert found.top.level == levels_of(asked)[0]
    assert {rung.level for rung in found.rungs} <= set(levels_of(asked))
    assert len(found.rungs) + len(found.left_out) == len(levels_of(asked))
    for rung in found.rungs:
        alone = place(at_level(asked, rung.level), rows, [POOL])
        assert isinstance(alone, Placement)
        assert alone.choices[0].cost == rung.cost


def test_qualities_stand_in_the_price_list_where_any_was_measured() -> None:
    rows = [row(4, 32), row(3, 48, quality=0.9), row(2, 64)]
    found = placed(rows)
    assert found.choices[0].qualities == (0.25, 0.5, 0.9, 1.0)
    assert "quality at 1, 2, 4 steps (guessed by the number of steps)" in found.unprofiled
    assert placed([row(4, 32)]).choices[0].qualities == ()


def test_qualities_that_contradict_each_other_are_told() -> None:
    found = placed([row(4, 32), row(3, 48, quality=0.7), row(2, 64, quality=0.8)])
    assert found.choices[0].qualities == (0.25, 0.7, 0.7, 1.0)
    assert "quality at 2 steps (measured to look better than more steps; taken to look the same)" in found.unprofiled


def test_a_session_that_is_never_lowered_is_told_nothing_of_levels() -> None:
    never = Approximation(policy=ApproximationPolicy.NEVER)
    assert not any("quality" in note for note in placed([row(4, 32)], approximation=never).unprofiled)


def test_the_example_of_a_busy_hour_fills_a_worker_with_eight_sessions_or_with_nine_of_three_steps() -> None:
    folder = ROOT / "examples" / "busy-hour"
    rows = own_rows([folder / "profile.yaml"])
    texts = [(folder / name).read_text() for name in ("sessions.yaml", "ninth.yaml")]
    asked = [resolve(one.key, one.spec) for text in texts for one in load_manifest(text, origin="example")]
    shape = PoolShape("local-busy-hour", "busy-hour", "NVIDIA-H100", 1, "mock")

    assert len(asked) == 9
    for one in asked:
        found = place(one, rows, [shape])
        assert isinstance(found, Placement)
        assert found.choices == (
            PoolChoice("local-busy-hour", 125, levels=(62, 83, 111, 125), qualities=(0.6, 0.8, 0.95, 1.0)),
        )


@pytest.mark.parametrize(("steps", "quality"), [(4, 1.0), (3, 0.75), (2, 0.5), (1, 0.25)])
def test_a_quality_that_nobody_measured_is_the_share_of_steps(steps: int, quality: float) -> None:
    found = ladder([row(4, 32), row(3, 48), row(2, 64), row(1, 130)])
    assert found.rungs[4 - steps].quality == quality
