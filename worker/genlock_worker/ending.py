"""Ending tasks for certain: a cancellation that meets a library's own timeout or clean-up can be lost, so ask again."""

import asyncio
from collections.abc import Collection
from typing import Any

ASK_AGAIN_S = 0.25


async def end_tasks(tasks: Collection[asyncio.Future[Any]]) -> None:
    """Cancel tasks and wait until all are done, whatever they end with."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=ASK_AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen: nobody else will ask
