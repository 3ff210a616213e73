"""Workers, sessions and who waits, for the tests of what is planned."""

from dataclasses import replace
from typing import Any

from genlock_core.approximation.levels import Level
from genlock_core.claims.facts import Waiting, WorkerState, WorkerView
from genlock_core.claims.identity import FormatRange, WorkerIdentity
from genlock_core.claims.pulse import Vitals
from genlock_core.claims.record import ControlValue, Granted, LevelLimit, PoolChoice, SessionRecord
from genlock_core.spec.session import Phase
from tests.core.claims.samples import record

POOL = "a"
NOW_MS = 1_700_000_000_000
PRICES = (125, 150, 200, 250)
"""At 1, 2, 3 and 4 steps: one step costs half of four."""
CHOICE = PoolChoice(POOL, PRICES[-1], PRICES)


def view(name: str = "w", *sessions: SessionRecord, **changes: Any) -> WorkerView:
    """A worker that has these sessions."""
    plain = WorkerView(
        identity=WorkerIdentity(name, "1"),
        pool=POOL,
        model="wan2.1-1.3b",
        address=f"{name}:7000",
        state=WorkerState.READY,
        heartbeat_age_ms=0,
        progress=1,
        links={},
        capacity=1_000,
        free=1_000 - sum(one.cost for one in sessions),
        sessions={one.name: one.epoch for one in sessions},
        formats=FormatRange(1, 1),
        ceilings=True,
        halves=True,
        limits=True,
    )
    return replace(plain, **changes)


def overloaded() -> Vitals:
    return Vitals(1, "stepping", 0, 0, patient=False, overloaded=True)


def waiting_record(name: str, choice: PoolChoice = CHOICE, *, steps: int = 4, adaptive: bool = True) -> SessionRecord:
    """One without a worker."""
    return record(name, choice, steps=steps, adaptive=adaptive)


def owned(
    name: str,
    granted: int = 4,
    *,
    worker: str = "w",
    limit: int | None = None,
    wish: int | None = None,
    changed_ms: int = NOW_MS - 100_000,
    **changes: Any,
) -> SessionRecord:
    """A session of that worker, which asks for 4 steps unless there is a `wish`, and pays for what is granted."""
    plain = replace(
        waiting_record(name),
        phase=Phase.LIVE,
        epoch=7,
        owner=WorkerIdentity(worker, "1"),
        address=f"{worker}:7000",
        pool=POOL,
        cost=PRICES[granted - 1],
        granted=Granted(granted, 11, changed_ms),
        limit=None if limit is None else LevelLimit(limit, 1, changed_ms),
        below_since_ms=changed_ms if granted < (wish or 4) else 0,
        control={} if wish is None else {"steps": ControlValue(str(wish), "1-0")},
    )
    return replace(plain, **changes)


def waits(record: SessionRecord, *, recovers: bool = False) -> tuple[Waiting, SessionRecord]:
    return Waiting(record.name, NOW_MS - 500, recovers), record


def steps(count: int) -> Level:
    return Level(count)
