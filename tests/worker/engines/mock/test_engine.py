"""What the scheduler and the viewers may rely on: determinism, sinks, prompt and step changes, refusals, timing."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from genlock_core.clock import ManualClock
from genlock_core.sizing.step_time import StepTime
from genlock_worker.engines.contract import Change, Chunk, EngineFailure, EngineState, Frames, Row
from genlock_worker.engines.mock import MockEngine, StepTiming
from genlock_worker.engines.mock.words import Medium
from tests.worker.engines.driven import Driven
from tests.worker.engines.mock.streams import HEIGHT, WIDTH, chunk, difference, engine, play, settings


def test_chunks_come_out_in_their_size_and_only_from_the_last_row() -> None:
    mock = engine()
    mock.open("s", settings(steps=2))
    for index, frames in ((0, 5), (1, 4)):
        assert mock.feed("s", chunk(index)) == 2
        assert mock.run([Row("s", 0, index)])[0].output is None
        output = mock.run([Row("s", 1, index)])[0].output
        assert output is not None
        assert output.shape == (frames, HEIGHT, WIDTH, 3)
        assert output.dtype == np.uint8


@pytest.mark.parametrize("medium", list(Medium))
def test_every_medium_paints_the_input_at_every_step_count(medium: Medium) -> None:
    mock = engine()
    pictures = []
    for steps in (1, 4):
        for scene in (0, 1):
            session = f"{steps}-{scene}"
            mock.open(session, settings(medium.value, steps=steps))
            pictures.append(play(mock, session, range(2), scene=scene)[1])
    rough, other_rough, fine, other_fine = pictures
    assert difference(rough, fine) > 0.5
    assert difference(rough, other_rough) > 4
    assert difference(fine, other_fine) > 4
    assert rough.std() > 8


def test_prompt_and_seed_decide_the_picture() -> None:
    mock = engine()
    outputs = []
    for number, (prompt, seed) in enumerate([("oil", 7), ("neon", 7), ("oil", 8)]):
        mock.open(str(number), settings(prompt, seed=seed))
        outputs.append(play(mock, str(number), range(3))[-1])
    assert difference(outputs[0], outputs[1]) > 20
    assert difference(outputs[0], outputs[2]) > 0


def test_a_session_is_the_same_on_another_engine() -> None:
    first, second = engine(), engine()
    for mock in (first, second):
        mock.open("s", settings(steps=3))
    for a, b in zip(play(first, "s", range(5)), play(second, "s", range(5)), strict=True):
        assert np.array_equal(a, b)


PLANS = {"a": (settings("ink", steps=3, seed=1), 0), "b": (settings("oil winter", steps=2, seed=2), 1)}
CHUNKS = 4


def alone(session: str) -> list[Frames]:
    mock = engine()
    plan, scene = PLANS[session]
    mock.open(session, plan)
    return play(mock, session, range(CHUNKS), scene=scene)


@pytest.fixture(scope="module")
def expected() -> dict[str, list[bytes]]:
    return {session: [output.tobytes() for output in alone(session)] for session in PLANS}


def ready(fed: dict[str, int], done: dict[tuple[str, int], int]) -> list[Row]:
    """Rows whose turn it is: after chunk 0, the same chunk's row before and the same row of the chunk before."""
    rows = []
    for session, (plan, _) in PLANS.items():
        for step in range(plan.steps):
            turn = done.get((session, step), 0)
            limit = fed[session] if step == 0 else done.get((session, step - 1), 0)
            first = turn == 0 or done.get((session, plan.steps - 1), 0) > 0
            if turn < limit and first:
                rows.append(Row(session, step, turn))
    return rows


@limits(max_examples=12, deadline=None)
@given(data=st.data())
def test_output_never_depends_on_who_shares_a_micro_step(data: st.DataObject, expected: dict[str, list[bytes]]) -> None:
    mock = engine()
    for session, (plan, _) in PLANS.items():
        mock.open(session, plan)
    fed = dict.fromkeys(PLANS, 0)
    done: dict[tuple[str, int], int] = {}
    outputs: dict[str, list[bytes]] = {session: [] for session in PLANS}
    while any(len(found) < CHUNKS for found in outputs.values()):
        rows = ready(fed, done)
        hungry = [session for session in PLANS if fed[session] < CHUNKS]
        if hungry and (not rows or data.draw(st.booleans())):
            session = data.draw(st.sampled_from(hungry))
            mock.feed(session, chunk(fed[session], scene=PLANS[session][1]))
            fed[session] += 1
            continue
        chosen = data.draw(st.lists(st.sampled_from(rows), min_size=1, unique=True))
        for result in mock.run(chosen):
            done[result.row.session, result.row.step] = result.row.chunk + 1
            if result.output is not None:
                outputs[result.row.session].append(result.output.tobytes())
    assert outputs == expected


def with_sinks_of(state: EngineState, other: EngineState, sinks: tuple[int, ...]) -> EngineState:
    """`state` with the given sink frames of every row taken from another stream."""
    names = [f"r{row}.f{frame}" for row in range(2) for frame in sinks]
    swapped = {**state.blocks, **{name: other.blocks[name] for name in names}}
    return replace(state, blocks=swapped)


@pytest.mark.parametrize("prompt", ["a watercolour city", "oil", "ink", "neon", "pixel", "engraving", "film"])
def test_other_sinks_give_a_visibly_other_picture(prompt: str) -> None:
    mock = engine()
    plan = settings(prompt)
    mock.open("s", plan)
    mock.open("other", plan)
    play(mock, "s", range(6))
    play(mock, "other", range(6), scene=1)
    state, strange = mock.snapshot("s"), mock.snapshot("other")
    shown = play(mock, "s", range(6, 8))[-1]
    mock.restore("changed", plan, with_sinks_of(state, strange, (0, 1, 2)))
    assert mock.sink_digest("changed") != mock.sink_digest("s")
    assert difference(play(mock, "changed", range(6, 8))[-1], shown) > 4


@pytest.mark.parametrize("sink", [0, 1, 2])
def test_a_single_other_sink_shows(sink: int) -> None:
    mock = engine()
    plan = settings("oil")
    mock.open("s", plan)
    mock.open("other", plan)
    play(mock, "s", range(6))
    play(mock, "other", range(6), scene=1)
    state, strange = mock.snapshot("s"), mock.snapshot("other")
    mock.restore("changed", plan, with_sinks_of(state, strange, (sink,)))
    assert difference(play(mock, "changed", range(6, 8))[-1], play(mock, "s", range(6, 8))[-1]) > 4


def test_sinks_stay_what_they_were_and_the_window_moves_on() -> None:
    mock = engine()
    mock.open("s", settings())
    assert mock.sink_digest("s") == ""
    play(mock, "s", range(2))
    digest, early = mock.sink_digest("s"), set(mock.snapshot("s").blocks)
    play(mock, "s", range(2, 12))
    late = set(mock.snapshot("s").blocks)
    assert mock.sink_digest("s") == digest
    assert {f"r{row}.f{frame}" for row in range(2) for frame in range(3)} <= early & late
    assert late - early == {f"r{row}.f{frame}" for row in range(2) for frame in (10, 11, 12)}


def test_a_still_input_gives_a_still_picture() -> None:
    mock = engine()
    mock.open("s", settings())
    still = np.repeat(chunk(1).frames[:1], 5, axis=0)  # type: ignore[index]
    outputs = []
    for index in range(8):
        mock.feed("s", Chunk(index, still[: 5 if index == 0 else 4]))
        outputs += [
            result.output for step in range(2) if (result := mock.run([Row("s", step, index)])[0]).output is not None
        ]
    assert difference(outputs[-1], outputs[-2]) < 1.0
    assert difference(outputs[-1][:1], outputs[-1][-1:]) == 0.0


def test_a_new_prompt_arrives_without_a_cut_and_leaves_nothing_of_the_old() -> None:
    mock = engine()
    mock.open("s", settings("watercolour"))
    changed = np.concatenate(play(mock, "s", range(8), changes={3: Change(prompt="neon")}))
    before, after = changed[12], changed[-1]
    whole = difference(before, after)
    jumps = [difference(a, b) for a, b in pairwise(changed[12:28])]
    assert max(jumps) < whole / 3
    assert set(mock.snapshot("s").attributes["prompts"].values()) == {"neon"}  # type: ignore[attr-defined]


def test_a_change_leaves_chunks_in_flight_alone() -> None:
    changed, plain = engine(), engine()
    for mock in (changed, plain):
        mock.open("s", settings(steps=3))
        play(mock, "s", range(2))
        mock.feed("s", chunk(2))
        mock.run([Row("s", 0, 2)])
    changed.apply("s", Change(prompt="neon", steps=1, noise_scale=0.2))
    outputs = [[mock.run([Row("s", step, 2)])[0].output for step in (1, 2)][-1] for mock in (changed, plain)]
    assert outputs[0] is not None
    assert outputs[1] is not None
    assert np.array_equal(outputs[0], outputs[1])
    assert changed.feed("s", chunk(3)) == 1


def test_more_steps_start_from_the_last_rows_ring_without_a_jump() -> None:
    mock = engine()
    mock.open("s", settings("film", steps=2))
    mock.open("plain", settings("film", steps=2))
    changes = {4: Change(steps=4), 7: Change(steps=1)}
    raised = play(mock, "s", range(9), changes=changes)
    plain = play(mock, "plain", range(9))
    assert difference(raised[4], plain[4]) < 6
    sinks = {name for name in mock.snapshot("s").blocks if name.startswith("r0")}
    assert set(mock.snapshot("s").blocks) == sinks


def test_the_rows_that_are_new_carry_the_old_last_rows_frames() -> None:
    mock = engine()
    mock.open("s", settings(steps=2))
    play(mock, "s", range(5), changes={4: Change(steps=4)})
    rings = mock.snapshot("s").attributes["rings"]
    assert isinstance(rings, dict)
    for row in ("2", "3"):
        assert [name for _, name in rings[row]][:3] == ["r1.f0", "r1.f1", "r1.f2"]
        assert f"r{row}.f5" in [name for _, name in rings[row]]


def test_less_noise_leaves_more_of_the_input() -> None:
    mock = engine()
    source = chunk(2).frames
    assert source is not None
    distances = []
    for scale in (0.0, 0.3, 0.7):
        mock.open(str(scale), settings("oil", noise_scale=scale))
        distances.append(difference(play(mock, str(scale), range(3))[-1], source))
    assert distances == sorted(distances)


def test_a_session_without_a_source_moves_and_is_the_prompts() -> None:
    mock = engine()
    outputs = {}
    for prompt in ("a city at dusk in oil", "oil waves", "oil galaxy"):
        mock.open(prompt, settings(prompt, text_only=True))
        outputs[prompt] = play(mock, prompt, range(4), text_only=True)[-1]
        assert difference(outputs[prompt][:1], outputs[prompt][-1:]) > 0
    city, sea, space = outputs.values()
    assert min(difference(city, sea), difference(sea, space), difference(city, space)) > 8


def test_rows_that_are_not_ready_are_refused() -> None:
    mock = engine()
    mock.open("s", settings(steps=2))
    with pytest.raises(EngineFailure, match="is not in flight"):
        mock.run([Row("s", 0, 0)])
    mock.feed("s", chunk(0))
    mock.feed("s", chunk(1))
    with pytest.raises(EngineFailure, match="may not run yet"):
        mock.run([Row("s", 1, 0)])
    with pytest.raises(EngineFailure, match="may not run yet"):
        mock.run([Row("s", 0, 1)])


def test_a_row_that_cannot_run_leaves_the_others_as_they_were() -> None:
    mock = engine()
    for name in ("a", "b"):
        mock.open(name, settings(steps=2))
        mock.feed(name, chunk(0))
    with pytest.raises(EngineFailure, match="may not run yet") as failure:
        mock.run([Row("a", 0, 0), Row("b", 1, 0)])
    assert failure.value.session == "b"
    mock.run([Row("a", 0, 0)])


def test_wrong_use_is_refused_with_its_reason() -> None:
    mock = engine()
    mock.open("s", settings())
    with pytest.raises(ValueError, match="open already"):
        mock.open("s", settings())
    with pytest.raises(ValueError, match="chunk 0 comes next"):
        mock.feed("s", chunk(1))
    with pytest.raises(ValueError, match="no frames"):
        mock.feed("s", Chunk(0, None))
    with pytest.raises(ValueError, match="expected"):
        mock.feed("s", Chunk(0, chunk(1).frames))
    with pytest.raises(ValueError, match="steps"):
        mock.engine.feed("s", chunk(0), steps=5)
    with pytest.raises(ValueError, match="steps"):
        mock.open("t", settings(steps=0))
    mock.close("s")
    mock.close("s")
    with pytest.raises(ValueError, match="not open"):
        mock.feed("s", chunk(0))


def test_run_waits_for_the_time_the_hardware_would_take() -> None:
    clock = ManualClock()
    timing = StepTiming(StepTime(base_s=0.1, row_s=0.02))
    mock = Driven(MockEngine("m", timing, clock, clock.advance))
    for session in ("a", "b"):
        mock.open(session, settings(steps=1))
        mock.feed(session, chunk(0))
    start = clock.monotonic()
    mock.run([Row("a", 0, 0), Row("b", 0, 0)])
    assert clock.monotonic() - start == pytest.approx((0.1 + 2 * 0.02) * 5 / 4)


def test_run_returns_at_once_when_painting_took_longer() -> None:
    class Slow(ManualClock):
        def monotonic(self) -> float:
            self.advance(1.0)
            return super().monotonic()

    waits: list[float] = []
    timing = StepTiming(StepTime(base_s=0.5, row_s=0.0))
    mock = Driven(MockEngine("m", timing, Slow(), waits.append))
    mock.open("a", settings(steps=1))
    mock.feed("a", chunk(0))
    mock.run([Row("a", 0, 0)])
    assert waits == []
