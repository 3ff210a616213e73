"""How busy the engine is, and which sessions give way while it is too busy.

Stands beside the engine loop, which asks once in every turn: how far one session gives way depends on what all
sessions of the worker cost together. The rule for one session alone is `approximation.LevelPolicy`.
"""

import logging
import math
from collections.abc import Collection

from genlock_core.approximation.levels import Level
from genlock_core.metrics import WorkerMetrics
from genlock_worker.rows.cost_model import CostModel
from genlock_worker.rows.session_rows import SessionRows

logger = logging.getLogger(__name__)

BUSY_WINDOW_S = 1.0


class EngineLoad:
    """Measured on the engine's thread, under the loop's lock."""

    def __init__(self, *, cost: CostModel, metrics: WorkerMetrics, now_s: float) -> None:
        self.share = 0.0
        """The engine's busy share of the last window, 0 to 1."""
        self.exhausted = False
        """Sessions come late or lose input, and none of those whose sources go on can give way further."""
        self._cost = cost
        self._metrics = metrics
        self._busy_before_s = 0.0
        self._since_s = now_s

    def measure(self, busy_s: float, now_s: float) -> None:
        """`busy_s`: the devices' time since the start."""
        elapsed_s = now_s - self._since_s
        if elapsed_s >= BUSY_WINDOW_S:
            self.share = min(1.0, (busy_s - self._busy_before_s) / elapsed_s)
            self._busy_before_s = busy_s
            self._since_s = now_s

    def decide_levels(self, sessions: Collection[SessionRows], now_s: float) -> None:
        """Let sessions that may be approximated give way, or get back what they asked for, with their next chunk."""
        # Whose source rests costs nothing, cannot come late, and helps nobody by giving way.
        active = [session for session in sessions if session.has_recent_input(now_s)]
        for session in sessions:
            policy = session.policy
            if policy is None or session.waiting is None:
                continue

            before = session.next_running
            above = policy.above(session.ceiling)
            load_above = 0.0 if above is None else self._load_with(session, above, active)
            after = policy.decide(session.ceiling, now_s, load_above=load_above)
            if after != before:
                cause = "overload" if after.is_below(before) else "relief"
                note_change(session, before, after, cause=cause, metrics=self._metrics)

        strained = any(session.is_strained(now_s) for session in active)
        self.exhausted = strained and all(session.is_lowest for session in active)

    def _load_with(self, session: SessionRows, running: Level, active: Collection[SessionRows]) -> float:
        """What the worker would be loaded with if this session ran so, and the other active ones as they do."""
        chunk_s = session.chunk_length_s(running)
        others = [other for other in active if other is not session]

        # In the time of one chunk of this session the others make more chunks, or less than one.
        rows = running.steps + sum(other.next_steps * chunk_s / other.chunk_s for other in others)
        chunks = 1 + sum(chunk_s / other.chunk_s for other in others)

        shape = session.shape(session.next_chunk)
        rows_s = self._cost.seconds(shape, math.ceil(round(rows, 6)))
        return (rows_s + chunks * self._cost.beside_rows_s(shape)) / chunk_s


def note_change(session: SessionRows, before: Level, after: Level, *, cause: str, metrics: WorkerMetrics) -> None:
    """A session runs at another level from its next chunk on."""
    logger.info("%s: %s instead of %s (%s)", session.plan.session, after, before, cause)
    if after.steps != before.steps:
        metrics.step_changes.labels(cause).inc()
    if after.every != before.every:
        metrics.frame_rate_changes.labels(cause).inc()
