"""What is compared: an order of rows, and whether a batch stops at the knee."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from genlock_core.sizing.step_time import StepTime
from genlock_worker.engines.contract import BatchShape, Row
from genlock_worker.rows.cost_model import CostModel
from genlock_worker.rows.scheduler import Candidate, by_deadline, by_slack


class RowOrder(Protocol):
    """An order that may learn from what ran."""

    def key(self, candidate: Candidate, cost: CostModel, /) -> tuple[float, ...]:
        """As `scheduler.Order`."""
        ...

    def ran(self, rows: tuple[Row, ...], seconds: float) -> None:
        """A batch has come back."""
        ...


class EarliestDeadline:
    """Production's `by_deadline`."""

    def key(self, candidate: Candidate, cost: CostModel) -> tuple[float, ...]:
        return by_deadline(candidate, cost)

    def ran(self, rows: tuple[Row, ...], seconds: float) -> None:
        pass


class LeastSlack:
    """Production's `by_slack`."""

    def key(self, candidate: Candidate, cost: CostModel) -> tuple[float, ...]:
        return by_slack(candidate, cost)

    def ran(self, rows: tuple[Row, ...], seconds: float) -> None:
        pass


class FairShare:
    """Who had least of the card goes first: each session is charged its share of every forward (start-time fair
    queueing). One that comes or has rested begins with what the least served one has had."""

    def __init__(self) -> None:
        self._had_s: defaultdict[str, float] = defaultdict(float)
        self._now_s = 0.0

    def key(self, candidate: Candidate, _: CostModel) -> tuple[float, ...]:
        had_s = max(self._had_s[candidate.row.session], self._now_s)
        return (had_s, candidate.deadline_s, candidate.row.chunk, candidate.row.step)

    def ran(self, rows: tuple[Row, ...], seconds: float) -> None:
        # Virtual time: what the least served session of the batch had had when it began.
        self._now_s = max(self._now_s, min(self._had_s[row.session] for row in rows))
        for row in rows:
            self._had_s[row.session] = max(self._had_s[row.session], self._now_s) + seconds / len(rows)


class WithoutKnee(CostModel):
    """Batches grow as long as deadlines let them."""

    def knee(self, _: BatchShape) -> int | None:
        return None


@dataclass(frozen=True, slots=True)
class Policy:
    """A name, and how its order and its cost model are made."""

    name: str
    order: Callable[[], RowOrder]
    cost: Callable[[StepTime], CostModel] = CostModel


POLICIES = (
    Policy("earliest deadline, any B (before)", EarliestDeadline, WithoutKnee),
    Policy("earliest deadline, B to the knee", EarliestDeadline),
    Policy("slack of playout, B to the knee", LeastSlack),
    Policy("fair share, B to the knee", FairShare),
)
