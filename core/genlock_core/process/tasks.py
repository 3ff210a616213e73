"""Tasks of asyncio that are kept while they run, and that end for certain.

asyncio keeps no strong reference to a task, tells nobody of its error, and takes a cancellation for granted. All three
go wrong in a process that runs for months: a task is collected while it waits, a loop dies in silence, and a task that
swallows its cancellation keeps `asyncio.run` from ever returning. Every part of Genlock starts and ends its tasks here.

Python 3.11's `asyncio.wait_for` swallows a cancellation that comes in the moment in which what it waits for is done
(fixed in 3.12), and libraries use it: redis-py for every command that it sends, aiortc for the DTLS handshake.
"""

import asyncio
import io
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, Final, TypeAlias, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

ASK_AGAIN_S: Final = 0.25
"""A task that has not ended this long after it was cancelled is cancelled again."""
GIVE_UP_S: Final = 15.0
"""A task that has not ended this long after it was cancelled first is left alone: its process is about to end."""

OnError: TypeAlias = Callable[["asyncio.Task[Any]", BaseException], None]
"""Told of the error that ended a task; never of a cancellation."""


class OwnedTasks:
    """The tasks of one owner: each is kept until it is done, has a name, and its error is told.

    Started (`start`) -> done by themselves, or cancelled (`cancel`, `end`). An owner that is closed by a coroutine
    calls `end`; one that cannot wait calls `cancel`, and the tasks are kept until they have ended.
    """

    def __init__(self, on_error: OnError | None = None) -> None:
        """`on_error` is called on the asyncio thread; without it the error is logged with the task's name."""
        self._on_error = on_error or _log_error
        self._tasks: set[asyncio.Task[Any]] = set()

    def __iter__(self) -> Iterator["asyncio.Task[Any]"]:
        """The tasks that are not done, as they are now."""
        return iter(tuple(self._tasks))

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, T], *, name: str) -> "asyncio.Task[T]":
        """Run it beside everything else."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def cancel(self) -> None:
        """Ask all of them to end."""
        for task in self:
            task.cancel()

    async def end(self, *, give_up_s: float = GIVE_UP_S) -> None:
        """Cancel all of them, and wait until they have ended; see `end_tasks`.

        Tasks that are started meanwhile end, too.
        """
        asked: set[asyncio.Task[Any]] = set()
        while left := self._tasks - asked:
            asked |= left
            await end_tasks(left, give_up_s=give_up_s)

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_error(task, error)


async def end_tasks(
    tasks: Iterable["asyncio.Future[Any]"], *, ask_again_s: float = ASK_AGAIN_S, give_up_s: float = GIVE_UP_S
) -> None:
    """Cancel tasks and wait until all are done, whatever they end with.

    A task that swallows a cancellation is cancelled again every `ask_again_s`, which is longer than its clean-up may
    take. One that is not done after `give_up_s` is left to itself. Both are logged by name.

    A caller that is cancelled while it waits here is cancelled at once. The tasks have been asked to end by then.
    """
    ending = tuple(tasks)
    loop = asyncio.get_running_loop()
    until_s = loop.time() + give_up_s
    pending = _cancelled(ending)
    told: set[asyncio.Future[Any]] = set()
    while pending:
        _, pending = await asyncio.wait(pending, timeout=min(ask_again_s, max(0.0, until_s - loop.time())))
        if pending and loop.time() >= until_s:
            for task in pending:
                logger.error("%s did not end within %g s; it is left alone\n%s", name_of(task), give_up_s, stack(task))
            break
        for task in pending - told:
            logger.warning("%s goes on although it was cancelled; it is cancelled again", name_of(task))
        told |= pending
        pending = _cancelled(pending)

    # An error that nobody asks for is reported by asyncio when the task is collected.
    for task in ending:
        if task.done() and not task.cancelled():
            task.exception()


async def wait_first(*waited: "asyncio.Future[Any] | asyncio.Event", timeout_s: float | None = None) -> None:
    """Wait until one of the tasks is done or one of the events is set, at most for `timeout_s`.

    Nothing is cancelled and nothing raised: the caller looks at what it gave.
    """
    futures = {one for one in waited if not isinstance(one, asyncio.Event)}
    events = [one for one in waited if isinstance(one, asyncio.Event)]
    waiting = [asyncio.create_task(event.wait(), name="waits for an event") for event in events]
    try:
        await asyncio.wait({*futures, *waiting}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end_tasks(waiting)


async def done_before(event: asyncio.Event, work: "Awaitable[Any]") -> bool:
    """Do the work unless, or until, the event is set; whether it was done. Raises what the work raises.

    Work that was not done has been cancelled, and has ended, when this returns.
    """
    task = asyncio.ensure_future(work)
    try:
        if not event.is_set():
            await wait_first(task, event)
        if not task.done():
            return False
        await task
    finally:
        await end_tasks([task])
    return True


async def cancellable(work: Awaitable[T]) -> T:
    """The result of work that may swallow a cancellation; a swallowed one is raised when the work is done.

    asyncio counts the requests to cancel a task, also those that came to nothing.
    """
    task = asyncio.current_task()
    if task is None:
        return await work
    before = task.cancelling()
    try:
        result = await work
    except Exception as error:
        if task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise
    if task.cancelling() > before:
        raise asyncio.CancelledError
    return result


def name_of(task: "asyncio.Future[Any]") -> str:
    """How a log names a task, or a future that stands for something else."""
    return f"the task {task.get_name()}" if isinstance(task, asyncio.Task) else repr(task)


def stack(task: "asyncio.Future[Any]") -> str:
    """Where a task waits, as text; empty for a future."""
    text = io.StringIO()
    if isinstance(task, asyncio.Task):
        task.print_stack(file=text)
    return text.getvalue().rstrip()


def _cancelled(tasks: Iterable["asyncio.Future[Any]"]) -> set["asyncio.Future[Any]"]:
    """Those that are not done; each has been asked to end."""
    pending = {task for task in tasks if not task.done()}
    for task in pending:
        task.cancel()
    return pending


def _log_error(task: "asyncio.Task[Any]", error: BaseException) -> None:
    logger.error("%s failed", name_of(task), exc_info=error, extra={"task": task.get_name()})
