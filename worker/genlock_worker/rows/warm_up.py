"""What an engine does once before its first user comes: kernels are chosen, memory is taken, code is compiled.

A session that no user has does everything that a session can do for the first time, at every size at which sessions may
come. So whoever comes first waits for nothing that whoever comes second finds done.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from itertools import zip_longest

import numpy as np

from genlock_core.clock import Clock
from genlock_core.spec.session import Resolution
from genlock_worker.engines.contract import (
    Change,
    Chunk,
    Engine,
    EngineFailure,
    Frames,
    Row,
    StreamSettings,
    chunk_frames,
)
from genlock_worker.engines.stepwise import Stepwise

logger = logging.getLogger(__name__)

WARM_UP = "warm-up"
"""The session's name."""
OTHER_PROMPT = "ink"
"""What its prompt is blended into."""


@dataclass(frozen=True, slots=True)
class WarmUpPlan:
    """What is run before a worker is ready."""

    settings: StreamSettings
    """Of a session like most."""
    sizes: tuple[Resolution, ...]
    """Every size at which sessions may come, that of `settings` first."""


@dataclass(frozen=True, slots=True)
class WarmedUp:
    """What a warm-up took."""

    seconds: float
    sizes: tuple[Resolution, ...]
    lacks: tuple[str, ...]
    """What there was no room for: the worker is ready without it."""
    graphs: int = 0
    """Forwards that were captured."""
    graph_bytes: int = 0

    def __str__(self) -> str:
        words = [f"warmed up in {self.seconds:.1f} s for {', '.join(map(str, self.sizes))}"]
        if self.graphs:
            words.append(f"{self.graphs} graphs of {self.graph_bytes / 2**20:.0f} MiB")
        return "; ".join([*words, *(f"without {lack}" for lack in self.lacks)])


@dataclass(slots=True)
class WarmUp:
    """One warm-up: `run` is called once, on the engine's thread. `tell` is told what is done, as it is done."""

    engine: Engine
    clock: Clock
    tell: Callable[[str], None]
    _sizes: list[Resolution] = field(default_factory=list)
    _lacks: list[str] = field(default_factory=list)

    def run(self, plan: WarmUpPlan) -> WarmedUp:
        """Raises what the engine raises, BatchLost; a size but the first that does not fit is told, and left out."""
        began_s = self.clock.monotonic()
        usual, *others = plan.sizes if self.engine.warms_each_size else plan.sizes[:1]
        self._live_a_little(plan.settings, usual)
        for size in others:
            try:
                self._live_a_little(plan.settings, size)
            except EngineFailure as failure:
                self._lacks.append(f"a session of {size} ({failure.reason})")
                logger.warning("warm-up: a session of %s cannot run here: %s", size, failure.reason)

        # Once all that happens for the first time has happened: none of it may be part of a graph.
        graphs = self.engine.capture_graphs(self._sizes, self.tell)
        self._lacks += graphs.lacks

        seconds = self.clock.monotonic() - began_s
        warmed_up = WarmedUp(seconds, tuple(self._sizes), tuple(self._lacks), graphs.count, graphs.bytes)
        logger.info("%s", warmed_up, extra={"seconds": round(warmed_up.seconds, 3), "lacks": len(self._lacks)})
        return warmed_up

    def _live_a_little(self, settings: StreamSettings, size: Resolution) -> None:
        self.tell(f"a session of {size}")
        began_s = self.clock.monotonic()
        live_a_little(self.engine, replace(settings, width=size.width, height=size.height))
        self._sizes.append(size)
        logger.info("warm-up: a session of %s in %.2f s", size, self.clock.monotonic() - began_s)


def live_a_little(engine: Engine, settings: StreamSettings) -> None:
    """Run a session that no user has through all that a session can do for the first time, and forget it.

    It is restored, too: the first restore takes twice as long as a later one, and the first session that needs one has
    just lost its worker. Raises what the engine raises, BatchLost.
    """
    stepwise = Stepwise(engine)
    again = f"{WARM_UP} again"
    try:
        # The first chunk has two latent frames, the next one.
        stepwise.open(WARM_UP, replace(settings, steps=1))
        for index in (0, 1):
            stepwise.show(WARM_UP, _black(index, settings))

        # Another step begins with a copy of the ring; another prompt is blended in; rows of two chunks share a forward.
        stepwise.apply(WARM_UP, Change(steps=2, prompt=OTHER_PROMPT))
        _show_together(stepwise, [_black(index, settings) for index in (2, 3)])

        state = stepwise.snapshot(WARM_UP)
        stepwise.close(WARM_UP)
        stepwise.restore(again, replace(settings, steps=2), state)
        stepwise.show(again, _black(4, settings))
    finally:
        stepwise.close(WARM_UP)
        stepwise.close(again)


def _show_together(stepwise: Stepwise, chunks: Sequence[Chunk]) -> None:
    """Two chunks, the second a step behind the first; waits for their pictures."""
    older, newer = chunks
    pictures: list[Future[Frames] | None] = []

    def run(*rows: Row | None) -> None:
        results = stepwise.run([row for row in rows if row is not None])
        pictures.extend(result.pictures for result in results)

    first, *of_older = _rows(stepwise, older)
    run(first)
    for rows in zip_longest(of_older, _rows(stepwise, newer)):
        run(*rows)
    for one in pictures:
        if one is not None:
            one.result()


def _rows(stepwise: Stepwise, chunk: Chunk) -> list[Row]:
    return [Row(WARM_UP, step, chunk.index) for step in range(stepwise.feed(WARM_UP, chunk))]


def _black(index: int, settings: StreamSettings) -> Chunk:
    return Chunk(index, np.zeros((chunk_frames(index), settings.height, settings.width, 3), np.uint8))
