"""How well this process is, measured by itself: what its heartbeats say on the links and to Redis.

A process that does not get the processor cannot say so at the time. It can say afterwards how late it was: its event
loop sleeps for a tenth of a second, and looks how much later it woke up. The same looks tell how long the engine stood
still.
"""

import asyncio
from typing import Final, Protocol

from genlock_core.claims.pulse import EnginePhase, Pulse, Vitals
from genlock_core.claims.silence import Rhythm
from genlock_core.clock import Clock
from genlock_core.metrics import WorkerMetrics
from genlock_worker.ownership.overload import Overload

LOOK_EVERY_S: Final = 0.1
GAPS_REMEMBERED: Final = 300
"""A gap is what is normal here for half a minute to a minute, as it is for a gateway that hears every fourth of it."""
LATE_REMEMBERED_S: Final = 5.0
"""The worst of the last five to ten seconds is what others are told."""


class Progressing(Protocol):
    """What is asked of the engine, on any thread."""

    @property
    def progress(self) -> int: ...

    @property
    def phase(self) -> EnginePhase: ...

    @property
    def exhausted(self) -> bool: ...


class VitalSigns:
    """Made once the engine runs; `run` is its task, `look` what it does each time."""

    def __init__(self, engine: Progressing, *, clock: Clock, metrics: WorkerMetrics) -> None:
        self._engine = engine
        self._clock = clock
        self._metrics = metrics
        self._rhythm = Rhythm(remembered=GAPS_REMEMBERED, habit=1)
        self._overload = Overload()
        self._alive = 0

        now_s = clock.monotonic()
        self._looked_s = now_s
        self._progress = engine.progress
        self._progressed_s = now_s
        self._phase = engine.phase

        # The worst of this spell and of the one before.
        self._late_s = 0.0
        self._late_before_s = 0.0
        self._spell_since_s = now_s

    async def run(self) -> None:
        """Look for ever; the time before is the start's, and no lateness."""
        now_s = self._clock.monotonic()
        self._looked_s = now_s
        self._progressed_s = now_s
        self._spell_since_s = now_s
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.look()

    def look(self) -> None:
        """Note how late this look is, and for how long the engine has stood still."""
        now_s = self._clock.monotonic()
        self._alive += 1
        if now_s - self._spell_since_s >= LATE_REMEMBERED_S:
            self._late_before_s = self._late_s
            self._late_s = 0.0
            self._spell_since_s = now_s

        still_s = now_s - self._progressed_s
        turn_s = now_s - self._looked_s
        self._late_s = max(self._late_s, turn_s - LOOK_EVERY_S, still_s)
        self._looked_s = now_s
        self._rhythm.was_alive(turn_s)
        if (progress := self._engine.progress) != self._progress:
            self._rhythm.progressed(self._phase, still_s)
            self._progress = progress
            self._progressed_s = now_s
        self._phase = self._engine.phase
        self._metrics.late_seconds.set(self.late_s)

        self._overload.look(now_s, exhausted=self._engine.exhausted)
        self._metrics.overloaded.set(self._overload.is_overloaded)

    @property
    def late_s(self) -> float:
        """The longest time, lately, for which the event loop or the engine stood still."""
        return max(self._late_s, self._late_before_s)

    @property
    def pulse(self) -> Pulse:
        """For the links."""
        return Pulse(self._engine.progress, self._alive, self._engine.phase)

    @property
    def vitals(self) -> Vitals:
        """For Redis."""
        still_s = self._clock.monotonic() - self._progressed_s
        patience_s = self._rhythm.patience_s(self._phase)
        return Vitals(
            alive=self._alive,
            phase=self._phase.word,
            late_ms=round(1_000 * self.late_s),
            patience_ms=round(1_000 * max(patience_s, self._rhythm.alive_patience_s)),
            patient=still_s < patience_s,
            overloaded=self._overload.is_overloaded,
        )
