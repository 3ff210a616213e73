"""How busy the engine is, and which sessions give way while it is too busy.

Stands beside the engine loop, which asks once in every turn: how many steps one session may run depends on what all
sessions of the worker cost together. The rule for one session alone is `approximation.StepPolicy`.
"""

import logging
from collections.abc import Collection

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

    def decide_steps(self, sessions: Collection[SessionRows], now_s: float) -> None:
        """Let sessions that may be approximated give way, or get back what they asked for, with their next chunk."""
        for session in sessions:
            policy = session.policy
            if policy is None or session.waiting is None:
                continue

            # What the worker would be loaded with if this session ran one step more than it does.
            rows = sum(other.next_steps for other in sessions) + 1
            shape = session.shape(session.next_chunk)
            taken_s = self._cost.seconds(shape, rows) + len(sessions) * self._cost.beside_rows_s(shape)

            before = session.next_steps
            steps = policy.decide(session.ceiling, now_s, load_with_one_more=taken_s / session.chunk_s)
            if steps != before:
                cause = "overload" if steps < before else "relief"
                logger.info("%s: %d denoising steps (%s)", session.plan.session, steps, cause)
                self._metrics.step_changes.labels(cause).inc()
