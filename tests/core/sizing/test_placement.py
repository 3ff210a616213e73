import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_core.claims.identity import CAPACITY
from genlock_core.sizing.candidates import PoolShape, sessions_in_time
from genlock_core.sizing.placement import Placement, Unplaceable, UnplaceableKind, place, stand_in_mistakes
from genlock_core.sizing.profile import ChunkLatency, ProfileRow, load_profiles
from genlock_core.spec.session import (
    Approximation,
    Orientation,
    QualityMode,
    Resolution,
    ResolvedSession,
    SessionKey,
    StreamSessionSpec,
    resolve,
)

SEED = load_profiles()
SMALL, SQUARE, WIDE = (Resolution(width=w, height=h) for w, h in ((256, 256), (512, 512), (832, 480)))


def session(**changes: Any) -> ResolvedSession:
    spec = StreamSessionSpec(quality_mode=QualityMode.BALANCED)
    return resolve(SessionKey(name="demo"), spec).model_copy(update=changes)


def row(fps: float = 20.0, **changes: Any) -> ProfileRow:
    plain: dict[str, Any] = {
        "model": "wan2.1-1.3b", "resolution": WIDE, "steps": 2, "gpu_product": "H100", "gpus": 1, "source": "a test",
    }  # fmt: skip
    return ProfileRow(**{**plain, "fps_per_session": fps, **changes})


def pool(name: str = "p", gpus: int = 1, product: str = "H100", **changes: Any) -> PoolShape:
    return PoolShape(name, changes.pop("model", "wan2.1-1.3b"), product, gpus, changes.pop("engine", "mock"), **changes)


def placed(*arguments: Any) -> Placement:
    found = place(*arguments)
    assert isinstance(found, Placement), found
    return found


def costs(found: Placement) -> dict[str, int]:
    """At the session's own steps, by pool."""
    return {choice.pool: choice.cost for choice in found.choices}


def reasons(*arguments: Any) -> str:
    found = place(*arguments)
    assert isinstance(found, Unplaceable)
    return str(found)


@pytest.mark.parametrize(
    ("mode", "gpus", "cost"),
    [
        (QualityMode.BALANCED, 1, 1_000),
        (QualityMode.BALANCED, 4, 500),
        (QualityMode.LOW_LATENCY, 4, 250),
        (QualityMode.QUALITY, 4, 500),
    ],
)
def test_the_published_figures_place_the_quality_modes(mode: QualityMode, gpus: int, cost: int) -> None:
    asked = resolve(SessionKey(name="demo"), StreamSessionSpec(quality_mode=mode))
    found = placed(asked, SEED, [pool("local", gpus, "NVIDIA-H100")])
    assert costs(found) == {"local": cost}
    assert found.gpus == gpus * cost / 1_000
    assert "chunk latency" in found.unprofiled


def test_a_session_that_is_too_fast_for_the_gpu_says_what_would_help() -> None:
    text = reasons(session(steps=4), SEED, [pool("a", 1, "NVIDIA-H100")])
    assert "at best 13.9 fps at 832x480 and 4 steps, 16 fps are needed" in text
    assert "lower steps, resolution or frameRate, or use more GPUs" in text


def test_the_cheapest_pool_comes_first_and_every_pool_that_meets_the_slo_is_a_choice() -> None:
    rows = [row(17), row(70, gpus=2), row(15.9, gpus=4), row(40, gpu_product="L4")]
    pools = [pool("one"), pool("two", 2), pool("four", 4), pool("l4", 1, "L4"), pool("other", model="wan2.1-14b")]
    found = placed(session(), rows, pools)
    assert list(costs(found).items()) == [("l4", 500), ("two", 250), ("one", 1_000)]
    assert (found.row, found.sessions_per_worker, found.gpus) == (rows[3], 2, 0.5)


@pytest.mark.parametrize(
    ("sessions", "fps", "share"), [(1, 15.9, 0), (1, 16.0, 1), (1, 31.9, 1), (1, 48.0, 3), (3, 11.0, 2), (4, 16.0, 4)]
)
def test_a_worker_is_shared_by_as_many_as_its_measured_frames_serve(sessions: int, fps: float, share: int) -> None:
    assert sessions_in_time(row(fps, sessions=sessions), 16) == share


def test_a_harder_measurement_stands_in_where_the_sessions_own_is_missing() -> None:
    harder = row(20, steps=4)
    found = placed(session(resolution=SQUARE, steps=3), [harder], [pool()])
    assert found.row is harder
    assert "frame rate at the session's own shape (taken from 832x480, 4 steps)" in found.unprofiled
    assert "no profile of 832x480 at 2 steps or more" in reasons(session(), [row(99, steps=1)], [pool()])
    assert "no profile of 832x480" in reasons(session(), [row(99, resolution=SQUARE, steps=4)], [pool()])


def test_the_sessions_own_measurement_stands_before_a_harder_one() -> None:
    assert "10.0 fps" in reasons(session(), [row(10), row(40, steps=4)], [pool()])


def test_figures_of_the_reference_on_several_gpus_size_no_engine_of_ours() -> None:
    wide = session(model="wan2.1-14b")
    assert placed(wide, SEED, [pool("mock", 4, "NVIDIA-H100", model="wan2.1-14b")]).sessions_per_worker == 2
    text = reasons(wide, SEED, [pool("real", 4, "NVIDIA-H100", model="wan2.1-14b", engine="diffusion")])
    assert "no profile of this shape that counts for the diffusion engine (profiled: 1x NVIDIA-H100)" in text


def test_the_reference_on_one_gpu_stands_in_for_an_engine_and_that_is_named() -> None:
    real = pool("real", engine="diffusion")
    note = "frame rate with this engine (taken from the reference implementation)"
    assert note in placed(session(), [row(engine="reference")], [real]).unprofiled
    assert note not in placed(session(), [row(engine="diffusion")], [real]).unprofiled
    assert note not in placed(session(), [row(engine="reference")], [pool()]).unprofiled
    assert "at best 10.0 fps" in reasons(session(), [row(engine="reference"), row(10, engine="diffusion")], [real])


def test_figures_for_the_mock_place_nobody_on_a_real_engine() -> None:
    text = reasons(session(), [row(engine="mock")], [pool(engine="diffusion")])
    assert "counts for the diffusion engine (profiled: none)" in text


def test_profiled_latency_and_first_frame_are_checked() -> None:
    slow = ChunkLatency(p50=300, p95=400, p99=501)
    assert "501 ms (p99), frameDeadline is 500 ms" in reasons(session(), [row(chunk_latency_ms=slow)], [pool()])
    assert "first frame takes 501 ms" in reasons(session(), [row(first_frame_ms=501)], [pool()])
    found = placed(session(), [row(chunk_latency_ms=ChunkLatency(p50=1, p95=2, p99=500), first_frame_ms=500)], [pool()])
    assert found.unprofiled == ("GPU memory", "quality at 1, 2 steps (guessed by the number of steps)")


def test_a_latency_that_was_measured_with_fewer_sessions_is_named_as_unprofiled() -> None:
    found = placed(session(), [row(40, chunk_latency_ms=ChunkLatency(p50=1, p95=2, p99=3))], [pool()])
    assert "chunk latency with 2 sessions (measured with 1)" in found.unprofiled


@pytest.mark.parametrize(("memory", "share"), [(None, 5), (10_000, 5), (4_500, 3), (2_000, 1)])
def test_known_memory_bounds_the_share(memory: int | None, share: int) -> None:
    big = row(80, bytes_resident=1_000, bytes_per_session=1_000)
    assert placed(session(), [big], [pool(memory_bytes=memory)]).sessions_per_worker == share


@pytest.mark.parametrize(("memory", "word"), [(1_999, "not one session"), (999, "the model needs")])
def test_too_little_memory_is_a_reason(memory: int, word: str) -> None:
    big = row(80, bytes_resident=1_000, bytes_per_session=1_000)
    assert word in reasons(session(), [big], [pool(memory_bytes=memory)])


def test_what_is_missing_altogether_is_named() -> None:
    assert "no pool serves the model wan2.1-1.3b (served: wan2.1-14b)" in reasons(
        session(), SEED, [pool(model="wan2.1-14b")]
    )
    assert "no profile of the model wan2.1-1.3b (profiled: x)" in reasons(session(), [row(model="x")], [pool()])
    assert "no profile of this shape (profiled: 1x H100)" in reasons(session(), [row()], [pool(gpus=8)])
    assert "served: none" in reasons(session(), SEED, [])


@pytest.mark.parametrize(
    ("measured", "offered", "kind"),
    [
        ([row()], [], UnplaceableKind.NO_POOL),
        ([row()], [pool(model="wan2.1-14b")], UnplaceableKind.NO_POOL),
        ([], [pool()], UnplaceableKind.NO_PROFILE),
        ([row(model="x")], [pool()], UnplaceableKind.NO_PROFILE),
        ([row()], [pool(gpus=8)], UnplaceableKind.NO_POOL_OF_SHAPE),
        ([row(5)], [pool()], UnplaceableKind.NO_POOL_OF_SHAPE),
        ([row(first_frame_ms=9_000)], [pool(), pool("q", model="x")], UnplaceableKind.NO_POOL_OF_SHAPE),
    ],
)
def test_programs_are_told_what_is_missing(
    measured: list[ProfileRow], offered: list[PoolShape], kind: UnplaceableKind
) -> None:
    found = place(session(), measured, offered)
    assert isinstance(found, Unplaceable)
    assert found.kind is kind


def standing_in(*models: str) -> ResolvedSession:
    return session(approximation=Approximation(models=models))


def test_pools_of_models_that_may_stand_in_come_after_all_of_the_sessions_own_each_with_its_prices() -> None:
    rows = [row(20), row(80, model="light"), row(160, model="lighter")]
    offered = [pool("l", model="light"), pool("own-1"), pool("own-2"), pool("ll", model="lighter")]
    found = placed(standing_in("lighter", "light"), rows, offered)
    assert [(choice.pool, choice.model, choice.cost) for choice in found.choices] == [
        ("own-1", None, 1_000), ("own-2", None, 1_000), ("ll", "lighter", 100), ("l", "light", 200)
    ]  # fmt: skip
    alone = placed(session(model="light"), rows, offered)
    assert found.choices[-1] == replace(alone.choices[0], model="light")
    assert found.not_standing_in == {}
    assert (found.row.model, found.gpus) == ("wan2.1-1.3b", 1.0)


def test_a_model_that_cannot_stand_in_is_told_with_the_reason_and_costs_nobody_a_placement() -> None:
    rows = [row(20), row(8, model="slow"), row(80, model="nowhere")]
    found = placed(standing_in("slow", "nowhere", "unknown"), rows, [pool(), pool("s", model="slow")])
    assert [choice.pool for choice in found.choices] == ["p"]
    kinds = {model: why.kind for model, why in found.not_standing_in.items()}
    assert kinds == {
        "slow": UnplaceableKind.NO_POOL_OF_SHAPE,
        "nowhere": UnplaceableKind.NO_POOL,
        "unknown": UnplaceableKind.NO_POOL,
    }
    assert "16 fps are needed" in str(found.not_standing_in["slow"])
    (mistake,) = stand_in_mistakes(standing_in("slow", "nowhere", "unknown"), rows)
    assert mistake.startswith("approximation.models: there is no profile of the model unknown (profiled: nowhere, slow")


def test_a_session_whose_own_model_no_pool_has_in_time_is_not_placed_by_another() -> None:
    rows = [row(8), row(80, model="light")]
    assert "16 fps are needed" in reasons(standing_in("light"), rows, [pool(), pool("l", model="light")])


def test_no_session_costs_nothing_however_fast_the_worker_is() -> None:
    found = placed(session(frame_rate=1), [row(10**6)], [pool()])
    assert costs(found) == {"p": 1}


def test_each_pool_says_what_the_session_costs_at_any_steps() -> None:
    rows = [row(80, steps=1), row(40, steps=2), row(17, steps=4)]
    (choice,) = placed(session(steps=2), rows, [pool()]).choices
    assert (choice.cost, choice.levels) == (500, (200, 500, 1_000, 1_000))


def test_steps_that_no_measurement_finds_in_time_cost_the_whole_worker() -> None:
    (choice,) = placed(session(steps=1), [row(40, steps=1), row(9, steps=2)], [pool()]).choices
    assert choice.levels == (500, 1_000, 1_000, 1_000)


def test_more_steps_never_cost_less_than_fewer_whatever_was_measured() -> None:
    rows = [row(20, steps=1), row(40, steps=2), row(70, steps=3)]
    (choice,) = placed(session(steps=2), rows, [pool()]).choices
    assert choice.levels == (500, 500, 500, 1_000)


PRODUCTS, GPUS = ("H100", "L4"), (1, 2)
rows = st.lists(
    st.builds(
        row,
        st.floats(8, 200),
        resolution=st.sampled_from([SMALL, SQUARE, WIDE]),
        steps=st.integers(1, 4),
        gpu_product=st.sampled_from(PRODUCTS),
        gpus=st.sampled_from(GPUS),
        sessions=st.integers(1, 3),
        chunk_latency_ms=st.none() | st.floats(10, 900).map(lambda p99: ChunkLatency(p50=1, p95=2, p99=p99)),
        bytes_resident=st.none() | st.integers(0, 2_000),
        bytes_per_session=st.none() | st.integers(0, 500),
    ),
    min_size=1,
    max_size=8,
)
shapes = list(itertools.product(PRODUCTS, GPUS, (None, 2_500)))
pools = st.lists(st.sampled_from(shapes), min_size=1, max_size=5, unique=True).map(
    lambda picked: [pool(f"p{shapes.index(shape)}", shape[1], shape[0], memory_bytes=shape[2]) for shape in picked]
)
asked = st.builds(
    session,
    resolution=st.sampled_from([SMALL, SQUARE, WIDE]),
    steps=st.integers(1, 4),
    frame_rate=st.sampled_from([8, 16, 30]),
)


@given(asked, rows, pools)
@settings(max_examples=100, deadline=None)
def test_a_placement_keeps_its_promises(
    wanted: ResolvedSession, measured: Sequence[ProfileRow], offered: Sequence[PoolShape]
) -> None:
    found = place(wanted, measured, offered)
    if isinstance(found, Unplaceable):
        assert all(found.reasons)
        return
    by_name = {shape.name: shape for shape in offered}
    first = by_name[found.choices[0].pool]
    assert (found.row.gpu_product, found.row.gpus, found.row.model) == (first.gpu_product, first.gpus, first.model)
    assert found.row.tokens >= wanted.resolution.width * wanted.resolution.height // 256
    assert found.row.steps >= wanted.steps
    assert found.sessions_per_worker * wanted.frame_rate <= found.row.sessions * found.row.fps_per_session
    for choice in found.choices:
        assert 1 <= choice.cost <= CAPACITY
    assert found.choices[0].cost * found.sessions_per_worker <= CAPACITY


@given(asked, rows, pools)
@settings(max_examples=100, deadline=None)
def test_a_cheaper_pool_is_never_passed_over(
    wanted: ResolvedSession, measured: Sequence[ProfileRow], offered: Sequence[PoolShape]
) -> None:
    found = place(wanted, measured, offered)
    alone = [place(wanted, measured, [shape]) for shape in offered]
    able = [single for single in alone if isinstance(single, Placement)]
    assert isinstance(found, Placement) == bool(able)
    if isinstance(found, Placement):
        assert found.gpus == min(single.gpus for single in able)
        assert {choice.pool for choice in found.choices} == {single.choices[0].pool for single in able}


@given(asked, rows, pools, pools)
@settings(max_examples=100, deadline=None)
def test_more_pools_never_make_a_session_dearer_or_unplaceable(
    wanted: ResolvedSession, measured: Sequence[ProfileRow], offered: list[PoolShape], more: list[PoolShape]
) -> None:
    before = place(wanted, measured, offered)
    after = place(wanted, measured, [*offered, *(extra for extra in more if extra not in offered)])
    if isinstance(before, Placement):
        assert isinstance(after, Placement)
        assert after.gpus <= before.gpus


@given(asked, rows, rows, pools)
@settings(max_examples=100, deadline=None)
def test_a_new_measurement_that_meets_the_slo_only_ever_helps(
    wanted: ResolvedSession, measured: list[ProfileRow], more: list[ProfileRow], offered: list[PoolShape]
) -> None:
    before = place(wanted, measured, offered)
    good = [extra for extra in more if isinstance(place(wanted, [extra], offered), Placement)]
    if isinstance(before, Placement) or any(_has_a_say(extra, wanted, measured) for extra in good):
        assert isinstance(place(wanted, [*measured, *good], offered), Placement)


def _has_a_say(extra: ProfileRow, wanted: ResolvedSession, measured: Sequence[ProfileRow]) -> bool:
    """Whether nothing that was measured of the session itself, on that hardware, stands before the new row."""
    own = (extra.gpu_product, extra.gpus, wanted.resolution, wanted.steps)
    of_its_own = (extra.resolution, extra.steps) == (wanted.resolution, wanted.steps)
    return of_its_own or all((row.gpu_product, row.gpus, row.resolution, row.steps) != own for row in measured)


def test_an_upright_session_costs_what_it_costs_lying_and_is_as_exactly_measured() -> None:
    upright = session(resolution=WIDE.turned(Orientation.PORTRAIT))
    rows = [row(40.0), row(20.0, resolution=Resolution(width=1024, height=512))]
    lying, standing = (placed(one, rows, [pool()]) for one in (session(), upright))
    assert standing == lying
    assert standing.row.resolution == WIDE
