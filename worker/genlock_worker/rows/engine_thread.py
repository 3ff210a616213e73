"""The engine's thread: commands go in, callbacks go out, and it sleeps while there is nothing new.

What it does in each of its turns is not known here: the engine loop says that.
"""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from genlock_core.claims.pulse import EnginePhase

logger = logging.getLogger(__name__)

IDLE_TICK_S = 0.1
"""The longest that it sleeps: an idle worker's progress advances ten times a second."""


class EngineThread:
    """Takes turns from `start` to `stop`, or until a turn raises; one that is stuck is left behind (it is a daemon).

    It has the one lock between its own turns and what other threads do: the way in, which offers input chunks, and the
    decoder's, on which chunks are finished. The lock is never held while the engine works.
    """

    def __init__(self, turn: Callable[[], None], *, ended: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        self._turn = turn
        self._ended = ended
        """Is called last, on this thread."""
        self._loop = loop
        self.lock = threading.Condition()
        """Guards the open sessions and their rows, and what follows up to `_woken`."""
        self._commands: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._woken = False
        self.phase = EnginePhase.STEPPING
        """What the engine is doing; written on this thread, read on any."""
        self.crashed: asyncio.Future[str] = loop.create_future()
        """Done, with the reason, if the thread ended by a fault of its own."""
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    # -- on the asyncio thread ----------------------------------------------------------------------------------------

    async def start(self, first: Callable[[], None]) -> None:
        """Start it, and wait until it has done this, or has crashed over it."""
        done: asyncio.Future[None] = self._loop.create_future()

        def work() -> None:
            first()
            self.tell(lambda: None if done.done() else done.set_result(None))

        self.command(work)
        self._thread.start()
        either: list[asyncio.Future[Any]] = [done, self.crashed]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)

    async def stop(self, timeout_s: float) -> None:
        """Let it take no further turn, and wait for its end, `timeout_s` at most."""
        with self.lock:
            self._stopping = True
            self.lock.notify()
        await asyncio.to_thread(self._thread.join, timeout_s)

    # -- on any thread ------------------------------------------------------------------------------------------------

    def command(self, work: Callable[[], None]) -> None:
        """Have this done on the engine's thread, after what was asked for before."""
        with self.lock:
            self._commands.append(work)
            self.lock.notify()

    def tell(self, callback: Callable[[], object]) -> None:
        """Call back on the asyncio thread."""
        with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(callback)

    def wake(self) -> None:
        """Go round once more: what there is to choose from has changed since it was last looked at."""
        with self.lock:
            self._woken = True
            self.lock.notify()

    # -- on the engine's thread ---------------------------------------------------------------------------------------

    def take_commands(self) -> None:
        """Do what was asked for, in its order."""
        while self._commands:
            self._commands.popleft()()

    def sleep(self, seconds: float) -> None:
        """Sleep until something new arrives, or for so long, IDLE_TICK_S at most."""
        with self.lock:
            if not (self._commands or self._stopping or self._woken):
                self.lock.wait(min(IDLE_TICK_S, seconds))
            self._woken = False

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
        except Exception as error:
            logger.critical("the engine thread ended: %s", error, exc_info=True)
            reason = f"{type(error).__name__}: {error}"
            self.tell(lambda: None if self.crashed.done() else self.crashed.set_result(reason))
        finally:
            self._ended()
