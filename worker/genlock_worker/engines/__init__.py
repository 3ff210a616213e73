"""Engines by name: the one place that knows which there are."""

import time
from collections.abc import Callable

from genlock_core.clock import Clock
from genlock_worker.engine import Engine
from genlock_worker.engines.mock import MockEngine, StepTiming

ENGINES = ("mock",)


def create_engine(
    name: str, *, model: str, timing: StepTiming, clock: Clock, wait: Callable[[float], None] = time.sleep
) -> Engine:
    """An engine that runs `model`. Raises ValueError for a name that is not in `ENGINES`."""
    if name == "mock":
        return MockEngine(model, timing, clock, wait)
    raise ValueError(f"there is no engine called {name!r}; use one of: {', '.join(ENGINES)}")
