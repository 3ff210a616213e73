"""The most steps that a session's claim pays for, as its worker knows it: told with each heartbeat, held by the engine.

Stands with the session because it is that of one claim: under another epoch another one is granted.
"""

import logging

from redis.exceptions import RedisError

from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import Ceiling
from genlock_core.claims.record import Granted, SessionRecord
from genlock_worker.rows.engine_client import EngineClient

logger = logging.getLogger(__name__)


class GrantedLevel:
    """What is granted here. `hear` notes what a heartbeat was told; `follow` brings it to the engine.

    Where the steps were lowered, the claim goes on paying for the higher ones until this worker has settled it.
    """

    def __init__(self, record: SessionRecord, *, epoch: int, claims: Claims, engine: EngineClient, name: str) -> None:
        self.granted: Granted | None = record.granted
        """None: no bound, as where the release before sized the session."""
        self.cost = record.cost
        """What the claim pays, in thousandths, as far as this worker knows."""
        self._session = record.name
        self._epoch = epoch
        self._claims = claims
        self._engine = engine
        self._engine_name = name
        self._is_held = False
        """Whether the engine is known to keep to what is granted."""
        self._following = False
        self._was_lower = False
        """Whether the last heartbeat was told an older number."""

    @property
    def steps(self) -> int | None:
        return None if self.granted is None else self.granted.steps

    def hear(self, told: Ceiling) -> bool:
        """Note what is granted now; whether there is anything to `follow`.

        The answer to a heartbeat that was on its way when the record was read may be older than the record. The next
        heartbeat began after that: if it is told an older number too, Redis went back to a replica that knew less.
        """
        known = self.granted
        is_lower = known is not None and told.number < known.number
        went_back = is_lower and self._was_lower
        self._was_lower = is_lower and not went_back
        if is_lower and not went_back:
            return False

        if known is None or told.number != known.number:
            self.granted = Granted(told.steps, told.number)
            self._is_held = False

        # Redis may have answered before it was told that this level is settled: what the engine holds costs no more.
        self.cost = min(told.cost, told.due) if self._is_held else told.cost
        return not self._following and (not self._is_held or told.due < told.cost)

    async def opened(self, planned: int | None) -> None:
        """The engine has just opened the session, with so many steps at most: it missed what was said meanwhile.

        That may be settled already, so no chunk may begin before this returns.
        """
        self._is_held = False
        while self.steps is not None and self.steps != planned:
            planned = self.steps
            await self._engine.limit(self._engine_name, planned)

    async def follow(self, told: Ceiling) -> None:
        """Have the engine keep to it; once it does, tell the claim, which pays for no more from then on."""
        self._following = True
        try:
            await self._engine.limit(self._engine_name, told.steps)
            if self.granted is None or self.granted.number != told.number:
                return
            self._is_held = True
            if told.due < told.cost:
                # Before Redis knows: it may give the room to another session at once, which then comes here.
                self.cost = told.due
                await self._claims.settle(self._session, epoch=self._epoch, number=told.number)
        except RedisError as error:
            logger.warning("%s: its lower cost cannot be settled yet: %s", self._session, error)
        finally:
            self._following = False
