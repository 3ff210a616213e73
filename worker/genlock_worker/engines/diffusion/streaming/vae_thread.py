"""One direction of the VAE at work beside the engine's thread: what waits and is alike runs in one call.

It has a thread of its own, and on a GPU a stream of its own. Nothing waits for company: a call takes what is there when
it begins. Pieces of one session run in the order in which they were handed over, each in a call of its own, because
each moves the session's caches on.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch

from genlock_worker.engines.contract import EngineFailure, Row
from genlock_worker.engines.diffusion.network.vae import VaeStream
from genlock_worker.engines.diffusion.streaming.one_thread import AtOnce, OneThread, let_go

logger = logging.getLogger(__name__)

C = TypeVar("C")
R = TypeVar("R")
T = TypeVar("T")

MOST_TOGETHER = 8
"""Rows of one call. More give no more speed, and all of them wait for the slowest."""


@dataclass(slots=True, eq=False)
class Piece(Generic[C, R]):
    """One chunk of one session."""

    row: Row
    """For messages."""
    stream: VaeStream
    item: C
    """What is coded."""
    queued: torch.cuda.Event | None
    """What was queued on the engine's stream before it: the item may be in the making there."""
    result: Future[R] = field(default_factory=Future)


class VaeThread(Generic[C, R]):
    """Hands pieces to `run`, several at once where `kind` is equal for them and `most` allows it.

    `run` gives each piece's result, or the exception that is its own failure. If it raises, nothing has moved on, and
    each piece is run by itself: what it raises then is that piece's failure. So once streams have moved on it raises
    nothing. `past`: what becomes of a chunk, for messages. `overlap` False: `submit` does the work itself before it
    returns.
    """

    def __init__(
        self,
        name: str,
        device: torch.device,
        *,
        past: str,
        kind: Callable[[VaeStream, C], Hashable],
        most: Callable[[C], int],
        run: Callable[[Sequence[Piece[C, R]]], Sequence[R | Exception]],
        overlap: bool,
    ) -> None:
        self._device = device
        self._past = past
        self._kind = kind
        self._most = most
        self._run = run
        self._lock = threading.Lock()
        self._waiting: deque[Piece[C, R]] = deque()
        """Under the lock."""
        self._call_is_due = False
        """Whether a call was handed to the thread and is not over. Under the lock."""
        self._executor: Executor = AtOnce()
        self._stream: torch.cuda.Stream | None = None
        if overlap:
            self._executor = OneThread(name)
            if device.type == "cuda":
                self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def submit(self, row: Row, stream: VaeStream, item: C) -> Future[R]:
        """The future raises EngineFailure, which names the row's session, for a piece that failed."""
        piece: Piece[C, R] = Piece(row, stream, item, self._queued())
        with self._lock:
            self._waiting.append(piece)
            is_due, self._call_is_due = self._call_is_due, True
        if not is_due:
            self._executor.submit(self._serve)
        return piece.result

    def alone(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` on the thread, after the call that it is at and one more at most, however many pieces wait."""
        queued = self._queued()

        def after_what_is_queued() -> T:
            with self._on_stream([queued]):
                return work()

        return self._executor.submit(after_what_is_queued)

    def stop(self) -> None:
        """End the thread after what it is at; what waits is forgotten."""
        if isinstance(self._executor, OneThread):
            self._executor.stop()

    def _serve(self) -> None:
        """One call. What waits when it is over has the next one, behind what is to run alone by then."""
        with self._lock:
            pieces = together(self._waiting, self._kind, self._most)
            for piece in pieces:
                self._waiting.remove(piece)
        self._answer(pieces)

        with self._lock:
            is_due = self._call_is_due = bool(self._waiting)
        if is_due:
            self._executor.submit(self._serve)

    def _answer(self, pieces: Sequence[Piece[C, R]]) -> None:
        outcomes: Sequence[R | Exception]
        try:
            with self._on_stream([piece.queued for piece in pieces]):
                outcomes = self._outcomes(pieces)
        except Exception as problem:  # noqa: BLE001 - the device's: what was handed over is answered all the same
            outcomes = [problem] * len(pieces)
        for piece, outcome in zip(pieces, outcomes, strict=True):
            if isinstance(outcome, Exception):
                piece.result.set_exception(self._failure(piece, outcome))
            else:
                piece.result.set_result(outcome)

    def _outcomes(self, pieces: Sequence[Piece[C, R]]) -> Sequence[R | Exception]:
        try:
            return self._run(pieces)
        except Exception as problem:  # noqa: BLE001 - whoever waits for the pieces gets it
            if len(pieces) == 1:
                return [problem]
            logger.warning("%d chunks could not be %s together: %s", len(pieces), self._past, problem)

        # What the failed call had reserved is given back first.
        torch.cuda.empty_cache()
        return [outcome for piece in pieces for outcome in self._outcomes([piece])]

    def _failure(self, piece: Piece[C, R], problem: Exception) -> Exception:
        row = piece.row
        logger.error("%s: chunk %d cannot be %s: %s", row.session, row.chunk, self._past, problem)
        failure = EngineFailure(row.session, f"chunk {row.chunk} cannot be {self._past}: {problem}")
        let_go(problem)  # it has all pieces of the call, and what the VAE remembers of them
        failure.__cause__ = problem
        return failure

    def _queued(self) -> torch.cuda.Event | None:
        """Marks where the caller's stream is now."""
        if self._stream is None:
            return None
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # the library has no types
        event.record(torch.cuda.current_stream(self._device))
        return event

    def _on_stream(self, queued: Sequence[torch.cuda.Event | None]) -> AbstractContextManager[object]:
        """The thread's own stream, once it has come to all of `queued`."""
        if self._stream is None:
            return nullcontext()
        for event in queued:
            if event is not None:
                self._stream.wait_event(event)
        return torch.cuda.stream(self._stream)


def together(
    waiting: Sequence[Piece[C, R]], kind: Callable[[VaeStream, C], Hashable], most: Callable[[C], int]
) -> list[Piece[C, R]]:
    """Of the pieces that wait, oldest first, those of the next call: the oldest, and what is like it.

    A session's later piece never overtakes its earlier one. Empty where nothing waits.
    """
    chosen: list[Piece[C, R]] = []
    met: set[int] = set()
    """Streams: what waits of one lies behind its first piece."""
    for piece in waiting:
        if chosen and len(chosen) >= most(chosen[0].item):
            break
        if id(piece.stream) in met:
            continue
        met.add(id(piece.stream))
        if not chosen or kind(piece.stream, piece.item) == kind(chosen[0].stream, chosen[0].item):
            chosen.append(piece)
    return chosen


def rows_at_once(memory_bytes: int, row_bytes: int) -> int:
    """How many rows a call may have that needs `row_bytes` for each: as memory allows, and one in any case."""
    return max(1, min(MOST_TOGETHER, memory_bytes // row_bytes)) if row_bytes else MOST_TOGETHER
