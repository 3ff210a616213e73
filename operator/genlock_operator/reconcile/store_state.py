"""Whether Redis answers, as its readers last found, and since when.

It stands alone, as every reader tells it and every plan asks it.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

from genlock_core.claims.liveness import HOLD_MS
from genlock_core.clock import Clock

logger = logging.getLogger(__name__)

STORE_AWAY_AFTER_S: Final = 5.0
"""A restart or a failover of Redis is over by then; what lasts longer is told to people."""
SETTLE_S: Final = HOLD_MS / 1_000 + 1.0
"""Workers tell a Redis that came back of themselves by then; until they have, it is no news that one is missing."""


@dataclass(slots=True)
class StoreState:
    """Redis is taken to answer at first. `came_back` is set when it does so again: then all is brought up to date."""

    clock: Clock
    came_back: asyncio.Event = field(default_factory=asyncio.Event)
    since_ms: int = field(init=False)
    """Since when it has answered without a break, as far as we know: at first since we were made."""
    _away_since_s: float | None = None
    _back_since_s: float | None = None
    _run_id: str | None = None
    """Which process of Redis answered last."""

    def __post_init__(self) -> None:
        self.since_ms = self.clock.wall_ms()

    @property
    def answers(self) -> bool:
        return self._away_since_s is None

    @property
    def knows_workers(self) -> bool:
        """Whether it answers, and what it does not know is not there."""
        back_since_s = self._back_since_s
        return self.answers and (back_since_s is None or self.clock.monotonic() - back_since_s >= SETTLE_S)

    @property
    def away_for_long(self) -> bool:
        """Whether it has not answered for so long that people should know."""
        away_since_s = self._away_since_s
        return away_since_s is not None and self.clock.monotonic() - away_since_s >= STORE_AWAY_AFTER_S

    def failed(self) -> None:
        if self._away_since_s is None:
            logger.error("Redis does not answer: nothing is assigned, moved or drained until it does")
            self._away_since_s = self.clock.monotonic()

    def answered(self) -> None:
        if self._away_since_s is not None:
            logger.warning("Redis answers again")
            self._away_since_s = None
            self._came_back()

    def noted(self, run_id: str | None) -> None:
        """Which Redis answers. Nothing else tells of a quick restart, as connections try again by themselves."""
        if self._run_id not in (None, run_id):
            logger.warning("Redis has begun anew")
            self._came_back()
        self._run_id = run_id

    def _came_back(self) -> None:
        self.since_ms = self.clock.wall_ms()
        self._back_since_s = self.clock.monotonic()
        self.came_back.set()
