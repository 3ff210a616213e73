"""The batches that the engine has and that have not come back, and when its device will be free. Pure bookkeeping."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

from genlock_worker.engines.contract import BatchShape, DeviceSeconds, Row
from genlock_worker.rows.cost_model import CostModel


@dataclass(frozen=True, slots=True)
class BatchUnderWay:
    """A batch that was submitted."""

    number: int
    rows: tuple[Row, ...]
    """With their sessions' own names."""
    names: Mapping[str, str]
    """By session, what the engine calls the generation that they are of."""
    shape: BatchShape
    begun: int
    """How many chunks were fed with it, which the device encodes first."""
    beside: frozenset[str] = frozenset()
    """Sessions that had rows under way when it was submitted."""

    @property
    def sessions(self) -> frozenset[str]:
        return frozenset(row.session for row in self.rows)


class UnderWay:
    """Batches by number, the oldest first."""

    def __init__(self, cost: CostModel) -> None:
        self._cost = cost
        self._batches: dict[int, BatchUnderWay] = {}
        self._numbers = count(1)
        self.free_s = 0.0
        """When the device should be done with all of them (monotonic seconds)."""
        self.busy_s = 0.0
        """Device time of all batches that gave results."""

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def sessions(self) -> set[str]:
        """Of which rows are under way."""
        return {row.session for batch in self._batches.values() for row in batch.rows}

    def next_number(self) -> int:
        return next(self._numbers)

    def add(self, batch: BatchUnderWay, now_s: float) -> None:
        """A batch was submitted."""
        self._batches[batch.number] = batch
        self.free_s = max(now_s, self.free_s) + self._expected_s(batch)

    def take(self, number: int, now_s: float) -> BatchUnderWay | None:
        """A batch has come back; None if none of this number is under way: it came twice, or was never submitted."""
        batch = self._batches.pop(number, None)
        if batch is not None:
            self.free_s = now_s + sum(map(self._expected_s, self._batches.values()))
        return batch

    def learn(self, batch: BatchUnderWay, seconds: DeviceSeconds, *, encoded: int, decoded: int) -> None:
        """What a batch took, and `encoded` chunks that were taken in and the pictures of `decoded` ones since the one
        before: teaches what the next ones cost."""
        self.busy_s += seconds.total
        self._cost.observe(batch.shape, len(batch.rows), seconds, begun=encoded, ended=decoded)

    def _expected_s(self, batch: BatchUnderWay) -> float:
        return self._cost.seconds(batch.shape, len(batch.rows), begun=batch.begun)
