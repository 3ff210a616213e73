"""The batches that the device has: booked when they are handed over, judged when it has come to them.

At most `depth` are under way, so that the device has the next one while the host keeps the books of this one. They are
computed in order, on one stream, and come back in order.

- *Booked*: the kernels of a batch are queued, its sessions move on by all that the device's answer cannot change, and
  chunks that end with it are handed to the decoder. The next batch may be handed over at once.
- *Judged*: once the device has come to its end its verdicts lie on the host. A row that is not finite is its session's
  failure: the session is void from there on, with all that is queued of it, and nobody else is touched.
- *Lost*: a fault of the device says nothing of who is to blame. The batch has no results, nor have those behind it, and
  all of their sessions are void.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from genlock_core.clock import Clock
from genlock_worker.engines.contract import BatchResult, DeviceSeconds, EngineFailure, Frames, Row, RowResult
from genlock_worker.engines.diffusion.streaming.device_progress import DeviceTimer, TimedWork
from genlock_worker.engines.diffusion.streaming.device_queue import Reached, at_once
from genlock_worker.engines.diffusion.streaming.micro_step import QueuedRow, queue_rows
from genlock_worker.engines.diffusion.streaming.row_work import RowWork
from genlock_worker.engines.diffusion.streaming.session import DiffusionSession
from genlock_worker.engines.diffusion.streaming.shared import Shared

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class BookedRow:
    """A row of a batch that is under way. `queued` is there unless `failure` is."""

    row: Row
    session: DiffusionSession
    failure: str | None = None
    """Why it counts for nothing: its session cannot go on from here, or could not from an earlier row on."""
    queued: QueuedRow | None = None
    pictures: Future[Frames] | None = None
    """After its chunk's last row."""


@dataclass(frozen=True, slots=True, eq=False)
class QueuedBatch:
    """A batch that is under way."""

    number: int
    rows: Sequence[BookedRow]
    reached: Reached
    """The device has come to its end."""
    denoising: Sequence[TimedWork] = ()
    lost: str | None = None
    """Why it could not be handed over."""


class Batches:
    """Batches under way, oldest first. `wake` is called on any thread once there may be something to collect."""

    def __init__(self, shared: Shared, *, depth: int, clock: Clock, wake: Callable[[], None]) -> None:
        self.depth = depth
        self._shared = shared
        self._wake = wake
        self._queued: deque[QueuedBatch] = deque()
        self._denoising = DeviceTimer(shared.components.device, clock)

    def check(self, number: int) -> None:
        """Raise ValueError unless a batch of this number may be handed over now."""
        if any(batch.number == number for batch in self._queued):
            raise ValueError(f"a batch {number} is under way already")
        if len(self._queued) >= self.depth:
            raise ValueError(f"{self.depth} batches are under way already")

    def names(self, session: DiffusionSession) -> bool:
        """Whether a batch that is under way has a row of this session."""
        return any(booked.session is session for batch in self._queued for booked in batch.rows)

    def submit(self, number: int, rows: Sequence[tuple[Row, DiffusionSession]]) -> list[DiffusionSession]:
        """Hand rows that were checked to the device, and book them. Those of a session that is void are not run.

        Returns the sessions of which a chunk has ended with it.
        """
        booked = [BookedRow(row, session, session.failure) for row, session in rows]
        reached, lost = at_once(), None
        try:
            with self._denoising.piece():
                queued = self._queue(booked)
            self._book(queued)
            reached = self._shared.queue.reached()
        except Exception as error:
            logger.exception("a batch failed")
            lost = f"{type(error).__name__}: {error}"
            _void(booked, lost)

        denoising = () if lost else self._denoising.take_queued()
        self._queued.append(QueuedBatch(number, booked, reached, denoising, lost))
        reached.add_done_callback(lambda _: self._wake())
        return [one.session for one in booked if one.pictures is not None]

    def collect(self) -> Iterator[BatchResult]:
        """Judge the batches that the device has come to the end of; waits for none."""
        while self._queued and self._queued[0].reached.done():
            batch = self._queued.popleft()
            problem = batch.reached.exception()
            if problem is None:
                yield self._judged(batch)
                continue

            # What the device has queued behind a fault is no good either.
            logger.error("a batch failed: %s", problem)
            for lost in (batch, *self._queued):
                reason = lost.lost or f"{type(problem).__name__}: {problem}"
                _void(lost.rows, reason)
                yield BatchResult(lost.number, lost=reason)
            self._queued.clear()

    def _queue(self, rows: Sequence[BookedRow]) -> list[BookedRow]:
        """Queue what can be; returns the rows that were."""
        works: list[RowWork] = []
        entered: list[BookedRow] = []
        for booked in rows:
            if booked.failure is not None:
                continue
            try:
                works.append(booked.session.enter(booked.row.step, booked.row.chunk))
                entered.append(booked)
            except EngineFailure as failure:  # its ring is computed anew first, which may not fit
                _void([booked], failure.reason)

        for booked, queued in zip(entered, queue_rows(works, self._shared.forward), strict=True):
            if isinstance(queued, EngineFailure):
                _void([booked], queued.reason)
            else:
                booked.queued = queued
        return [booked for booked in entered if booked.queued is not None]

    def _book(self, rows: Sequence[BookedRow]) -> None:
        for booked in rows:
            row, session, queued = booked.row, booked.session, booked.queued
            latents = None if queued is None else session.book(row.step, row.chunk, queued)
            if latents is not None:
                booked.pictures = self._shared.pictures.decode(row, session.stream, latents)

    def _judged(self, batch: QueuedBatch) -> BatchResult:
        if batch.lost is not None:
            return BatchResult(batch.number, lost=batch.lost)
        results = tuple(self._result(booked, batch) for booked in batch.rows)
        encode_s, encoded = self._shared.inputs.timer.take()
        decode_s, decoded = self._shared.pictures.timer.take()
        seconds = DeviceSeconds(
            rows=sum((work.seconds for work in batch.denoising), 0.0),
            encode=encode_s,
            decode=decode_s,
        )
        return BatchResult(batch.number, results, seconds, encoded, decoded)

    def _result(self, booked: BookedRow, batch: QueuedBatch) -> RowResult:
        session, queued = booked.session, booked.queued
        if queued is None or booked.failure is not None:
            return RowResult(booked.row, failure=booked.failure)

        try:
            session.judge()
        except ValueError as problem:
            failure = str(problem)
        else:
            return RowResult(booked.row, likeness=queued.likeness, pictures=booked.pictures)

        # What the session has beside it and behind it was computed from what is no good.
        behind = (one for other in (batch, *self._queued) for one in other.rows if one.session is session)
        _void(behind, failure)
        return RowResult(booked.row, failure=failure)


def _void(rows: Iterable[BookedRow], reason: str) -> None:
    """These rows count for nothing, and their sessions cannot go on; a reason that is there already stays."""
    for booked in rows:
        booked.failure = booked.failure or reason
        booked.session.fail(reason)
