"""The diffusion engine under the worker's loop: what goes wrong in it costs one session at most, and is told."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prometheus_client import CollectorRegistry

from genlock_core.approximation.levels import Level
from genlock_core.clock import SystemClock
from genlock_core.media import SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.process import logs
from genlock_core.sizing.step_time import StepTime
from genlock_core.spec.session import Resolution
from genlock_worker import main
from genlock_worker.engines.contract import Change, EngineFailure, Frames, StreamSettings, chunk_frames
from genlock_worker.engines.diffusion.engine import DiffusionEngine
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.intake.chunks import InputChunk, SourceFrame
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.rows.cost_model import CostModel
from genlock_worker.rows.engine_client import EngineClient
from genlock_worker.rows.engine_loop import EngineLoop
from genlock_worker.rows.listener import GeneratedChunk
from genlock_worker.rows.session_rows import SessionPlan
from genlock_worker.rows.warm_up import WarmUpPlan
from tests.worker.engines.diffusion.streams import (
    HEIGHT,
    WIDTH,
    BlockVae,
    caches,
    chunk,
    components,
    diffusion_engine,
    settings,
)
from tests.worker.gateway import until

PATIENCE_S = 60


@dataclass
class Told:
    """What a session was told."""

    chunks: list[GeneratedChunk] = field(default_factory=list)
    resets: list[tuple[str, bool]] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    memories: list[int | None] = field(default_factory=list)
    fresh_starts: list[str | None] = field(default_factory=list)
    paces: list[int] = field(default_factory=list)

    def generated(self, chunk: GeneratedChunk) -> None:
        self.chunks.append(chunk)

    def micro_step(self, *, seconds: float, rows: int, steps: int) -> None:
        self.steps.append(steps)

    def paced(self, every: int) -> None:
        self.paces.append(every)

    def memory(self, size_bytes: int | None) -> None:
        self.memories.append(size_bytes)

    def was_reset(self, reason: str, *, restored: bool) -> None:
        self.resets.append((reason, restored))

    def began_anew(self, request: str | None) -> None:
        self.fresh_starts.append(request)

    def gave_up(self, reason: str) -> None:
        self.ends.append(reason)

    @property
    def frames(self) -> list[Frames]:
        return [chunk.frames for chunk in self.chunks]


class RowByRow:
    """The tiny network, every row in a forward of its own, so that no bit of a row depends on who shares its batch.

    A batch is held back while `go` is not set. Then `judge` sees it: the rows that it names are answered with NaN.
    """

    def __init__(self, judge: Callable[[RowBatch], Sequence[int]] = lambda _: ()) -> None:
        self.judge = judge
        self.go = threading.Event()
        self.batches = list[int]()
        self.go.set()

    def __call__(self, batch: RowBatch) -> Denoised:
        self.batches.append(batch.rows)
        self.go.wait(PATIENCE_S)
        poisoned = self.judge(batch)
        answers = [components().transformer(_alone(batch, row)) for row in range(batch.rows)]
        flow = torch.cat([answer.flow for answer in answers])
        flow[list(poisoned)] = float("nan")
        return Denoised(flow, torch.cat([answer.similarity for answer in answers]))


def _alone(batch: RowBatch, row: int) -> RowBatch:
    one = slice(row, row + 1)
    changed: dict[str, Any] = {
        name.name: getattr(batch, name.name)[one]
        for name in fields(batch)
        if isinstance(getattr(batch, name.name), torch.Tensor)
    }
    return replace(batch, **changed, host=batch.host[one])


class InWorker:
    """An engine with its loop."""

    def __init__(self, one: DiffusionEngine) -> None:
        self.engine = one
        self.metrics = WorkerMetrics(CollectorRegistry())
        self.told: dict[str, Told] = {}
        self.loop = EngineLoop(
            one,
            clock=SystemClock(),
            cost=CostModel(StepTime(0.001, 0.001)),
            metrics=self.metrics,
            loop=asyncio.get_running_loop(),
        )
        self.client = EngineClient(self.loop)

    async def open(
        self, session: str, plan: StreamSettings | None = None, *, checkpoint: Checkpoint | None = None
    ) -> bool:
        self.told[session] = Told()
        whole = SessionPlan(session, "tiny", plan or settings(), deadline_s=60.0, min_steps=None)
        return await self.client.open(whole, self.told[session], checkpoint=checkpoint)

    def offer(
        self, session: str, index: int, *, width: int = WIDTH, height: int = HEIGHT, text_only: bool = False
    ) -> None:
        now_s = SystemClock().monotonic()
        pictures = [None] * chunk_frames(index) if text_only else chunk(index, width=width, height=height).frames
        assert pictures is not None
        frames = [SourceFrame(SourcePosition(1, 10 * index + i), picture, now_s) for i, picture in enumerate(pictures)]
        self.client.offer(session, InputChunk(tuple(frames), now_s))

    async def generated(self, session: str, count: int) -> None:
        """Until the session has `count` chunks."""
        await until(lambda: len(self.told[session].chunks) >= count, f"{count} chunks of {session}", PATIENCE_S)

    async def generate(self, session: str, indices: Sequence[int], *, text_only: bool = False) -> None:
        for index in indices:
            count = len(self.told[session].chunks)
            self.offer(session, index, text_only=text_only)
            await self.generated(session, count + 1)

    def bytes_shown(self, part: str) -> float | None:
        return self.metrics.registry.get_sample_value("genlock_engine_memory_bytes", {"part": part})


@asynccontextmanager
async def in_worker(one: DiffusionEngine) -> AsyncIterator[InWorker]:
    made = InWorker(one)
    await made.loop.start()
    try:
        yield made
    finally:
        await made.loop.stop()


async def share_a_forward(here: InWorker, forward: RowByRow, first: str, second: str, index: int) -> None:
    """Two sessions' chunks `index`, of which rows run together: where nobody waits for an encoder beside the rows."""
    forward.go.clear()
    batches = len(forward.batches)
    here.offer(first, index)
    await until(lambda: len(forward.batches) > batches, "the first row", PATIENCE_S)
    here.offer(second, index)
    forward.go.set()


async def test_a_session_knows_what_it_takes_of_the_memory() -> None:
    one = InWorker(diffusion_engine(vae=BlockVae()))
    await one.loop.start(WarmUpPlan(settings(), (Resolution(width=64, height=64),)))
    await one.open("s")
    await until(lambda: one.told["s"].memories == [one.engine.session_bytes(settings())], "what it takes")
    assert one.engine.budget.taken.keys() == {"s#1"}, "nothing is left of the warm-up"
    await one.loop.stop()


async def test_a_session_that_is_reset_shows_what_one_shows_that_begins_now() -> None:
    async with in_worker(diffusion_engine(vae=BlockVae())) as here:
        for session in ("old", "new"):
            await here.open(session)
        await here.generate("old", range(6))
        here.client.apply("old", Change(prompt=settings().prompt, reset="1-0"))
        await until(lambda: here.told["old"].fresh_starts, "the fresh start", PATIENCE_S)
        for index in range(3):
            for session in ("old", "new"):
                here.offer(session, index)
                await here.generated(session, index + 1 + 6 * (session == "old"))
        old, new = here.told["old"].chunks[6:], here.told["new"].chunks
        assert [told.chunk.index for told in old] == [0, 1, 2]
        for one, other in zip(old, new, strict=True):
            assert np.abs(one.frames.astype(int) - other.frames).max() <= 1
            assert one.checkpoint.state.sink_digest != ""


async def test_nan_takes_its_session_back_to_its_checkpoint_and_the_other_does_not_notice() -> None:
    armed = threading.Event()

    def judge(batch: RowBatch) -> list[int]:
        """The bad session's rows in the first forward that both share."""
        if not armed.is_set():
            return []
        bad = {page for cache in caches(one, "bad#1") for slot in cache.ring.slots for page in slot}
        hit = [row for row, pages in enumerate(batch.table.tolist()) if pages[0] in bad]
        if not 0 < len(hit) < batch.rows:
            return []
        armed.clear()
        return hit

    forward = RowByRow(judge)
    one = diffusion_engine(forward=forward, vae=BlockVae(), overlap=False)
    plans = {"good": settings(), "bad": settings(prompt="oil", seed=9)}
    async with in_worker(one) as here:
        for session, plan in plans.items():
            await here.open(session, plan)
            await here.generate(session, range(4))
        good, bad = here.told["good"], here.told["bad"]
        armed.set()
        await share_a_forward(here, forward, "bad", "good", 4)
        await until(lambda: bad.resets, "the reset", PATIENCE_S)
        await here.generated("good", 5)
        ((reason, restored),) = bad.resets
        assert "not finite" in reason
        assert restored
        sinks = bad.chunks[-1].checkpoint.state.sink_digest
        for session in plans:
            await here.generate(session, range(len(here.told[session].chunks), 7))
        assert [told.chunk.index for told in bad.chunks] == list(range(7)), "it went on from its checkpoint"
        assert {chunk.checkpoint.state.sink_digest for chunk in bad.chunks[4:]} == {sinks}
        assert not good.resets
    async with in_worker(diffusion_engine(forward=RowByRow(), vae=BlockVae())) as alone:
        await alone.open("good", plans["good"])
        await alone.generate("good", range(7))
        for seen, expected in zip(good.frames, alone.told["good"].frames, strict=True):
            assert np.array_equal(seen, expected)


async def test_a_session_that_does_not_fit_is_refused_and_the_rest_live() -> None:
    fits = diffusion_engine(vae=BlockVae()).session_bytes(settings())
    async with in_worker(diffusion_engine(vae=BlockVae(), limit_bytes=fits + fits // 2)) as here:
        await here.open("a")
        await here.generate("a", range(2))
        with pytest.raises(EngineFailure, match="MiB are free: fewer sessions"):
            await here.open("b")
        checkpoint = here.told["a"].chunks[-1].checkpoint
        with pytest.raises(EngineFailure, match="MiB are free: fewer sessions"):
            await here.open("b", checkpoint=checkpoint)
        await here.generate("a", range(2, 4))
        assert not here.told["a"].resets
        here.client.close("a")
        await here.open("b")
        await here.generate("b", range(1))


async def test_an_allocation_that_fails_refuses_its_session_and_the_rest_live(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> object:
        raise torch.OutOfMemoryError("rings")

    async with in_worker(diffusion_engine(vae=BlockVae())) as here:
        await here.open("a")
        await here.generate("a", range(1))
        with monkeypatch.context() as patch:
            patch.setattr("genlock_worker.engines.diffusion.network.kv_pool.PagedRing.taken", fails)
            with pytest.raises(EngineFailure, match="no memory for its rings"):
                await here.open("b")
        await here.generate("a", range(1, 3))
        assert not here.told["a"].resets


async def test_rows_that_do_not_fit_into_one_forward_are_run_in_halves_and_nobody_is_reset() -> None:
    def judge(batch: RowBatch) -> list[int]:
        if batch.rows > 1:
            raise torch.OutOfMemoryError("no room for two")
        return []

    forward = RowByRow(judge)
    async with in_worker(diffusion_engine(forward=forward, vae=BlockVae(), overlap=False)) as here:
        for session in "ab":
            await here.open(session)
            await here.generate(session, range(1))
        await share_a_forward(here, forward, "a", "b", 1)
        for session in "ab":
            await here.generated(session, 2)
            assert not here.told[session].resets
        assert 2 in forward.batches


async def test_steps_that_do_not_fit_are_not_run_and_not_reported() -> None:
    room = diffusion_engine(vae=BlockVae()).session_bytes(settings(steps=3))
    async with in_worker(diffusion_engine(vae=BlockVae(), limit_bytes=room)) as here:
        await here.open("a", settings(steps=2))
        await here.generate("a", range(2))
        told = here.told["a"]
        assert set(told.steps) == {2}
        here.client.apply("a", Change(steps=4))
        await here.generate("a", range(2, 4))
        assert told.chunks[-1].chunk.steps == told.steps[-1] == 3
        assert not told.resets


async def test_a_level_that_changes_while_it_runs_cuts_nothing_and_leaves_the_sinks() -> None:
    async with in_worker(diffusion_engine(vae=BlockVae())) as here:
        await here.open("s", settings(steps=4))
        await here.generate("s", range(4))
        told = here.told["s"]
        sink = told.chunks[-1].checkpoint.state.sink_digest
        assert sink

        for number, level in enumerate((Level(1), Level(1, every=2), Level(2), Level(4))):
            assert await here.client.limit("s", level) == level
            await here.generate("s", range(4 + 2 * number, 6 + 2 * number))
            assert [chunk.chunk.steps for chunk in told.chunks[-2:]] == [level.steps] * 2

        assert [chunk.chunk.index for chunk in told.chunks] == list(range(12)), "it went on"
        assert (told.resets, told.fresh_starts, told.ends) == ([], [], [])
        assert {chunk.checkpoint.state.sink_digest for chunk in told.chunks[4:]} == {sink}
        assert told.paces == [2, 1]


async def test_the_clean_row_of_a_session_without_a_camera_is_not_reported_as_a_step() -> None:
    async with in_worker(diffusion_engine(vae=BlockVae())) as here:
        await here.open("a", settings(steps=2, text_only=True))
        await here.generate("a", range(2), text_only=True)
        assert (here.told["a"].chunks[-1].chunk.steps, here.told["a"].chunks[-1].chunk.rows) == (2, 3)
        assert set(here.told["a"].steps) == {2}


async def test_a_session_that_is_turned_shows_what_one_shows_that_begins_in_the_turned_shape() -> None:
    turned = settings(width=HEIGHT, height=2 * WIDTH)
    async with in_worker(diffusion_engine(vae=BlockVae())) as here:
        await here.open("old", settings(width=2 * WIDTH, height=HEIGHT))
        await here.open("new", turned)
        for index in range(3):
            here.offer("old", index, width=2 * WIDTH)
            await here.generated("old", index + 1)
        await here.client.turn("old", width=HEIGHT, height=2 * WIDTH)
        for index in range(3):
            for session in ("old", "new"):
                here.offer(session, index, width=HEIGHT, height=2 * WIDTH)
                await here.generated(session, index + 1 + 3 * (session == "old"))
        old, new = here.told["old"], here.told["new"]
        assert old.fresh_starts == [None]
        assert not old.resets
        assert {frames.shape[1:] for frames in old.frames[:3]} == {(HEIGHT, 2 * WIDTH, 3)}
        assert {frames.shape[1:] for frames in old.frames[3:]} == {(2 * WIDTH, HEIGHT, 3)}
        for ours, theirs in zip(old.frames[3:], new.frames, strict=True):
            assert np.array_equal(ours, theirs)


async def test_sides_that_the_model_cannot_have_are_refused_and_pictures_of_other_sides_reset_their_session() -> None:
    async with in_worker(diffusion_engine(vae=BlockVae())) as here:
        await here.open("a")
        await here.generate("a", range(2))
        with pytest.raises(ValueError, match="multiples of 16 from 64 on, not 100x64"):
            await here.open("b", settings(width=100))
        here.offer("a", 2, width=2 * WIDTH)
        await until(lambda: here.told["a"].resets, "the reset", PATIENCE_S)
        assert here.told["a"].resets == [
            (f"chunk 2: uint8 (4, {HEIGHT}, {WIDTH}, 3) expected, not uint8 (4, {HEIGHT}, {2 * WIDTH}, 3)", True)
        ]
        await here.generate("a", range(2, 4))


async def test_every_forward_of_a_restore_is_progress_and_one_that_hangs_is_none() -> None:
    async with in_worker(diffusion_engine(vae=BlockVae())) as here:
        await here.open("a")
        await here.generate("a", range(8))
        checkpoint = here.told["a"].chunks[-1].checkpoint
    turnstile, entered = threading.Semaphore(0), list[int]()

    def forward(batch: RowBatch) -> Denoised:
        entered.append(batch.rows)
        assert turnstile.acquire(timeout=PATIENCE_S)
        answer: Denoised = components().transformer(batch)
        return answer

    async with in_worker(diffusion_engine(forward=forward, vae=BlockVae(), overlap=False)) as there:
        opening = asyncio.create_task(there.open("a", checkpoint=checkpoint))
        seen = []
        for passes in range(1, 6):
            await until(lambda count=passes: len(entered) == count, f"pass {passes}", PATIENCE_S)  # type: ignore[misc]
            seen.append(there.loop.progress)
            turnstile.release()
        turnstile.release(100)
        assert await opening
        assert seen == list(range(seen[0], seen[0] + 5)), "the forwards that were finished, and nothing else"


async def test_the_bytes_of_sessions_are_shown_while_they_are_there() -> None:
    one = diffusion_engine(vae=BlockVae())
    of_two_rows, of_one = one.session_bytes(settings(steps=2)), one.session_bytes(settings(steps=1))
    async with in_worker(one) as here:
        await here.open("a", settings(steps=2))
        await until(lambda: here.bytes_shown("sessions") == of_two_rows, "the session's bytes")
        assert here.bytes_shown("resident") == one.resident_bytes > 0
        assert here.bytes_shown("free") == one.budget.total_bytes - of_two_rows
        await here.generate("a", range(1))
        here.client.apply("a", Change(steps=1))
        await here.generate("a", range(1, 2))
        await until(lambda: here.bytes_shown("sessions") == of_one, "the row's bytes given back")
        here.client.close("a")
        await until(lambda: here.bytes_shown("sessions") == 0, "all of them")
        assert here.bytes_shown("free") == one.budget.total_bytes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "wan3"], "no model 'wan3'; the models are: wan2.1-1.3b, wan2.1-14b, tiny"),
        (
            ["--model", "wan2.1-1.3b", "--weights", "{empty}"],
            "model wan2.1-1.3b: there is no folder {empty}/wan2.1-1.3b",
        ),
    ],
)
def test_a_worker_that_cannot_have_its_model_says_why_and_exits_with_2(
    arguments: list[str],
    words: str,
    redis_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "configure", lambda *_, **__: None)
    monkeypatch.setenv("GENLOCK_SECRETS", "k1:a-secret-that-must-never-be-logged")
    here = [argument.format(empty=tmp_path) for argument in arguments]
    assert main.main(["--redis", redis_url, "--metrics-port", "0", "--engine", "diffusion", *here]) == 2
    said = capsys.readouterr().err
    [line] = said.splitlines()
    assert line.startswith(f"genlock-worker: {words.format(empty=tmp_path)}")
    assert "Traceback" not in said
