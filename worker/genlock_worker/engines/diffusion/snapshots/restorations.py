"""Sessions on their way back from snapshots: who is, and how far each has come.

A restoration is a series of parts (`state.from_state`), of which one is done whenever somebody collects, so that
others' batches go between. What its parts have taken they give back themselves when they fail or are given up.
"""

import logging
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import torch

from genlock_core.clock import Clock
from genlock_worker.engines.contract import EngineFailure, RestoreResult
from genlock_worker.engines.diffusion.snapshots.state import DAMAGE
from genlock_worker.engines.diffusion.streaming.device_queue import Reached, at_once
from genlock_worker.engines.diffusion.streaming.one_thread import let_go
from genlock_worker.engines.diffusion.streaming.session import DiffusionSession

logger = logging.getLogger(__name__)

Parts = Generator[Reached, None, DiffusionSession]
"""Yields what must be done before the next part, and returns the session."""
Ended = tuple[RestoreResult, DiffusionSession | None]
"""How a restoration has ended, with its session unless it failed."""


@dataclass(slots=True)
class _Restoration:
    """A session on its way back."""

    parts: Parts
    began_s: float
    chunk: int
    awaited: Reached
    """What must be done before the next part."""


class Restorations:
    """The restorations under way, by session. `wake` is called on any thread once one of them may go on."""

    def __init__(self, *, clock: Clock, wake: Callable[[], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._under_way: dict[str, _Restoration] = {}

    def __contains__(self, session: str) -> bool:
        return session in self._under_way

    def begin(self, session: str, parts: Parts, *, chunk: int) -> None:
        """Have the parts done one by one. `chunk` is the snapshot's, for messages."""
        self._under_way[session] = _Restoration(parts, self._clock.monotonic(), chunk, at_once())
        self._wake()

    def close(self, session: str) -> None:
        """Give a restoration up; nothing is told of it. Unknown ones are ignored."""
        if (restoration := self._under_way.pop(session, None)) is not None:
            restoration.parts.close()

    def go_on(self) -> Iterator[Ended]:
        """Do one part of each that waits for nothing; those that ended with it.

        Raises what a device failed with: of that the state is not the cause, and it may be restored elsewhere.
        """
        for session in list(self._under_way):
            if (ended := self._go_on(session)) is not None:
                yield ended

    @torch.no_grad()
    def _go_on(self, session: str) -> Ended | None:
        restoration = self._under_way[session]
        if not restoration.awaited.done():
            return None
        try:
            restoration.awaited = next(restoration.parts)
        except StopIteration as end:
            del self._under_way[session]
            seconds = round(self._clock.monotonic() - restoration.began_s, 3)
            logger.info("session restored", extra={"session": session, "chunk": restoration.chunk, "seconds": seconds})
            return RestoreResult(session), end.value
        except Exception as problem:
            del self._under_way[session]
            reason = _reason(problem)
            if reason is None:
                raise
            let_go(problem)  # what the VAE raised is kept with what it remembers, and refers to the session
            return RestoreResult(session, reason), None

        # The next part comes with a later call.
        restoration.awaited.add_done_callback(lambda _: self._wake())
        return None


def _reason(problem: Exception) -> str | None:
    """Why a state cannot be restored here; None for what says nothing of the state."""
    if isinstance(problem, torch.OutOfMemoryError):
        return f"there is no memory to restore it: {problem}"
    if isinstance(problem, EngineFailure):
        return problem.reason
    if isinstance(problem, DAMAGE):
        return f"the snapshot cannot be restored: {problem}"
    return None
