"""How fast an engine is: equal sessions side by side, all their rows in one forward, as the scheduler batches them.

Every micro-step takes a new chunk of each session and runs every row that is ready, so that the engine never idles: the
most that this machine gives, and the latency that goes with it. As in the worker the pictures of one micro-step may be
decoded beside the next.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Protocol

from genlock_core.clock import Clock
from genlock_worker.engines.contract import (
    CHUNK_FRAMES,
    FIRST_CHUNK_FRAMES,
    Chunk,
    Engine,
    EngineFailure,
    Frames,
    Row,
)
from genlock_worker.engines.stepwise import Stepwise
from genlock_worker.profiling.plan import Combination, seconds_left, without_larger
from genlock_worker.profiling.streams import FRAME_RATE, first_pictures, later_pictures, opened
from genlock_worker.rows.session_rows import MOST_UNDECODED

CATCH_UP_S = (FIRST_CHUNK_FRAMES - 1) / FRAME_RATE
"""From a camera's first frame to the last one of its first chunk."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a combination is measured: for `seconds`, and for at least `chunks` chunks of each session.

    Before anything is counted come `warm` chunks: rings fill, kernels are chosen and compiled, graphs are captured.
    """

    seconds: float = 5.0
    chunks: int = 20
    warm: int = 12


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a combination gave."""

    combination: Combination
    fps_per_session: float
    micro_step_ms: float
    """The device's time for the rows of a forward, without encoding and decoding (median)."""
    latencies_ms: tuple[float, ...]
    """Of each measured chunk (that all sessions are at): from before it was taken in to when it was generated."""
    first_frame_ms: float
    """The camera's time for a first chunk at FRAME_RATE, and the median session's for it; other sessions wait."""
    bytes_per_session: int | None
    bytes_resident: int | None


class MemoryMeter(Protocol):
    """Reads what sessions take; None where nobody knows."""

    def begin(self) -> None:
        """No session is open: what is in use now is the model's."""
        ...

    def session_bytes(self, session: str) -> int | None:
        """Bytes of an open session."""
        ...

    def resident_bytes(self) -> int | None:
        """The most that was in use since `begin`, without the open sessions' part."""
        ...


@dataclass(frozen=True, slots=True)
class Skipped:
    """A combination that could not be measured, and why."""

    combination: Combination
    reason: str


def measure_all(
    engine: Engine,
    plan: Sequence[Combination],
    *,
    clock: Clock,
    memory: MemoryMeter,
    effort: Effort,
    does_not_fit: tuple[type[Exception], ...] = (EngineFailure,),
    begins: Callable[[Combination, float | None], None],
) -> Iterator[Measurement | Skipped]:
    """Measure one combination after the other, in order.

    One that raises an error of `does_not_fit` is skipped, and so are those that need as much. `begins` is told what is
    measured next, and how many seconds all that is left may take. Closing the generator ends it.
    """
    left, done = tuple(plan), list[tuple[Combination, float]]()
    while left:
        combination, left = left[0], left[1:]
        begins(combination, seconds_left(done, (combination, *left)))
        began_s = clock.monotonic()

        try:
            measured = measure(engine, combination, clock=clock, memory=memory, effort=effort)
        except does_not_fit as problem:
            reason = str(problem).strip().splitlines()[0]
            smaller = without_larger(left, combination)
            yield Skipped(combination, reason)
            for larger in left:
                if larger not in smaller:
                    yield Skipped(larger, f"needs as much as {combination}")
            left = smaller
            continue

        done.append((combination, clock.monotonic() - began_s))
        yield measured


def measure(
    engine: Engine,
    combination: Combination,
    *,
    clock: Clock,
    memory: MemoryMeter,
    effort: Effort,
) -> Measurement:
    """Measure one combination on an engine without sessions, and leave it without. Raises what the engine raises."""
    memory.begin()
    driven = Stepwise(engine)
    with opened(driven, combination) as sessions:
        names = list(sessions)
        stream = _Stream(driven, combination, names, clock)
        first_ms = [stream.first_chunk(name) for name in names]
        for _ in range(effort.warm + combination.steps):
            stream.micro_step()

        stream.wait(0)
        stream.latencies_ms.clear()
        stream.micro_steps_ms.clear()
        began_s, steps_run = clock.monotonic(), 0
        while steps_run < effort.chunks or clock.monotonic() - began_s < effort.seconds:
            stream.micro_step()
            steps_run += 1

        stream.wait(0)
        seconds = clock.monotonic() - began_s
        return Measurement(
            combination,
            fps_per_session=steps_run * CHUNK_FRAMES / seconds,
            micro_step_ms=median(stream.micro_steps_ms),
            latencies_ms=tuple(stream.latencies_ms),
            first_frame_ms=CATCH_UP_S * 1000 + median(first_ms),
            bytes_per_session=memory.session_bytes(names[0]),
            bytes_resident=memory.resident_bytes(),
        )


class _Stream:
    """The sessions of one combination, all at the same chunk."""

    def __init__(self, engine: Stepwise, combination: Combination, names: Sequence[str], clock: Clock) -> None:
        self._engine = engine
        self._names = names
        self._clock = clock
        self._steps = combination.steps
        self._first = first_pictures(combination)
        self._later = later_pictures(combination)
        self._next = 1
        self._taken_s: dict[int, float] = {}
        """When each chunk in flight was taken in."""
        self._undecoded: deque[list[Future[Frames]]] = deque()
        """The pictures that each micro-step finished, while they may still be being decoded."""
        self.latencies_ms: list[float] = []
        self.micro_steps_ms: list[float] = []

    def first_chunk(self, name: str) -> float:
        """A session's first chunk, alone: milliseconds from the complete chunk to its pictures."""
        began_s = self._clock.monotonic()
        self._feed([name], Chunk(0, self._first))
        for step in range(self._steps):
            (result,) = self._engine.run([Row(name, step, 0)])
        if result.pictures is not None:
            result.pictures.result()
        return (self._clock.monotonic() - began_s) * 1000

    def micro_step(self) -> None:
        """Take a chunk of every session, and run the rows of all chunks in flight."""
        began_s = self._clock.monotonic()
        newest = self._next
        self._taken_s[newest] = began_s
        self._next += 1
        self._feed(self._names, Chunk(newest, self._later[newest % len(self._later)]))

        rows = [
            Row(name, step, newest - step) for name in self._names for step in range(self._steps) if newest - step >= 1
        ]
        self.wait(MOST_UNDECODED - 1)
        pictures = {result.row.chunk: result.pictures for result in self._engine.run(rows) if result.pictures}
        self.micro_steps_ms.append(self._engine.seconds.rows * 1000)
        self._undecoded.append(list(pictures.values()))
        for chunk, coming in pictures.items():  # of the sessions' one, the last: decoded after the others'
            coming.add_done_callback(partial(self._shown, self._taken_s.pop(chunk)))

    def wait(self, undecoded: int) -> None:
        """Wait until the pictures of all but the last `undecoded` micro-steps are there. Raises EngineFailure."""
        while len(self._undecoded) > undecoded:
            for coming in self._undecoded.popleft():
                coming.result()

    def _shown(self, taken_s: float, _: Future[Frames]) -> None:
        self.latencies_ms.append((self._clock.monotonic() - taken_s) * 1000)

    def _feed(self, names: Sequence[str], chunk: Chunk) -> None:
        """Take a chunk of these sessions, encoded together where the engine does that, and wait until it is.

        Raises EngineFailure where the engine takes fewer steps than asked for, as it may when memory is short.
        """
        fed = {name: self._engine.engine.feed(name, chunk, steps=self._steps) for name in names}
        for name, one in fed.items():
            one.encoded.result()
            if one.steps != self._steps:
                raise EngineFailure(name, f"the engine runs {one.steps} steps instead of {self._steps}")
