"""Tasks end even where a cancellation is swallowed."""

import asyncio

from genlock_worker.ending import end_tasks


async def test_a_task_that_loses_a_cancellation_is_asked_again() -> None:
    started = asyncio.Event()

    async def stubborn() -> None:
        try:
            started.set()
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            await asyncio.sleep(3_600)

    async def failing() -> None:
        raise ValueError("its own fault")

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(failing())]
    await started.wait()
    await end_tasks(tasks)
    assert all(task.done() for task in tasks)


async def test_nothing_to_end_is_fine() -> None:
    await end_tasks([])
