"""Whether Redis answers, as its readers last found; coming back is what everybody waits for."""

import asyncio
import logging
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class StoreState:
    """`answers` begins as True; `came_back` is set when it does so again, for whoever brings all up to date."""

    answers: bool = True
    came_back: asyncio.Event = field(default_factory=asyncio.Event)

    def failed(self) -> None:
        if self.answers:
            logger.error("Redis does not answer: nothing is assigned, moved or drained until it does")
        self.answers = False

    def answered(self) -> None:
        if not self.answers:
            logger.warning("Redis answers again")
            self.came_back.set()
        self.answers = True
