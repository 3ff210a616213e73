"""Prompts on their way to the engine: prepared (encoded) on a thread of their own, so that no micro-step waits for it.

At most one prompt of a session is being prepared, and what is wanted of the session meanwhile waits behind it as one
change: somebody who types fast costs the others little, and nothing overtakes what was asked before it.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from genlock_core.process.tasks import OwnedTasks
from genlock_worker.engines.contract import Change, EngineFailure

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Pending:
    """A session whose prompt is being prepared, and what has been wanted since."""

    task: asyncio.Task[None]
    behind: Change


class PromptQueue:
    """`prepare` may take seconds and raise anything; `apply` gets every change whose prompt is ready, in order.

    All methods are called on the asyncio thread.
    """

    def __init__(self, prepare: Callable[[str], None], apply: Callable[[str, Change], None]) -> None:
        self._prepare = prepare
        self._apply = apply
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prompts")
        self._tasks = OwnedTasks()
        self._pending: dict[str, _Pending] = {}

    async def ready(self, session: str, prompt: str) -> None:
        """Prepare a prompt that a session is to be opened with. Raises EngineFailure."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._prepare, prompt)
        except Exception as error:
            reason = f"its prompt cannot be prepared: {type(error).__name__}: {error}"
            raise EngineFailure(session, reason) from error

    def change(self, session: str, change: Change) -> None:
        """Apply a change: at once if nothing has to be prepared for it and nothing was wanted before it."""
        if (pending := self._pending.get(session)) is not None:
            pending.behind = merged(pending.behind, change)
        elif change.prompt is None:
            self._apply(session, change)
        else:
            task = self._tasks.start(self._one_after_the_other(session, change), name=f"prompts of {session}")
            self._pending[session] = _Pending(task, Change())

    def forget(self, session: str) -> None:
        """Nothing that was wanted of this session is applied any more."""
        if (pending := self._pending.pop(session, None)) is not None:
            pending.task.cancel()

    def stop(self) -> None:
        """Forget everything; a prompt that is being prepared is left to itself."""
        for session in list(self._pending):
            self.forget(session)
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _one_after_the_other(self, session: str, change: Change) -> None:
        while change != Change():
            self._apply(session, await self._usable(session, change))
            pending = self._pending[session]
            change = pending.behind
            pending.behind = Change()
        del self._pending[session]

    async def _usable(self, session: str, change: Change) -> Change:
        """The change once its prompt is ready; without it if it cannot be used."""
        if change.prompt is None:
            return change
        try:
            await self.ready(session, change.prompt)
        except EngineFailure as failure:
            logger.error("%s; it keeps the prompt that it has", failure)
            return replace(change, prompt=None)
        return change


def merged(first: Change, then: Change) -> Change:
    """Both changes as one: the later value of every field."""
    return Change(
        prompt=first.prompt if then.prompt is None else then.prompt,
        steps=first.steps if then.steps is None else then.steps,
        noise_scale=first.noise_scale if then.noise_scale is None else then.noise_scale,
        reset=first.reset if then.reset is None else then.reset,
    )
