"""Tasks are kept, their errors are told, and they end even where a cancellation is swallowed."""

import asyncio
import gc
import logging
import weakref
from typing import Any

import pytest

from genlock_core.process.tasks import OwnedTasks, cancellable, done_before, end_tasks, wait_first


class Stubborn:
    """A loop that swallows its first cancellations."""

    def __init__(self, swallows: int) -> None:
        self.started = asyncio.Event()
        self.cancelled = 0
        self._swallows = swallows

    async def run(self) -> None:
        while True:
            try:
                self.started.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                if self.cancelled > self._swallows:
                    raise


async def failing() -> None:
    raise ValueError("its own fault")


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


# -- ending ---------------------------------------------------------------------------------------------------------


async def test_a_task_that_swallows_its_cancellation_is_cancelled_again_and_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stubborn = Stubborn(swallows=2)
    task = asyncio.create_task(stubborn.run(), name="the stubborn one")
    await stubborn.started.wait()
    await end_tasks([task])
    assert task.cancelled()
    assert stubborn.cancelled == 3
    assert [record.getMessage() for record in caplog.records] == [
        "the task the stubborn one goes on although it was cancelled; it is cancelled again"
    ]


async def test_a_task_that_never_ends_is_left_alone_and_named_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    stubborn = Stubborn(swallows=1_000)
    task = asyncio.create_task(stubborn.run(), name="the immortal one")
    await stubborn.started.wait()
    await end_tasks([task], give_up_s=0.01)
    assert not task.done()
    error = caplog.records[-1].getMessage()
    assert "the immortal one did not end within 0.01 s" in error
    assert "in run" in error
    while not task.done():
        stubborn._swallows = 0
        task.cancel()
        await asyncio.sleep(0)


async def test_tasks_that_have_ended_are_no_news(caplog: pytest.LogCaptureFixture) -> None:
    tasks = [asyncio.create_task(failing()), asyncio.create_task(wait_for_ever())]
    await asyncio.sleep(0)
    await end_tasks(tasks)
    assert all(task.done() for task in tasks)
    await end_tasks([])
    assert not caplog.records


async def test_whoever_is_cancelled_while_it_ends_others_is_cancelled_at_once() -> None:
    stubborn = Stubborn(swallows=1)
    task = asyncio.create_task(stubborn.run())
    await stubborn.started.wait()
    ending = asyncio.create_task(end_tasks([task]))
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert stubborn.cancelled == 1, "the task has been asked to end"
    await end_tasks([task])


# -- keeping --------------------------------------------------------------------------------------------------------


async def test_a_task_that_nobody_else_holds_is_kept_until_it_is_done() -> None:
    tasks = OwnedTasks()

    async def wait() -> None:
        await asyncio.get_running_loop().create_future()  # which nobody else holds either

    alive = weakref.ref(tasks.start(wait(), name="waits"))
    await asyncio.sleep(0)
    gc.collect()
    assert alive() is not None
    assert [task.get_name() for task in tasks] == ["waits"]
    await tasks.end()
    assert len(tasks) == 0


async def test_an_error_is_logged_with_the_tasks_name(caplog: pytest.LogCaptureFixture) -> None:
    tasks = OwnedTasks()
    tasks.start(failing(), name="the faulty one")
    while len(tasks):
        await asyncio.sleep(0)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "the task the faulty one failed"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


async def test_an_error_goes_to_the_owner_who_asked_for_it(caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[str, BaseException]] = []
    tasks = OwnedTasks(lambda task, error: told.append((task.get_name(), error)))
    tasks.start(failing(), name="the faulty one")
    tasks.start(wait_for_ever(), name="the cancelled one")
    await asyncio.sleep(0)
    await tasks.end()
    ((name, error),) = told
    assert (name, str(error)) == ("the faulty one", "its own fault")
    assert not caplog.records


async def test_tasks_that_are_only_cancelled_are_kept_until_they_have_ended() -> None:
    tasks = OwnedTasks()
    stubborn = Stubborn(swallows=0)
    tasks.start(stubborn.run(), name="cancelled")
    await stubborn.started.wait()
    tasks.cancel()
    assert len(tasks) == 1
    while len(tasks):
        await asyncio.sleep(0)
    assert stubborn.cancelled == 1


async def test_a_task_that_is_started_by_one_that_ends_is_ended_too() -> None:
    tasks = OwnedTasks()

    async def leaves_another_behind() -> None:
        try:
            await wait_for_ever()
        finally:
            tasks.start(wait_for_ever(), name="left behind")

    tasks.start(leaves_another_behind(), name="ends")
    await asyncio.sleep(0)
    await tasks.end()
    assert len(tasks) == 0


# -- waiting --------------------------------------------------------------------------------------------------------


async def test_the_first_of_tasks_and_events_ends_the_wait_and_nothing_is_cancelled() -> None:
    running = asyncio.create_task(wait_for_ever())
    event = asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    before = len(asyncio.all_tasks())
    await wait_first(running, event)
    assert event.is_set()
    assert not running.done()

    failed = asyncio.create_task(failing())
    await wait_first(running, failed, asyncio.Event())
    assert isinstance(failed.exception(), ValueError)
    assert len(asyncio.all_tasks()) == before, "what waited for the events has ended"
    await end_tasks([running])


async def test_a_wait_is_over_when_its_time_is() -> None:
    event = asyncio.Event()
    await wait_first(event, timeout_s=0.01)
    assert not event.is_set()


async def test_work_is_done_unless_the_event_is_set_or_until_it_is() -> None:
    event = asyncio.Event()
    ended: list[str] = []

    async def work() -> None:
        try:
            await wait_for_ever()
        finally:
            ended.append("ended")

    assert await done_before(event, asyncio.sleep(0))
    with pytest.raises(ValueError, match="its own fault"):
        await done_before(event, failing())
    asyncio.get_running_loop().call_soon(event.set)
    assert not await done_before(event, work())
    assert ended == ["ended"]
    assert not await done_before(event, work())


# -- cancellations that a library swallows --------------------------------------------------------------------------


async def swallow(then: BaseException | None = None) -> str:
    """What Python 3.11's `wait_for` does when it is cancelled in the moment in which it is done."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if then is not None:
            raise then from None
    return "done"


async def cancelled_while(work: Any) -> "asyncio.Task[Any]":
    async def run() -> Any:
        return await work

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    return task


async def test_a_swallowed_cancellation_is_raised_when_the_work_is_done() -> None:
    assert not (await cancelled_while(swallow())).cancelled()
    assert (await cancelled_while(cancellable(swallow()))).cancelled()
    assert (await cancelled_while(cancellable(swallow(OSError("gone"))))).cancelled()


async def test_a_timeout_over_a_swallowed_cancellation_is_one() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await cancellable(swallow())
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_work_of_a_task_that_was_cancelled_before_is_not_disturbed() -> None:
    async def cleans_up() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return await cancellable(asyncio.sleep(0, "cleaned up"))
        return ""

    task = asyncio.create_task(cleans_up())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "cleaned up"


async def test_what_work_raises_by_itself_is_raised() -> None:
    with pytest.raises(ValueError, match="its own fault"):
        await cancellable(failing())
