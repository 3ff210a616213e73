"""The election in a thread of its own: a flood of work in the main loop must not cost the lease.

Renewing takes a few turns of an event loop. In a loop that thousands of events keep busy each turn may last a second,
and a lease that is not renewed for four seconds goes to another replica. Whether the main loop does its work is for
`health` to say.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from genlock_core.process.tasks import end_tasks
from genlock_operator.leader import Leader

MakeLeader = Callable[[], tuple[Leader, Callable[[], Awaitable[None]]]]
"""Called in the thread's own loop: a leader, and what closes its connection."""


class Election:
    """`run` until cancelled or lost, then `release`. `leading` is set in the loop that called `run`."""

    def __init__(self, make_leader: MakeLeader) -> None:
        self._make_leader = make_leader
        self.leading = asyncio.Event()
        self._thread: threading.Thread | None = None

        # Made by the thread, in its own loop.
        self._leader: Leader | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def may_act(self) -> bool:
        """Whether we hold the lease now, by our own clock; from any thread."""
        leader = self._leader
        return leader is not None and leader.may_act()

    async def run(self) -> None:
        """Stand by, then lead. Raises LeadershipLost, or what ended the thread otherwise."""
        main = asyncio.get_running_loop()
        ended: asyncio.Future[None] = main.create_future()
        self._thread = threading.Thread(target=self._elect, args=(main, ended), name="election", daemon=True)
        self._thread.start()
        try:
            await ended
        finally:
            self.leading.clear()

    async def release(self) -> None:
        """Let another replica lead at once, and end the thread."""
        if self._thread is None:
            return
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # the thread has ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(self._thread.join)

    def _elect(self, main: asyncio.AbstractEventLoop, ended: "asyncio.Future[None]") -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._thread_main(main))
        except Exception as caught:  # noqa: BLE001 - it is raised again in the loop that waits for it
            error = caught

        def tell() -> None:
            if ended.done():
                return
            if error is None:
                ended.set_result(None)
            else:
                ended.set_exception(error)

        with contextlib.suppress(RuntimeError):  # the main loop is closed
            main.call_soon_threadsafe(tell)

    async def _thread_main(self, main: asyncio.AbstractEventLoop) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._leader, close = self._make_leader()
        tasks: set[asyncio.Task[Any]] = {
            (electing := asyncio.create_task(self._leader.run(), name="lease")),
            asyncio.create_task(self._stop.wait(), name="stop"),
            (telling := asyncio.create_task(self._tell(self._leader, main), name="leading")),
        }
        try:
            await asyncio.wait(tasks - {telling}, return_when=asyncio.FIRST_COMPLETED)
            if electing.done():
                electing.result()
        finally:
            await end_tasks(tasks)
            await self._leader.release()
            await close()

    async def _tell(self, leader: Leader, main: asyncio.AbstractEventLoop) -> None:
        await leader.leading.wait()
        main.call_soon_threadsafe(self.leading.set)
