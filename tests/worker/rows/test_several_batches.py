"""Several batches under way, on the loop's own thread, with an engine that really works beside it."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from genlock_core.clock import ManualClock, SystemClock
from genlock_core.media import SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.sizing.step_time import StepTime
from genlock_worker.engines.contract import Change, Chunk, Fed, Frames, Row, StreamSettings, chunk_frames
from genlock_worker.engines.mock.device import DeviceLost, Faults
from genlock_worker.engines.mock.engine import MockEngine
from genlock_worker.engines.mock.timing import StepTiming
from genlock_worker.intake.chunks import InputChunk, SourceFrame
from genlock_worker.intake.pattern import draw
from genlock_worker.rows.cost_model import CostModel
from genlock_worker.rows.engine_client import EngineClient
from genlock_worker.rows.engine_loop import EngineLoop
from genlock_worker.rows.listener import GeneratedChunk
from genlock_worker.rows.session_rows import SessionPlan
from tests.worker.gateway import PATIENCE_S, until

WIDTH, HEIGHT = 64, 64
CHUNKS = 5


class Watched(MockEngine):
    """Says how many chunks each session was fed: the next one is offered only then, so that none is ever dropped."""

    fed: dict[str, int]

    def feed(self, session: str, chunk: Chunk, *, steps: int) -> Fed:
        fed = super().feed(session, chunk, steps=steps)
        self.fed[session.partition("#")[0]] = chunk.index + 1
        return fed


@dataclass(slots=True)
class Told:
    frames: dict[int, Frames] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    resets: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    def generated(self, chunk: GeneratedChunk) -> None:
        self.frames[chunk.chunk.index] = chunk.frames
        self.order.append(chunk.chunk.index)
        self.digests.append(chunk.checkpoint.state.sink_digest)

    def micro_step(self, *, seconds: float, rows: int, steps: int) -> None:
        pass

    def paced(self, every: int) -> None:
        pass

    def memory(self, size_bytes: int | None) -> None:
        pass

    def was_reset(self, reason: str, *, restored: bool) -> None:
        self.resets.append(reason)

    def began_anew(self, request: str | None) -> None:
        raise AssertionError(request)

    def gave_up(self, reason: str) -> None:
        self.ends.append(reason)


class Worker:
    """An engine with its loop and its sessions."""

    def __init__(self, *, depth: int, faults: Faults | None = None) -> None:
        clock = ManualClock()
        self.engine = Watched("m", StepTiming.instant(), clock, clock.advance, depth=depth, faults=faults)
        self.engine.fed = {}
        self.told: dict[str, Told] = {}
        self.loop = EngineLoop(
            self.engine,
            clock=SystemClock(),
            cost=CostModel(StepTime(0.0001, 0.0001)),
            metrics=WorkerMetrics(CollectorRegistry()),
            loop=asyncio.get_running_loop(),
        )
        self.client = EngineClient(self.loop)

    async def open(self, session: str, steps: int) -> None:
        self.told[session] = Told()
        plan = StreamSettings("oil", steps, WIDTH, HEIGHT, 16, seed=ord(session), noise_scale=0.7)
        await self.client.open(SessionPlan(session, "m", plan, 60.0, None), self.told[session])

    def offer(self, session: str, index: int) -> None:
        first = 0 if index == 0 else 5 + 4 * (index - 1)
        now_s = SystemClock().monotonic()
        frames = tuple(
            SourceFrame(
                SourcePosition(1, number), np.ascontiguousarray(draw(number, width=WIDTH, height=HEIGHT)), now_s
            )
            for number in range(first, first + chunk_frames(index))
        )
        self.client.offer(session, InputChunk(frames, now_s))

    async def play(self, session: str, chunks: int) -> None:
        for index in range(chunks):
            self.offer(session, index)
            await until(lambda count=index: self.engine.fed.get(session, 0) > count, f"chunk {index} of {session}")  # type: ignore[misc]
        await until(lambda: chunks - 1 in self.told[session].frames, f"the last pictures of {session}")


@asynccontextmanager
async def worker(*, depth: int, faults: Faults | None = None) -> AsyncIterator[Worker]:
    made = Worker(depth=depth, faults=faults)
    await made.loop.start()
    try:
        yield made
    finally:
        made.client.stop()
        await made.loop.stop()


async def outputs(plan: dict[str, int], *, depth: int, faults: Faults | None = None) -> dict[str, Told]:
    """What sessions show that are played side by side; `plan` has their steps."""
    async with worker(depth=depth, faults=faults) as one:
        for session, steps in plan.items():
            await one.open(session, steps)
        await asyncio.gather(*(one.play(session, CHUNKS) for session in plan))
        return one.told


class OutOfOrder(Faults):
    """Holds answers back as a seed says."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def held_back(self, number: int) -> bool:
        return self._random.random() < 0.4


@settings(max_examples=12, deadline=None)
@given(steps=st.lists(st.integers(1, 4), min_size=1, max_size=3), depth=st.integers(2, 4), seed=st.integers(0, 99))
def test_what_is_shown_does_not_depend_on_how_many_batches_are_under_way(
    steps: list[int], depth: int, seed: int
) -> None:
    plan = dict(zip("abc", steps, strict=False))
    alone = asyncio.run(outputs(plan, depth=1))
    several = asyncio.run(outputs(plan, depth=depth, faults=OutOfOrder(seed)))
    for session in plan:
        assert several[session].order == list(range(CHUNKS)), "in order and without holes"
        assert several[session].digests == alone[session].digests
        assert all(
            np.array_equal(several[session].frames[chunk], alone[session].frames[chunk]) for chunk in range(CHUNKS)
        )


class Counted(OutOfOrder):
    """Fails one session's row of a chunk, once, and says how many batches it saw at once."""

    def __init__(self, session: str, chunk: int) -> None:
        super().__init__(1)
        self._failing = session, chunk

    def verdict(self, row: Row) -> str | None:
        if (row.session.partition("#")[0], row.chunk) != self._failing:
            return None
        self._failing = "", -1
        return "NaN"


async def test_a_failure_that_comes_late_is_its_sessions_alone() -> None:
    async with worker(depth=3, faults=Counted("a", 2)) as one:
        for session in "ab":
            await one.open(session, 2)
        playing = asyncio.create_task(one.play("b", CHUNKS))
        told, index = one.told["a"], 0
        async with asyncio.timeout(PATIENCE_S):
            while not (told.resets == ["NaN"] and told.order and told.order[-1] > 2):
                one.offer("a", index)
                index += 1
                await asyncio.sleep(0.02)
        await playing
        undisturbed = await outputs({"b": 2}, depth=1)
        assert not one.told["b"].resets
        for chunk in range(CHUNKS):
            assert np.array_equal(one.told["b"].frames[chunk], undisturbed["b"].frames[chunk])
        assert one.told["a"].order == sorted(set(one.told["a"].order)), "nothing is shown twice or out of order"


class Losing(Faults):
    """Loses the device when it begins the batch of this number."""

    def __init__(self) -> None:
        self.lose = False

    def begins(self, number: int, rows: Sequence[Row]) -> None:
        if self.lose:
            self.lose = False
            raise DeviceLost("Xid 79: the GPU has fallen off the bus")


@pytest.mark.parametrize("depth", [1, 2, 4])
async def test_a_lost_device_takes_back_whoever_was_on_it_and_nobody_is_given_up(depth: int) -> None:
    faults = Losing()
    async with worker(depth=depth, faults=faults) as one:
        for session in "ab":
            await one.open(session, 2)
        for index in range(2):
            for session in "ab":
                one.offer(session, index)
            await until(lambda count=index: all(count in told.frames for told in one.told.values()), "both")  # type: ignore[misc]
        digests = {session: told.digests[-1] for session, told in one.told.items()}
        faults.lose = True
        index = 2
        async with asyncio.timeout(PATIENCE_S):
            while not all(told.order[-1] > 4 for told in one.told.values()):
                for session in "ab":
                    one.offer(session, index)
                index += 1
                await asyncio.sleep(0.01)
        assert any("Xid 79" in told.resets[0] for told in one.told.values() if told.resets)
        assert {session: told.digests[-1] for session, told in one.told.items()} == digests, "with their sinks"
        assert not any(told.ends for told in one.told.values())


class Hanging(Faults):
    """Hangs until it is let go."""

    def __init__(self) -> None:
        self.hang = False
        self.go_on = threading.Event()

    def begins(self, number: int, rows: Sequence[Row]) -> None:
        if self.hang:
            self.go_on.wait(20)


@pytest.mark.parametrize("depth", [1, 3])
async def test_a_device_that_never_completes_stops_the_progress_also_while_commands_arrive(depth: int) -> None:
    faults = Hanging()
    async with worker(depth=depth, faults=faults) as one:
        await one.open("a", 2)
        await one.play("a", 2)
        faults.hang = True
        for index in range(2, 4):
            one.offer("a", index)
        await until(lambda: len(one.loop._under_way) > 0, "a batch under way")
        await one.client.is_idle("a")
        await asyncio.sleep(0.05)  # what was being collected is
        stuck = one.loop.progress
        until_s = time.monotonic() + 0.6
        while time.monotonic() < until_s:
            one.client.apply("a", Change(noise_scale=0.5))
            assert not await one.client.is_idle("a")
        assert one.loop.progress == stuck
        faults.hang = False
        faults.go_on.set()
        await until(lambda: one.loop.progress > stuck + 1, "progress again")
