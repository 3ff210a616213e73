"""Executors of one thread: work that goes on beside the engine's thread, in order, and ends with its owner."""

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import TypeVar

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
        while not self._work.empty():
            self._work.get()
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


def _serve(work: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (item := work.get()) is not None:
        item()
        del item  # what it holds is let go before the next one comes


def _fulfil(future: Future[T], work: Callable[[], T]) -> None:
    try:
        result = work()
    except Exception as problem:  # noqa: BLE001 - whoever asks the future gets it
        future.set_exception(problem)
    else:
        future.set_result(result)
