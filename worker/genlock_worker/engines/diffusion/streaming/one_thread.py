"""Work that goes on beside the engine's thread: executors of one thread, in order, and what follows once it is done."""

import logging
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

STOP_S = 2.0
"""How long the end of a thread is waited for: a process that ends while it works on a device is aborted."""


class OneThread(Executor):
    """Runs what is submitted in order on a thread that ends with this object.

    A daemon, unlike the threads of ThreadPoolExecutor: a device that hangs must not keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=_serve, args=(self._work,), name=name, daemon=True)
        self._thread.start()
        weakref.finalize(self, self._work.put, None)

    def stop(self) -> None:
        """End the thread after what it is at, and wait a little for that: a device may hang."""
        with suppress(Empty):  # the thread takes from it as well, so that it may be empty at any moment
            while True:
                self._work.get_nowait()
        self._work.put(None)
        self._thread.join(STOP_S)

    def submit(self, fn: Callable[..., T], /, *args: object, **kwargs: object) -> Future[T]:
        future: Future[T] = Future()
        self._work.put(lambda: _fulfil(future, lambda: fn(*args, **kwargs)))
        return future


class AtOnce(Executor):
    """Runs what is submitted in the caller's thread, before `submit` returns."""

    def submit(self, fn: Callable[..., T], /, *args: object, **kwargs: object) -> Future[T]:
        future: Future[T] = Future()
        _fulfil(future, lambda: fn(*args, **kwargs))
        return future


def when_done(future: Future[T], then: Callable[[Future[T]], object]) -> None:
    """Call `then` with the future once it is done, on any thread, and let go of it: a future keeps its callbacks.

    What a callback holds may hold the future, and with it memory of the device until garbage is collected.
    """
    held = [then]
    future.add_done_callback(lambda done: held.pop()(done))


def let_go(problem: BaseException) -> None:
    """Before it is kept: forget where it was raised, which refers to all that the frames up to there had."""
    found: BaseException | None = problem
    while found is not None:
        found.__traceback__ = None
        found = found.__cause__ or found.__context__


def _serve(work: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (item := work.get()) is not None:
        item()
        del item  # what it holds is let go before the next one comes


def _fulfil(future: Future[T], work: Callable[[], T]) -> None:
    try:
        result = work()
    except Exception as problem:
        logger.debug("work beside the engine's thread failed", exc_info=problem)
        let_go(problem)
        future.set_exception(problem)
    else:
        future.set_result(result)
