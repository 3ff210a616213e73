"""Two micro-steps under way under the worker's loop: the device is slow to answer, and what goes wrong is told late."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from genlock_worker.engines.contract import Frames
from genlock_worker.engines.diffusion.config import StreamOptions
from genlock_worker.engines.diffusion.network.row_batch import RowBatch
from tests.worker.engines.diffusion.deferred import DeferredQueue
from tests.worker.engines.diffusion.streams import BlockVae, caches, diffusion_engine, settings
from tests.worker.engines.diffusion.test_in_the_worker import InWorker, RowByRow, in_worker
from tests.worker.gateway import until

PLANS = {"a": settings("ink", steps=3, seed=1), "b": settings("oil", steps=2, seed=2)}
OPTIONS = StreamOptions(sink_threshold=1.1, sink_cooldown_chunks=0, sink_delay_chunks=10)
CHUNKS = 16
PATIENCE_S = 60


@dataclass
class SlowDevice:
    """Comes to the next mark only when the loop has handed over all that it will."""

    queue: DeferredQueue = field(default_factory=DeferredQueue)
    here: InWorker | None = None
    most: int = 0
    """Batches under way at once."""
    patience_ms: int = 400
    """How long it waits for that."""
    hook: Callable[[int], None] = lambda _: None
    """Is called with the batches that are under way, before the device goes on."""

    async def run(self) -> None:
        while True:
            turns = self._turns()
            for _ in range(self.patience_ms):
                if self._under_way() == 2 or self._turns() > turns + 3:
                    break
                await asyncio.sleep(0.001)
            self.most = max(self.most, self._under_way())
            self.hook(self._under_way())
            self.queue.go_on(iter((False, True)).__next__)

    def _turns(self) -> int:
        return 0 if self.here is None else self.here.loop._turns

    def _under_way(self) -> int:
        return 0 if self.here is None else len(self.here.loop._under_way)


@asynccontextmanager
async def slow_worker(forward: RowByRow, device: SlowDevice) -> AsyncIterator[InWorker]:
    one = diffusion_engine(forward=forward, vae=BlockVae(), options=OPTIONS, queue=device.queue)
    async with in_worker(one) as here:
        device.here = here
        goes_on = asyncio.create_task(device.run())
        try:
            yield here
        finally:
            goes_on.cancel()


async def play(here: InWorker, session: str, chunks: range) -> None:
    """Offer chunk after chunk, each as soon as the one before was taken; returns once all are shown."""
    for index in chunks:
        here.offer(session, index)
        rows = here.loop.sessions[session].rows
        await until(lambda rows=rows: rows.waiting is None, f"chunk {index} of {session}", PATIENCE_S)  # type: ignore[misc]
    await here.generated(session, chunks.stop)


async def expected(session: str) -> list[Frames]:
    """What a session shows alone, one chunk after the other."""
    one = diffusion_engine(forward=RowByRow(), vae=BlockVae(), options=OPTIONS, depth=1)
    async with in_worker(one) as here:
        await here.open(session, PLANS[session])
        await here.generate(session, range(CHUNKS))
        return here.told[session].frames


async def test_what_is_shown_is_the_same_while_the_device_always_has_the_next() -> None:
    device = SlowDevice()
    async with slow_worker(RowByRow(), device) as here:
        for session, plan in PLANS.items():
            await here.open(session, plan)
        await asyncio.gather(*(play(here, session, range(CHUNKS)) for session in PLANS))
        assert device.most == 2
        assert not any(told.resets for told in here.told.values())
        assert all(None not in {cache.replaced_in for cache in caches(here.engine, f"{name}#1")} for name in PLANS)
        for session, told in here.told.items():
            for seen, alone in zip(told.frames, await expected(session), strict=True):
                assert np.array_equal(seen, alone)


async def test_nan_that_is_told_late_takes_its_session_back_and_the_other_does_not_notice() -> None:
    armed: list[bool] = []

    def judge(batch: RowBatch) -> list[int]:
        if not armed:
            return []
        bad = {page for cache in caches(here.engine, "b#1") for slot in cache.ring.slots for page in slot}
        hit = [row for row, pages in enumerate(batch.table.tolist()) if pages[0] in bad]
        if hit:
            armed.clear()
        return hit

    device = SlowDevice()
    async with slow_worker(RowByRow(judge), device) as here:
        for session, plan in PLANS.items():
            await here.open(session, plan)
            await play(here, session, range(4))
        armed.append(True)
        good = asyncio.create_task(play(here, "a", range(4, CHUNKS)))
        here.offer("b", 4)
        await until(lambda: here.told["b"].resets, "the reset", PATIENCE_S)
        await good
        ((reason, restored),) = here.told["b"].resets
        assert "not finite" in reason
        assert restored
        await play(here, "b", range(len(here.told["b"].chunks), CHUNKS))
        assert [told.chunk.index for told in here.told["b"].chunks] == list(range(CHUNKS))
        assert not here.told["a"].resets
        for seen, alone in zip(here.told["a"].frames, await expected("a"), strict=True):
            assert np.array_equal(seen, alone)


async def test_a_device_that_fails_with_two_under_way_takes_both_sessions_back_and_both_go_on() -> None:
    def fail(under_way: int) -> None:
        if under_way == 2:
            device.hook = lambda _: None
            device.patience_ms = 1  # both run apart now
            device.queue.fail(RuntimeError("CUDA error: unspecified launch failure"))

    device = SlowDevice()
    async with slow_worker(RowByRow(), device) as here:
        for session, plan in PLANS.items():
            await here.open(session, plan)
            await play(here, session, range(4))
        device.hook = fail
        for session in PLANS:
            here.offer(session, 4)
        await until(lambda: any(told.resets for told in here.told.values()), "a reset", PATIENCE_S)
        for session in PLANS:
            await play(here, session, range(len(here.told[session].chunks), 9))
            assert [told.chunk.index for told in here.told[session].chunks] == list(range(9))
            assert all(restored for _, restored in here.told[session].resets)
        assert not any(told.ends for told in here.told.values())
