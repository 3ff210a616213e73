"""Which sessions have how much of the device's memory: what is set aside before anything of them is put there.

The ledger counts (`memory`), the engine says who comes and goes; what a session of these settings needs is `room`'s.
"""

import logging

import torch

from genlock_worker.engines.contract import EngineFailure, StreamSettings
from genlock_worker.engines.diffusion import room
from genlock_worker.engines.diffusion.memory import DoesNotFit, MemoryBudget, SessionBytes
from genlock_worker.engines.diffusion.streaming.session import DiffusionSession
from genlock_worker.engines.diffusion.streaming.shared import Shared

logger = logging.getLogger(__name__)


class MemoryAdmission:
    """Moves `budget` for the sessions of an engine."""

    def __init__(self, shared: Shared, budget: MemoryBudget) -> None:
        self._shared = shared
        self._budget = budget
        self._cut_short: set[str] = set()
        """Sessions that were told that their steps do not fit."""

    def bytes(self, settings: StreamSettings, rows: int) -> SessionBytes:
        """What a session of so many rows takes."""
        shared = self._shared
        return room.needed(shared.components, shared.options, rows, settings.height, settings.width)

    def admit(self, session: str, settings: StreamSettings, rows: int) -> None:
        """Set memory aside for a session that comes. Raises EngineFailure if it does not fit."""
        try:
            call = self._shared.components.vae.call_bytes(settings.height, settings.width)
            self._budget.take(session, self.bytes(settings, rows), call_bytes=call.encode + call.decode)
        except DoesNotFit as refusal:
            raise EngineFailure(session, f"refused: {refusal}") from refusal

    def steps(self, session: DiffusionSession, wanted: int) -> int:
        """The steps of the next chunk: as wanted, or as many as there is memory for. The session has rows for them."""
        # One step always fits: its row stays set aside.
        for steps in range(wanted, 1, -1):
            rows = max(session.rows_of(steps), len(session.rows))
            try:
                self._budget.take(session.name, self.bytes(session.settings, rows))
                session.grow(rows)
            except (DoesNotFit, torch.OutOfMemoryError) as short:
                if session.name not in self._cut_short:
                    self._cut_short.add(session.name)
                    logger.warning("%s: no memory for %d steps: %s", session.name, steps, short)
            else:
                return steps

        return 1

    def settle(self, session: DiffusionSession) -> None:
        """Rows that were dropped are free again."""
        self._budget.take(session.name, self.bytes(session.settings, len(session.rows)))

    def leave(self, session: str) -> None:
        """All of a session's memory is free again; unknown ones are ignored."""
        self._cut_short.discard(session)
        self._budget.give(session)
