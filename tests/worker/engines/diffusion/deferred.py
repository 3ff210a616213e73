"""A device that answers when a test says so, and a stream batch over it with several micro-steps under way."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from genlock_worker.engines.contract import BatchResult, Change, Frames, Row, RowResult
from genlock_worker.engines.diffusion.engine import DiffusionEngine
from genlock_worker.engines.diffusion.streaming.device_queue import DeviceQueue, Reached
from genlock_worker.engines.readiness import ChunkInFlight, Needs, may_run
from tests.worker.engines.diffusion.rows import CPU
from tests.worker.engines.diffusion.streams import chunk

NEEDS = Needs()


class DeferredQueue(DeviceQueue):
    """Computes on the CPU as work is queued, and says that it has come so far only once it is told to go on."""

    def __init__(self) -> None:
        super().__init__(CPU)
        self._waiting: deque[tuple[Reached, Callable[[], None]]] = deque()

    def _behind(self, then: Callable[[], None]) -> Reached:
        reached: Reached = Future()
        self._waiting.append((reached, then))
        return reached

    def go_on(self, until: Callable[[], bool] = lambda: False) -> None:
        """Come to the next mark, and the next, until so; to the end if it is never so."""
        while self._waiting and not until():
            reached, then = self._waiting.popleft()
            then()
            reached.set_result(None)

    def fail(self, problem: Exception) -> None:
        """Come nowhere any more."""
        while self._waiting:
            self._waiting.popleft()[0].set_exception(problem)


@dataclass
class StreamsUnderWay:
    """Sessions run as stream batches, with as many micro-steps under way as the engine takes."""

    engine: DiffusionEngine
    queue: DeferredQueue
    fed: dict[str, int] = field(default_factory=dict)
    chunks: dict[str, list[ChunkInFlight]] = field(default_factory=dict)
    under_way: int = 0
    most: int = 0
    """The most micro-steps that were under way at once."""
    number: int = 0
    results: list[RowResult] = field(default_factory=list)

    def feed(self, session: str, *, steps: int, change: Change | None = None, scene: int = 0) -> None:
        """Take in the next chunk; before the second, the first is run."""
        index = self.fed.get(session, 0)
        while index == 1 and self.chunks[session]:
            self.step([session])
        if change is not None:
            if change.prompt is not None:
                self.engine.prepare(change.prompt)
            self.engine.apply(session, change)
        fed = self.engine.feed(session, chunk(index, scene=scene), steps=steps)
        fed.encoded.result(20)
        self.chunks.setdefault(session, []).append(ChunkInFlight(index=index, rows=fed.rows))
        self.fed[session] = index + 1

    def step(self, sessions: Sequence[str]) -> None:
        """Submit what is ready of these sessions as one batch, and collect as little as that needs."""
        rows = []
        for session in sessions:
            held = self.chunks[session]
            ready = [one for place, one in enumerate(held) if may_run(one.submitted, one, held[:place], NEEDS)]
            rows += [Row(session, one.submitted, one.index) for one in ready]
        if not rows:
            return
        while self.under_way >= self.engine.depth:
            self.collect()
        self.submit(rows)

    def submit(self, rows: Sequence[Row]) -> None:
        """These rows, as they are."""
        self.number += 1
        self.engine.submit(self.number, rows)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        for row in rows:
            held = self.chunks[row.session]
            for one in held:
                one.submitted += one.index == row.chunk
            self.chunks[row.session] = [one for one in held if one.submitted < one.rows]

    def collect(self) -> BatchResult:
        """Wait for the oldest batch."""
        found: list[BatchResult] = []

        def is_there() -> bool:
            found.extend(one for one in self.engine.collect() if isinstance(one, BatchResult))
            return bool(found)

        self.queue.go_on(is_there)
        assert is_there()
        (result,) = found
        self.under_way -= 1
        self.results += result.rows
        return result

    def finish(self, sessions: Sequence[str]) -> Mapping[tuple[str, int], Frames]:
        """Run and collect all that is in flight; the pictures by session and chunk."""
        while any(self.chunks[session] for session in sessions):
            self.step(sessions)
        while self.under_way:
            self.collect()
        shown = {(one.row.session, one.row.chunk): one.output for one in self.results if one.pictures is not None}
        assert [one.failure for one in self.results if one.failure] == []
        return {key: frames for key, frames in shown.items() if frames is not None}
