"""The most that a session's claim pays for, as its worker knows it: told with each heartbeat, held by the engine.

Stands with the session because it is that of one claim: under another epoch another one is granted.
"""

import logging
from dataclasses import replace

from redis.exceptions import RedisError

from genlock_core.approximation.levels import Level
from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import Ceiling
from genlock_core.claims.record import Granted, SessionRecord
from genlock_core.clock import Clock
from genlock_core.metrics import WorkerMetrics
from genlock_worker.rows.engine_client import EngineClient
from genlock_worker.session.figures import SessionFigures

logger = logging.getLogger(__name__)


class GrantedLevel:
    """What is granted here. `hear` notes what a heartbeat was told; `follow` brings it to the engine.

    Where the level was lowered, the claim goes on paying for the higher one until this worker has settled it.
    """

    def __init__(
        self,
        record: SessionRecord,
        *,
        epoch: int,
        claims: Claims,
        engine: EngineClient,
        name: str,
        figures: SessionFigures,
        clock: Clock,
        metrics: WorkerMetrics,
    ) -> None:
        self.granted: Granted | None = record.granted
        """None: no bound, as where the release before sized the session."""
        self.cost = record.cost
        """What the claim pays, in thousandths, as far as this worker knows."""
        self.limit = record.limit
        """What the plan of levels allows it, to be told to a Redis that has lost it."""
        self.below_since_ms = record.below_since_ms
        self._session = record.name
        self._epoch = epoch
        self._claims = claims
        self._engine = engine
        self._engine_name = name
        self._figures = figures
        self._clock = clock
        self._metrics = metrics
        self._is_held = False
        """Whether the engine is known to keep to what is granted."""
        self._following = False
        self._was_lower = False
        """Whether the last heartbeat was told an older number."""
        self._asked_s: float | None = None
        """Since when it is known that a heartbeat would be told of another level."""
        self._heard_s = clock.monotonic()
        """When the inbox, or else a heartbeat, spoke first of what is granted."""
        self._show()

    @property
    def level(self) -> Level | None:
        return None if self.granted is None else self.granted.level

    def noted_in(self, record: SessionRecord) -> SessionRecord:
        """The record with what is known of its level here, which is newer."""
        return replace(record, granted=self.granted, limit=self.limit, below_since_ms=self.below_since_ms)

    def ask(self) -> None:
        """The inbox says that another level is granted: the next heartbeat is told of it."""
        if self._asked_s is None:
            self._asked_s = self._clock.monotonic()

    def hear(self, told: Ceiling) -> bool:
        """Note what is granted now; whether there is anything to `follow`.

        The answer to a heartbeat that was on its way when the record was read may be older than the record. The next
        heartbeat began after that: if it is told an older number too, Redis went back to a replica that knew less.
        """
        known = self.granted
        self._metrics.ceiling_answers.labels(_compared(told, known)).inc()
        is_lower = known is not None and told.number < known.number
        went_back = is_lower and self._was_lower
        self._was_lower = is_lower and not went_back
        if is_lower and not went_back:
            return False

        if known is None or told.number != known.number:
            self.granted = Granted(told.steps, told.number, every=told.every)
            self._is_held = False
            self._heard_s = self._clock.monotonic() if self._asked_s is None else self._asked_s
            self._show()
        self._asked_s = None
        self.limit = told.limit
        self.below_since_ms = told.below_since_ms

        # Redis may have answered before it was told that this level is settled: what the engine holds costs no more.
        self.cost = min(told.cost, told.due) if self._is_held else told.cost
        return not self._following and (not self._is_held or told.due < told.cost)

    async def opened(self, planned: Level | None) -> None:
        """The engine has just opened the session, with this at most: it missed what was said meanwhile.

        That may be settled already, so no chunk may begin before this returns.
        """
        self._is_held = False
        while self.level is not None and self.level != planned:
            planned = self.level
            await self._engine.limit(self._engine_name, planned)

    async def follow(self, told: Ceiling) -> None:
        """Have the engine keep to it; once it does, tell the claim, which pays for no more from then on."""
        self._following = True
        heard_s = self._heard_s
        try:
            running = await self._engine.limit(self._engine_name, told.level)
            if running is not None:
                self._figures.level_changes(running, since_s=heard_s)
            if self.granted is None or self.granted.number != told.number:
                return

            self._is_held = True
            if told.due < told.cost:
                # Before Redis knows: it may give the room to another session at once, which then comes here.
                self.cost = told.due
                await self._claims.settle(self._session, epoch=self._epoch, number=told.number)
                self._metrics.level_settle_seconds.observe(self._clock.monotonic() - heard_s)
        except RedisError as error:
            logger.warning("%s: its lower cost cannot be settled yet: %s", self._session, error)
        finally:
            self._following = False

    def _show(self) -> None:
        if self.granted is not None:
            self._metrics.ceiling.labels(self._session, "steps").set(self.granted.steps)
            self._metrics.ceiling.labels(self._session, "every").set(self.granted.every)


def _compared(told: Ceiling, known: Granted | None) -> str:
    """What a heartbeat was told, beside what is known."""
    if known is None or told.level == known.level:
        return "same"
    if told.number < known.number:
        return "older"
    return "lower" if told.level.is_below(known.level) else "higher"
