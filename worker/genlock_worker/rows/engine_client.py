"""What sessions ask of the engine, on the asyncio thread: none of it waits for a batch.

Stands before the engine loop, on whose thread it is done, in the order in which it was asked for.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from genlock_core.approximation.levels import Level
from genlock_core.claims.pulse import EnginePhase
from genlock_worker.engines.contract import Change, EngineFailure
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.rows.cost_model import LearnedBatches
from genlock_worker.rows.engine_loop import EngineLoop
from genlock_worker.rows.listener import EngineListener
from genlock_worker.rows.prompt_queue import PromptQueue
from genlock_worker.rows.session_rows import SessionPlan

logger = logging.getLogger(__name__)

T = TypeVar("T")


class EngineClient:
    """The engine as the sessions of a worker have it; prompts are prepared on the way to it."""

    def __init__(self, loop: EngineLoop) -> None:
        self._loop = loop
        self._thread = loop.thread
        self._sessions = loop.sessions
        self._prompts = PromptQueue(loop.engine.prepare, self._change)
        self._opening: set[str] = set()
        """Sessions whose first prompt is being prepared."""
        self.offer = loop.offer
        """Hand an input chunk in: the loop's own, as no frame needs to pass through here."""

    @property
    def model(self) -> str:
        return self._loop.engine.model

    @property
    def progress(self) -> int:
        """What heartbeats report: it stands still while the engine is stuck."""
        return self._loop.progress

    @property
    def phase(self) -> EnginePhase:
        """What the engine is doing."""
        return self._thread.phase

    @property
    def exhausted(self) -> bool:
        """Its sessions come late, and none can give way further."""
        return self._loop.exhausted

    @property
    def strained(self) -> bool:
        """Whether the machine is too busy for the engine."""
        return self._loop.engine.strained

    def stop(self) -> None:
        """Prepare no more prompts."""
        self._prompts.stop()

    async def open(self, plan: SessionPlan, listener: EngineListener, *, checkpoint: Checkpoint | None = None) -> bool:
        """Start a session, from a checkpoint if there is one; False if it had to start from nothing.

        A checkpoint brings what its own prompt needs; where the plan names another one, that takes over as soon as it
        is prepared. Raises EngineFailure, ValueError if it is open.
        """
        session, prompt = plan.session, plan.settings.prompt
        self._opening.add(session)
        try:
            if checkpoint is not None:
                failure = await self._enter(plan, listener, checkpoint)
                if failure is None:
                    self.apply(session, Change(prompt=prompt))
                    return True
                self._check_wanted(session)
                logger.error("%s: cannot be restored, starting anew: %s", session, failure)

            # From nothing: the prompt comes first, and the session may be closed while it is prepared.
            await self._prompts.ready(session, prompt)
            self._check_wanted(session)
        finally:
            self._opening.discard(session)

        await self._enter(plan, listener, None)
        return False

    def _check_wanted(self, session: str) -> None:
        if session not in self._opening:
            raise EngineFailure(session, "it was closed before it was open")

    async def _enter(self, plan: SessionPlan, listener: EngineListener, checkpoint: Checkpoint | None) -> str | None:
        """Start a session on the engine's thread; why its checkpoint cannot be used, and then it is not started.

        Raises EngineFailure, ValueError if it is open.
        """

        def work(answer: Callable[[str | None], None]) -> None:
            self._sessions.open(plan, listener, checkpoint=checkpoint, opened=answer)

        return await self._ask(work)

    async def turn(self, session: str, *, width: int, height: int) -> None:
        """Begin anew with pictures of this size; what was handed in of another size is dropped."""

        def work(answer: Callable[[None], None]) -> None:
            self._sessions.turn(session, width=width, height=height)
            answer(None)

        await self._ask(work)

    async def limit(self, session: str, level: Level) -> Level | None:
        """Once this returns no chunk begins with more steps, and no more frames are wanted, until it is called again.

        What the next chunk runs with, if that is another level than before. A chunk that was gathered before goes on.
        """

        def work(answer: Callable[[Level | None], None]) -> None:
            answer(self._sessions.limit(session, level))

        return await self._ask(work)

    async def learned(self) -> list[LearnedBatches]:
        """What batches cost here."""

        def work(answer: Callable[[list[LearnedBatches]], None]) -> None:
            answer(self._loop.learned())

        return await self._ask(work)

    async def is_idle(self, session: str) -> bool:
        """Nothing of the session is in flight or ready, and every chunk that it generated was told."""

        def work(answer: Callable[[bool], None]) -> None:
            answer(self._sessions.is_idle(session))

        return await self._ask(work)

    def apply(self, session: str, change: Change) -> None:
        """Change prompt, steps or noise scale from the next chunk on, once the prompt is prepared."""
        self._prompts.change(session, change)

    def _change(self, session: str, change: Change) -> None:
        self._thread.command(partial(self._sessions.change, session, change))

    def close(self, session: str) -> None:
        """Forget a session; what it has in flight is lost."""
        self._opening.discard(session)
        self._prompts.forget(session)
        self._thread.command(partial(self._sessions.close, session))

    async def _ask(self, work: Callable[[Callable[[T], None]], None]) -> T:
        """Do this on the engine's thread, and wait for what it answers. Raises its EngineFailure and ValueError."""
        asked: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def settle(settles: Callable[[], None]) -> None:
            # Whoever asked may have been cancelled meanwhile.
            if not asked.done():
                settles()

        def answer(outcome: T) -> None:
            self._thread.tell(partial(settle, partial(asked.set_result, outcome)))

        def on_the_thread() -> None:
            try:
                work(answer)
            except (EngineFailure, ValueError) as error:
                self._thread.tell(partial(settle, partial(asked.set_exception, error)))

        self._thread.command(on_the_thread)
        return await asked
