"""An engine that a test submits to and collects from, and a device that a test can hold up."""

import threading
from collections.abc import Sequence

from genlock_worker.engines.contract import BatchResult, Collected, Engine, RestoreResult, Row
from genlock_worker.engines.mock.device import DeviceLost, Faults

COMES_WITHIN_S = 20.0


class Collector:
    """Waits for what an engine has to tell; what was not asked for yet is kept."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.order: list[int] = []
        """Numbers of the batches that have come, in their order."""
        self._batches: dict[int, BatchResult] = {}
        self._restored: dict[str, RestoreResult] = {}
        self._ready = threading.Event()
        engine.call_when_ready(self._ready.set)

    def next(self) -> Sequence[Collected]:
        """One thing at least."""
        while True:
            self._ready.clear()
            if found := self.engine.collect():
                return found
            assert self._ready.wait(COMES_WITHIN_S), "the engine has nothing to tell"

    def batch(self, number: int) -> BatchResult:
        while number not in self._batches:
            self._keep()
        return self._batches[number]

    def restored(self, session: str) -> RestoreResult:
        while session not in self._restored:
            self._keep()
        return self._restored[session]

    def _keep(self) -> None:
        for one in self.next():
            if isinstance(one, BatchResult):
                self.order.append(one.number)
                self._batches[one.number] = one
            else:
                self._restored[one.session] = one


class Held(Faults):
    """Holds the device up at its first batch until `go` is set; what it does then is told from the start."""

    def __init__(
        self,
        *,
        bad: dict[Row, str] | None = None,
        lost_with: int | None = None,
        late: frozenset[int] = frozenset(),
    ) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()
        self._bad = bad or {}
        self._lost_with = lost_with
        self._late = late

    def begins(self, number: int, rows: Sequence[Row]) -> None:
        self.reached.set()
        self.go.wait()
        if number == self._lost_with:
            self._lost_with = None
            raise DeviceLost("it fell off the bus")

    def verdict(self, row: Row) -> str | None:
        return self._bad.get(row)

    def held_back(self, number: int) -> bool:
        return number in self._late
