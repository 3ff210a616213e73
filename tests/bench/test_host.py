"""What Python costs where the device computes nothing: counted in calls and operations, not by the clock."""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from bench import host
from bench.null_device import null_engine
from genlock_core.clock import SystemClock
from genlock_worker.engines.contract import Engine

TURNS = 3
MOST_CALLS = {"loop": (300, 400), "engine": (600, 1_300)}
"""Calls of Python functions for a batch, and for each of its rows: about twice what it was when this was written."""
MOST_OPERATIONS = (80, 70)
"""Operations of torch likewise; on a GPU nearly each of them would be a launch."""


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # the library has no types
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one batch."""

    calls: int
    operations: int


async def counted(make: Callable[[], Engine], rows: int) -> Counts:
    """The least of some turns: now and then one does more, as when a metric is first seen."""
    engine = make()
    turns = host.Turns(engine, rows)
    for _ in range(host.WARM):
        turns.offer()
        turns.take()
    seen = [_one(turns) for _ in range(TURNS)]
    engine.stop()
    return Counts(min(one.calls for one in seen), min(one.operations for one in seen))


def _one(turns: host.Turns) -> Counts:
    calls = 0

    def see(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    turns.offer()
    sys.setprofile(see)
    try:
        turns.take()
    finally:
        sys.setprofile(None)

    turns.offer()
    with _Operations() as operations:
        turns.take()
    return Counts(calls, operations.count)


@pytest.mark.parametrize("rows", host.ROWS)
def test_a_batch_costs_the_loop_few_calls(rows: int) -> None:
    once, each = MOST_CALLS["loop"]
    counts = asyncio.run(counted(host.NullEngine, rows))
    assert 0 < counts.calls < once + each * rows
    assert counts.operations == 0


@pytest.mark.parametrize("rows", host.ROWS)
def test_a_batch_costs_the_diffusion_engine_few_calls_and_operations(rows: int) -> None:
    once, each = MOST_CALLS["engine"]
    counts = asyncio.run(counted(lambda: null_engine(SystemClock()), rows))
    assert 0 < counts.calls < once + each * rows
    once, each = MOST_OPERATIONS
    assert 0 < counts.operations < once + each * rows
