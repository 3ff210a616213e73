"""The device of the mock engine: a thread that does what it is given in order, as a GPU does its queue.

It is a device with all that can go wrong with one: `Faults` makes it fail late, hang, lose what it has, or answer out
of order. Whoever runs the mock for its pictures leaves that alone.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from genlock_worker.engines.contract import BatchResult, Collected, Row

STOP_S = 1.0
"""How long the end of the thread is waited for: one that hangs is left behind."""


class DeviceLost(Exception):
    """The device has lost all sessions and all batches that it has."""


class Faults:
    """What goes wrong; here nothing does. Asked on the device's thread alone."""

    def begins(self, number: int, rows: Sequence[Row]) -> None:
        """A batch begins. Blocks for as long as the device is to hang; raises DeviceLost."""

    def verdict(self, row: Row) -> str | None:  # noqa: ARG002 - for whoever overrides it
        """Why a row that was computed is no good; None: it is good."""
        return None

    def held_back(self, number: int) -> bool:  # noqa: ARG002 - for whoever overrides it
        """Whether a batch that is done is told of only after the one that follows it."""
        return False


Work = SimpleQueue[Callable[[], None] | None]


class _Answers:
    """What the device has to tell. All but `collect` is called on its thread."""

    def __init__(self) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._ready: deque[Collected] = deque()
        self._held: list[tuple[BatchResult, frozenset[str]]] = []

    def answer(self, answer: Collected) -> None:
        """Something has ended: to be collected."""
        self._ready.append(answer)
        self.wake()

    def answer_batch(self, result: BatchResult, sessions: frozenset[str], *, held_back: bool) -> None:
        """A batch has ended. One that is held back comes after the next one that has none of its sessions."""
        in_the_way = [one for one in self._held if not one[1].isdisjoint(sessions)]
        for held in in_the_way:
            self._held.remove(held)
            self.answer(held[0])
        if held_back:
            self._held.append((result, sessions))
            return
        self.answer(result)
        self.release()

    def release(self) -> None:
        """Hold nothing back any more."""
        while self._held:
            self.answer(self._held.pop(0)[0])

    def collect(self) -> list[Collected]:
        """The answers since the last call; on any thread."""
        found = []
        while self._ready:
            found.append(self._ready.popleft())
        return found


class Device:
    """Does one thing after the other. `answer` and `answer_batch` are for what it is given to do.

    Its thread refers to its work and its answers alone: it ends when the device is stopped, or when nobody has it.
    """

    def __init__(self) -> None:
        self.parts = 0
        """What it has finished since the start; may be read on any thread."""
        self._work: Work = SimpleQueue()
        self._answers = _Answers()
        self._thread = threading.Thread(
            target=_serve, args=(self._work, self._answers), name="mock device", daemon=True
        )
        self._thread.start()
        weakref.finalize(self, self._work.put, None)

    def call_when_ready(self, wake: Callable[[], None]) -> None:
        """Call `wake` on the device's thread whenever there are answers."""
        self._answers.wake = wake

    def submit(self, work: Callable[[], None]) -> None:
        """Do this after what was submitted before; does not wait."""
        self._work.put(work)

    def answer(self, answer: Collected) -> None:
        """Something has ended: to be collected."""
        self._answers.answer(answer)

    def answer_batch(self, result: BatchResult, sessions: frozenset[str], *, held_back: bool) -> None:
        """A batch has ended. One that is held back comes after the next one that has none of its sessions."""
        self._answers.answer_batch(result, sessions, held_back=held_back)

    def collect(self) -> list[Collected]:
        """The answers since the last call; on any thread."""
        return self._answers.collect()

    def stop(self) -> None:
        """End the thread after what it is at; what waits is forgotten."""
        while not self._work.empty():
            self._work.get()
        self._work.put(None)
        self._thread.join(STOP_S)


def _serve(todo: Work, answers: _Answers) -> None:
    while (work := todo.get()) is not None:
        work()
        # Whoever gave this work may be gone by the time of the next.
        del work
        if todo.empty():
            answers.release()
