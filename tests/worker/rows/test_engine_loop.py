"""The engine's thread: rows of all sessions, changes, resets, and a progress that tells the truth."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from genlock_core.approximation.levels import Level
from genlock_core.claims.pulse import EnginePhase
from genlock_core.clock import SystemClock
from genlock_core.media import SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.sizing.step_time import StepTime
from genlock_core.spec.session import Resolution
from genlock_worker.engines.contract import (
    Change,
    EngineFailure,
    EngineMemory,
    StreamSettings,
    chunk_frames,
)
from genlock_worker.intake.chunks import InputChunk, SourceFrame
from genlock_worker.rows.cost_model import CostModel
from genlock_worker.rows.engine_client import EngineClient
from genlock_worker.rows.engine_loop import EngineLoop
from genlock_worker.rows.generation import MAX_FAILURES, MAX_RESTORES
from genlock_worker.rows.listener import GeneratedChunk
from genlock_worker.rows.session_rows import SessionPlan
from genlock_worker.rows.warm_up import WarmUpPlan
from tests.worker.gateway import until
from tests.worker.rows.tiny_engine import TinyEngine


@dataclass(slots=True)
class Told:
    chunks: list[GeneratedChunk] = field(default_factory=list)
    resets: list[str] = field(default_factory=list)
    restored: list[bool] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    paces: list[int] = field(default_factory=list)
    memories: list[int | None] = field(default_factory=list)
    fresh_starts: list[str | None] = field(default_factory=list)

    def generated(self, chunk: GeneratedChunk) -> None:
        self.chunks.append(chunk)

    def micro_step(self, *, seconds: float, rows: int, steps: int) -> None:
        self.steps.append(steps)

    def paced(self, every: int) -> None:
        self.paces.append(every)

    def memory(self, size_bytes: int | None) -> None:
        self.memories.append(size_bytes)

    def was_reset(self, reason: str, *, restored: bool) -> None:
        self.resets.append(reason)
        self.restored.append(restored)

    def began_anew(self, request: str | None) -> None:
        self.fresh_starts.append(request)

    def gave_up(self, reason: str) -> None:
        self.ends.append(reason)


class ClockThatJumps(SystemClock):
    ahead_s = 0.0
    asked = 0
    """How often the time was asked for: the engine's loop does in each of its turns."""

    def monotonic(self) -> float:
        self.asked += 1
        return super().monotonic() + self.ahead_s


class Rig:
    def __init__(self) -> None:
        self.engine = TinyEngine()
        self.clock = ClockThatJumps()
        self.metrics = WorkerMetrics(CollectorRegistry())
        self.loop = EngineLoop(
            self.engine,
            clock=self.clock,
            cost=CostModel(StepTime(0.001, 0.001)),
            metrics=self.metrics,
            loop=asyncio.get_running_loop(),
        )
        self.client = EngineClient(self.loop)
        self.told: Mapping[str, Told] = {}

    async def open(self, *sessions: str, steps: int = 2) -> None:
        self.told = {name: Told() for name in sessions}
        for name in sessions:
            settings = StreamSettings("oil", steps, 64, 64, 16, seed=1, noise_scale=0.7)
            await self.client.open(SessionPlan(name, "tiny", settings, 0.5, None), self.told[name])

    async def open_again(self, session: str) -> None:
        """With a prompt that was never prepared before, while nothing is being prepared."""
        self.engine.encoding.set()
        await self.open(session, steps=1)

    def offer(self, session: str, index: int, value: int = 0, *, late_s: float | None = None) -> int:
        """`late_s`: it was complete so long ago, by the clock of the loop; None: now, by the machine's."""
        picture = np.full((64, 64, 3), value, np.uint8)
        now_s = SystemClock().monotonic() if late_s is None else self.clock.monotonic() - late_s
        frames = [SourceFrame(SourcePosition(1, 10 * index + i), picture, now_s) for i in range(chunk_frames(index))]
        return self.client.offer(session, InputChunk(tuple(frames), now_s))

    async def turns(self) -> None:
        """The engine's loop goes round a few times."""
        asked = self.clock.asked
        await until(lambda: self.clock.asked >= asked + 6, "a few turns of the loop")

    async def generate(self, session: str, index: int) -> None:
        count = len(self.told[session].chunks)
        self.offer(session, index)
        await until(lambda: len(self.told[session].chunks) > count, f"chunk {index} of {session}")


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    await made.loop.start()
    yield made
    made.engine.running.set()
    made.engine.encoding.set()
    made.client.stop()
    await made.loop.stop()
    assert made.engine.stopped


async def test_chunks_pass_every_step_and_come_out_in_order(rig: Rig) -> None:
    await rig.open("a", steps=3)
    for index in range(4):
        await rig.generate("a", index)
    assert [done.chunk.index for done in rig.told["a"].chunks] == [0, 1, 2, 3]
    assert [(row.step, row.chunk) for batch in rig.engine.batches for row in batch] == [
        (step, chunk) for chunk in range(4) for step in range(3)
    ]
    assert rig.told["a"].chunks[-1].checkpoint.source == SourcePosition(1, 33)
    assert await rig.client.is_idle("a")


async def test_sessions_that_wait_together_share_a_forward(rig: Rig) -> None:
    await rig.open("a", "b", "c", steps=1)
    rig.engine.running.clear()
    rig.offer("a", 0)
    await until(lambda: rig.engine.taken, "a forward of the first alone")
    rig.offer("b", 0)
    rig.offer("c", 0)
    rig.engine.running.set()
    await until(lambda: all(told.chunks for told in rig.told.values()), "all three")
    assert {row.session for row in rig.engine.batches[-1]} == {"b", "c"}


async def test_a_stuck_engine_keeps_one_chunk_and_stops_the_progress(rig: Rig) -> None:
    await rig.open("a", steps=1)
    await rig.generate("a", 0)
    rig.engine.running.clear()
    rig.offer("a", 1, value=1)
    await until(lambda: len(rig.engine.taken) == 2, "the forward that never ends")
    stuck = rig.loop.progress
    dropped = [rig.offer("a", index, value=index) for index in range(2, 30)]
    assert sum(dropped) == 4 * 27
    rig.clock.ahead_s = 60.0
    assert rig.loop.progress == stuck
    rig.engine.running.set()
    await until(lambda: len(rig.told["a"].chunks) == 3, "what is left")
    assert rig.told["a"].chunks[-1].frames[0, 0, 0, 0] == 29, "the newest input, not the oldest"


async def test_a_decoder_that_hangs_stops_the_progress_and_one_that_works_does_not(rig: Rig) -> None:
    await rig.open("a", steps=1)
    rig.engine.undecoded = Future()
    rig.offer("a", 0)
    await until(lambda: rig.engine.batches, "the forward")
    await rig.turns()
    stuck = rig.loop.progress
    await rig.turns()
    assert rig.loop.progress == stuck
    rig.engine.progress += 1
    assert rig.loop.progress == stuck + 1, "a part that the device has finished"
    assert not await rig.client.is_idle("a")
    rig.engine.undecoded.set_result(np.zeros((5, 64, 64, 3), np.uint8))
    await until(lambda: rig.loop.progress > stuck + 1 and rig.told["a"].chunks, "the pictures, and progress")
    assert await rig.client.is_idle("a")


async def test_pictures_that_cannot_be_shown_reset_their_session(rig: Rig) -> None:
    await rig.open("a", steps=1)
    rig.engine.undecoded = Future()
    rig.offer("a", 0)
    await until(lambda: rig.engine.batches, "the forward")
    rig.engine.undecoded.set_exception(EngineFailure("a", "not finite"))
    await until(lambda: rig.told["a"].resets, "the reset")
    assert rig.told["a"].resets == ["not finite"]
    rig.engine.undecoded = None
    await rig.generate("a", 0)


async def test_parts_that_the_engine_finished_in_a_long_call_are_progress(rig: Rig) -> None:
    await rig.open("a", steps=1)
    rig.engine.running.clear()
    rig.offer("a", 0)
    await until(lambda: ("a", 0) in rig.engine.fed, "the chunk fed")
    stuck = rig.loop.progress
    rig.engine.progress += 3
    assert rig.loop.progress == stuck + 3


async def test_the_engines_memory_is_shown_as_it_is_shared_out(rig: Rig) -> None:
    def shown(part: str) -> float | None:
        return rig.metrics.registry.get_sample_value("genlock_engine_memory_bytes", {"part": part})

    await rig.open("a")
    assert shown("sessions") is None, "an engine that counts no bytes shows none"
    rig.engine.memory = EngineMemory(resident_bytes=100, taken_bytes=20, free_bytes=30)
    await until(lambda: [shown(part) for part in ("resident", "sessions", "free")] == [100, 20, 30], "the figures")


async def test_a_session_is_told_what_it_takes_of_the_memory_when_that_changes(rig: Rig) -> None:
    rig.engine.sizes = 100
    await rig.open("a", steps=2)
    await until(lambda: rig.told["a"].memories == [200], "what it takes from the start")
    await rig.generate("a", 0)
    rig.client.apply("a", Change(steps=3))
    await rig.generate("a", 1)
    await until(lambda: rig.told["a"].memories == [200, 300], "what another step takes")


async def test_a_session_that_is_reset_begins_anew_and_keeps_what_its_user_wants(rig: Rig) -> None:
    await rig.open("a", "b", steps=1)
    for index in range(3):
        await rig.generate("a", index)
        await rig.generate("b", index)
    rig.client.apply("a", Change(steps=2, noise_scale=0.3))
    rig.client.apply("a", Change(prompt="oil", reset="7-0"))
    await until(lambda: rig.told["a"].fresh_starts, "the fresh start")
    await rig.generate("a", 0)
    assert (rig.told["a"].fresh_starts, rig.told["a"].resets) == (["7-0"], [])
    assert (rig.told["a"].chunks[-1].chunk.index, rig.told["a"].steps[-1]) == (0, 2)
    await rig.generate("b", 3)
    assert rig.told["b"].chunks[-1].chunk.index == 3, "the others go on"
    rig.engine.failures = [EngineFailure("a", "NaN")]
    rig.offer("a", 1)
    await until(lambda: rig.told["a"].resets, "the failure")
    await rig.generate("a", 1)
    assert rig.told["a"].chunks[-1].chunk.index == 1, "what it goes back to is of after the fresh start"


async def test_a_fresh_start_that_fails_goes_back_to_nothing_older(rig: Rig) -> None:
    await rig.open("a", steps=1)
    await rig.generate("a", 0)
    await rig.generate("a", 1)
    rig.engine.refusals = 1
    rig.client.apply("a", Change(prompt="oil", reset="7-0"))
    await until(lambda: rig.told["a"].resets, "the failure")
    assert (rig.told["a"].fresh_starts, rig.told["a"].restored) == (["7-0"], [False])
    await rig.generate("a", 0)


async def test_the_steps_that_a_session_is_told_are_those_that_run(rig: Rig) -> None:
    await rig.open("a", steps=2)
    await rig.generate("a", 0)
    rig.engine.most_steps = 3
    rig.client.apply("a", Change(steps=4))
    await rig.generate("a", 1)
    assert (rig.told["a"].steps[0], rig.told["a"].steps[-1]) == (2, 3)


def _has_chunks(told: Told, count: int) -> bool:
    return len(told.chunks) == count


async def test_a_session_whose_chunks_come_late_wants_fewer_frames_and_all_once_its_user_asks_for_steps(
    rig: Rig,
) -> None:
    settings = StreamSettings("oil", 1, 64, 64, 16, seed=1, noise_scale=0.7)
    told = Told()
    rig.told = {"a": told}
    await rig.client.open(SessionPlan("a", "tiny", settings, 0.5, 1, may_halve=True), told)
    for index in range(6):
        rig.clock.ahead_s += 0.3
        rig.offer("a", index, late_s=1.0)
        await until(partial(_has_chunks, told, index + 1), f"chunk {index}")
    assert told.paces == [2]
    assert rig.metrics.registry.get_sample_value("genlock_frame_rate_changes_total", {"cause": "overload"}) == 1
    assert rig.metrics.registry.get_sample_value("genlock_step_changes_total", {"cause": "overload"}) is None

    rig.client.apply("a", Change(steps=1))
    await until(lambda: told.paces == [2, 1], "every frame")


async def test_a_limit_holds_from_the_next_chunk_on_and_the_source_is_told_before_it_is_answered(rig: Rig) -> None:
    await rig.open("a", steps=4)
    told = rig.told["a"]
    await rig.generate("a", 0)

    assert await rig.client.limit("a", Level(1, every=2)) == Level(1, every=2)
    assert told.paces == [2]
    await rig.generate("a", 1)
    assert await rig.client.limit("a", Level(1, every=2)) is None, "it runs so already"
    assert await rig.client.limit("a", Level(3)) == Level(3)
    await rig.generate("a", 2)

    assert told.paces == [2, 1]
    assert [chunk.chunk.steps for chunk in told.chunks] == [4, 1, 3]
    assert _changes(rig, "genlock_step_changes") == 2
    assert _changes(rig, "genlock_frame_rate_changes") == 2
    assert await rig.client.limit("nobody", Level(1)) is None


def _changes(rig: Rig, name: str) -> float | None:
    value: float | None = rig.metrics.registry.get_sample_value(f"{name}_total", {"cause": "granted"})
    return value


async def test_a_session_that_opens_at_half_its_frames_says_so_before_its_first_chunk(rig: Rig) -> None:
    told = Told()
    settings = StreamSettings("oil", 2, 64, 64, 16, seed=1, noise_scale=0.7)
    plan = SessionPlan("a", "tiny", settings, 0.5, None, granted=Level(1, every=2))
    await rig.client.open(plan, told)
    assert told.paces == [2]


async def test_a_session_that_gives_way_is_held_by_the_lower_of_both(rig: Rig) -> None:
    settings = StreamSettings("oil", 4, 64, 64, 16, seed=1, noise_scale=0.7)
    told = Told()
    rig.told = {"a": told}
    await rig.client.open(SessionPlan("a", "tiny", settings, 0.5, 1), told)
    for index in range(4):
        rig.clock.ahead_s += 0.6
        rig.offer("a", index, late_s=1.0)
        await until(partial(_has_chunks, told, index + 1), f"chunk {index}")
    reflex = told.chunks[-1].chunk.steps
    assert reflex < 4

    assert await rig.client.limit("a", Level(reflex)) is None, "it runs no more already"
    assert await rig.client.limit("a", Level(1)) == Level(1)
    assert await rig.client.limit("a", Level(4)) == Level(reflex), "what it gave way for is not over yet"


async def test_an_idle_loop_makes_progress(rig: Rig) -> None:
    before = rig.loop.progress
    await until(lambda: rig.loop.progress >= before + 3, "idle progress")


async def test_a_failure_takes_one_session_back_to_its_checkpoint(rig: Rig) -> None:
    await rig.open("a", "b", steps=1)
    await rig.generate("a", 0)
    await rig.generate("a", 1)
    await rig.generate("b", 0)
    rig.engine.failures = [EngineFailure("a", "NaN")]
    rig.offer("a", 2)
    await until(lambda: rig.told["a"].resets, "the reset")
    assert rig.engine.last["a"] == 1
    assert not rig.told["b"].resets
    await rig.generate("a", 2)
    assert rig.told["a"].chunks[-1].chunk.index == 2


async def test_memory_that_runs_out_in_the_second_of_two_batches_costs_one_session_that_chunk(rig: Rig) -> None:
    rig.engine.depth = 2
    await rig.open("a", "b", steps=1)
    for session in ("a", "b"):
        await rig.generate(session, 0)
    rig.engine.running.clear()
    rig.engine.late_failures["a", 2] = "a row does not fit into memory"
    for session in ("a", "b"):
        rig.offer(session, 1)
        await until(lambda name=session: (name, 1) in rig.engine.fed, "the first chunk under way")  # type: ignore[misc]
    batches = len(rig.engine.taken)
    rig.engine.running.set()
    await until(lambda: all(len(told.chunks) == 2 for told in rig.told.values()), "both first chunks")
    rig.engine.running.clear()
    rig.offer("b", 2)
    await until(lambda: len(rig.engine.taken) > batches, "a batch under way")
    rig.offer("a", 2)
    await until(lambda: ("a", 2) in rig.engine.fed, "a second one")
    rig.engine.running.set()
    await until(lambda: rig.told["a"].resets and len(rig.told["b"].chunks) == 3, "one goes back, the other on")
    assert rig.told["a"].resets == ["a row does not fit into memory"]
    assert rig.told["a"].restored == [True]
    assert not rig.told["b"].resets
    del rig.engine.late_failures["a", 2]
    await rig.generate("a", 2)
    assert [told.chunk.index for told in rig.told["a"].chunks] == [0, 1, 2]


async def test_an_unexpected_fault_of_the_engine_does_not_end_the_loop(rig: Rig) -> None:
    await rig.open("a", steps=1)
    rig.engine.failures = [RuntimeError("illegal memory access")]
    rig.offer("a", 0)
    await until(lambda: rig.told["a"].resets, "the reset")
    assert "illegal memory access" in rig.told["a"].resets[0]
    await rig.generate("a", 0)


async def test_a_session_starts_anew_where_its_checkpoint_leads_nowhere(rig: Rig) -> None:
    await rig.open("a", steps=1)
    await rig.generate("a", 0)
    await rig.generate("a", 1)
    for _ in range(MAX_RESTORES + 1):
        resets = len(rig.told["a"].resets)
        rig.engine.failures = [EngineFailure("a", "row 0 is not ready")]
        rig.offer("a", 2)
        await until(lambda count=resets: len(rig.told["a"].resets) > count, "the reset")  # type: ignore[misc]
    assert rig.told["a"].restored == [True] * MAX_RESTORES + [False]
    await rig.generate("a", 0)
    assert (rig.told["a"].chunks[-1].chunk.index, rig.told["a"].ends) == (0, [])


async def test_a_checkpoint_that_the_engine_refuses_is_no_reason_to_fail(rig: Rig) -> None:
    await rig.open("a", steps=1)
    await rig.generate("a", 0)
    checkpoint = rig.told["a"].chunks[-1].checkpoint
    rig.client.close("a")
    rig.engine.unusable = True
    settings = StreamSettings("oil", 1, 64, 64, 16, seed=1, noise_scale=0.7)
    plan = SessionPlan("a", "tiny", settings, 0.5, None)
    assert await rig.client.open(plan, rig.told["a"], checkpoint=checkpoint) is False
    await rig.generate("a", 0)


async def test_of_sessions_that_fail_together_only_the_one_at_fault_is_given_up(rig: Rig) -> None:
    await rig.open("a", "b", steps=1)
    rig.engine.poison = "a"
    while not rig.told["a"].ends:
        for name in ("a", "b"):
            rig.offer(name, len(rig.told[name].chunks))
        await asyncio.sleep(0.01)
    assert not rig.told["b"].ends
    await rig.generate("b", len(rig.told["b"].chunks))


async def test_a_session_that_fails_again_and_again_is_given_up(rig: Rig) -> None:
    await rig.open("a", "b", steps=1)
    for _ in range(MAX_FAILURES + 1):
        resets = len(rig.told["a"].resets) + len(rig.told["a"].ends)
        rig.engine.failures = [EngineFailure("a", "NaN")]
        rig.offer("a", 0)
        await until(lambda count=resets: len(rig.told["a"].resets) + len(rig.told["a"].ends) > count, "a failure")  # type: ignore[misc]
    assert rig.told["a"].ends
    await rig.generate("b", 0)


async def test_changes_reach_the_engine_before_the_next_chunk(rig: Rig) -> None:
    await rig.open("a", steps=1)
    await rig.generate("a", 0)
    rig.client.apply("a", Change(prompt="neon", steps=3))
    await until(lambda: ("a", Change(prompt="neon")) in rig.engine.changes, "the prompt")
    await rig.generate("a", 1)
    assert rig.told["a"].chunks[-1].chunk.steps == 3


async def test_nobody_waits_while_a_prompt_is_prepared(rig: Rig) -> None:
    await rig.open("a", "b", steps=1)
    await rig.generate("a", 0)
    rig.engine.encoding.clear()
    rig.client.apply("a", Change(prompt="neon"))
    await until(lambda: "neon" in rig.engine.prepared, "the preparation")
    before = rig.loop.progress
    await rig.generate("b", 0)
    await rig.generate("a", 1)
    assert rig.loop.progress > before
    assert rig.engine.wanted == []
    rig.engine.encoding.set()
    await until(lambda: rig.engine.wanted == [("a", Change(prompt="neon"))], "the change")


async def test_changes_keep_their_order_behind_a_prompt_that_is_prepared(rig: Rig) -> None:
    await rig.open("a", "b", steps=1)
    rig.engine.encoding.clear()
    rig.client.apply("a", Change(prompt="neon", noise_scale=0.5))
    for change in (Change(noise_scale=0.6), Change(prompt="ink"), Change(prompt="gouache"), Change(noise_scale=0.7)):
        rig.client.apply("a", change)
    rig.client.apply("b", Change(noise_scale=0.8))
    await until(lambda: len(rig.engine.wanted) == 1, "the change of the other session")
    rig.engine.encoding.set()
    await until(lambda: len(rig.engine.wanted) == 3, "all changes")
    assert rig.engine.wanted == [
        ("b", Change(noise_scale=0.8)),
        ("a", Change(prompt="neon", noise_scale=0.5)),
        ("a", Change(prompt="gouache", noise_scale=0.7)),
    ]
    assert "ink" not in rig.engine.prepared


async def test_a_prompt_that_cannot_be_prepared_leaves_the_old_one(rig: Rig) -> None:
    await rig.open("a", steps=1)
    rig.engine.unspeakable = "neon"
    rig.client.apply("a", Change(prompt="neon", noise_scale=0.5))
    await until(lambda: bool(rig.engine.wanted), "the rest of the change")
    assert rig.engine.wanted == [("a", Change(noise_scale=0.5))]
    await rig.generate("a", 0)


async def test_a_session_whose_prompt_cannot_be_prepared_is_not_opened(rig: Rig) -> None:
    rig.engine.unspeakable = "oil"
    with pytest.raises(EngineFailure, match="no such words"):
        await rig.open("a")
    assert rig.engine.open_sessions == {}


async def test_a_session_that_is_closed_while_its_prompt_is_prepared_is_never_opened(rig: Rig) -> None:
    rig.engine.encoding.clear()
    opening = asyncio.create_task(rig.open("a"))
    await until(lambda: "oil" in rig.engine.prepared, "the preparation")
    rig.client.close("a")
    rig.engine.encoding.set()
    with pytest.raises(EngineFailure, match="closed"):
        await opening
    assert rig.engine.open_sessions == {}


async def test_a_change_of_a_session_that_is_closed_meanwhile_comes_to_nothing(rig: Rig) -> None:
    await rig.open("a", steps=1)
    rig.engine.encoding.clear()
    rig.client.apply("a", Change(prompt="neon"))
    await until(lambda: "neon" in rig.engine.prepared, "the preparation")
    rig.client.close("a")
    await rig.open_again("a")
    assert rig.engine.wanted == []
    await rig.generate("a", 0)


async def test_a_session_goes_on_from_its_checkpoint_before_another_prompt_is_prepared(rig: Rig) -> None:
    await rig.open("a", steps=1)
    await rig.generate("a", 0)
    checkpoint = rig.told["a"].chunks[-1].checkpoint
    rig.client.close("a")
    rig.engine.encoding.clear()
    settings = StreamSettings("neon", 1, 64, 64, 16, seed=1, noise_scale=0.7)
    plan = SessionPlan("a", "tiny", settings, 0.5, None)
    assert await rig.client.open(plan, rig.told["a"], checkpoint=checkpoint) is True
    await rig.generate("a", 1)
    rig.engine.encoding.set()
    await until(lambda: ("a", Change(prompt="neon")) in rig.engine.wanted, "the prompt that was wanted")


async def test_the_phase_says_why_the_engine_may_show_no_progress(rig: Rig) -> None:
    await rig.open("a", steps=1)
    rig.engine.running.clear()
    rig.offer("a", 0)
    await until(lambda: rig.client.phase is EnginePhase.WARMING_UP, "its first chunk, which is under way")
    rig.engine.running.set()
    await until(lambda: rig.told["a"].chunks, "the first chunk")
    await until(lambda: rig.client.phase is EnginePhase.STEPPING, "the end of the warm-up")

    rig.engine.running.clear()
    rig.offer("a", 1)
    phases: set[EnginePhase] = set()

    def look() -> bool:
        phases.add(rig.client.phase)
        return True

    await until(lambda: look() and rig.loop._under_way.sessions, "the second chunk, under way")
    rig.engine.running.set()
    await until(lambda: look() and len(rig.told["a"].chunks) == 2, "the second chunk")
    assert phases == {EnginePhase.STEPPING}, "it has shown a chunk: this one is like any other"

    checkpoint = rig.told["a"].chunks[-1].checkpoint
    rig.client.close("a")
    rig.engine.running.clear()
    plan = SessionPlan("a", "tiny", StreamSettings("oil", 1, 64, 64, 16, seed=1, noise_scale=0.7), 0.5, None)
    opening = asyncio.create_task(rig.client.open(plan, rig.told["a"], checkpoint=checkpoint))
    await until(lambda: rig.client.phase is EnginePhase.RESTORING, "the restoration")
    rig.engine.running.set()
    assert await opening
    await until(lambda: rig.client.phase is EnginePhase.STEPPING, "the end of the restoration")


async def test_a_session_cannot_be_open_twice(rig: Rig) -> None:
    await rig.open("a")
    with pytest.raises(ValueError, match="is open"):
        await rig.open("a")


async def test_a_closed_session_drops_what_comes(rig: Rig) -> None:
    await rig.open("a")
    rig.client.close("a")
    assert await rig.client.is_idle("a")
    assert rig.offer("a", 0) == 5


async def test_a_fault_of_the_thread_is_told_by_its_name(rig: Rig) -> None:
    class Burst(Exception):
        pass

    def burst() -> None:
        raise Burst("a pipe")

    rig.loop.thread.command(burst)
    assert await asyncio.wait_for(rig.loop.thread.crashed, 20) == "Burst: a pipe"


async def test_who_has_a_command_does_not_sleep(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.loop.stop()

    def wait(_: float) -> bool:
        raise AssertionError("it sleeps")

    monkeypatch.setattr(rig.loop.thread.lock, "wait", wait)
    rig.loop.thread._stopping = False
    rig.loop.thread._commands.append(lambda: None)
    rig.loop.thread.sleep(1.0)
    rig.loop.thread._commands.clear()
    with pytest.raises(AssertionError, match="it sleeps"):
        rig.loop.thread.sleep(1.0)
    rig.loop.thread._stopping = True
    rig.loop.thread.sleep(1.0)


async def test_a_thread_that_is_stuck_is_left_behind(rig: Rig) -> None:
    hangs, stuck = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        stuck.wait(20)

    rig.loop.thread.command(hang)
    assert await asyncio.to_thread(hangs.wait, 20)
    await asyncio.wait_for(rig.loop.stop(timeout_s=0.01), 10)
    assert rig.loop.thread._thread.is_alive()
    stuck.set()


async def test_a_warm_up_is_run_before_the_first_turn_and_its_seconds_are_shown() -> None:
    rig = Rig()
    size = Resolution(width=64, height=64)
    plan = WarmUpPlan(StreamSettings("oil", 2, 64, 64, 16, seed=1, noise_scale=0.7), (size,))
    told = list[str]()
    warmed_up = await rig.loop.start(plan, tell=told.append)
    assert warmed_up is not None
    assert warmed_up.sizes == (size,)
    assert told == ["a session of 64x64", "graphs"]
    assert rig.engine.restored == ["warm-up again"]
    assert not rig.engine.open_sessions
    shown = rig.metrics.registry.get_sample_value
    assert shown("genlock_worker_warm_up_seconds") == warmed_up.seconds
    assert shown("genlock_worker_warm_up_lacks") == 0
    rig.client.stop()
    await rig.loop.stop()


async def test_stopping_does_not_wait_for_a_prompt(rig: Rig) -> None:
    await rig.open("a")
    rig.engine.encoding.clear()
    rig.client.apply("a", Change(prompt="ink"))
    await until(lambda: "ink" in rig.engine.prepared, "a prompt that is being prepared")
    await asyncio.wait_for(asyncio.to_thread(rig.client.stop), 10)
    assert not rig.engine.encoding.is_set()
