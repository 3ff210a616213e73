"""Engines by name: the one place that knows which there are.

| owns | does not own | needs |
|---|---|---|
| what an engine is (`contract`), and which there are | when rows run (`rows`) | a GPU, for `diffusion` at speed |
"""

import importlib
import time
from collections.abc import Callable, Sequence

from genlock_core.clock import Clock
from genlock_core.errors import GenlockError
from genlock_core.spec.engines import MOST_GPUS
from genlock_core.spec.session import Resolution
from genlock_worker.engines.contract import Engine
from genlock_worker.engines.diffusion.options import DiffusionSettings
from genlock_worker.engines.mock import EffortPolicy, MockEngine, StepTiming

ENGINES = tuple(MOST_GPUS)


class EngineNotInstalled(GenlockError):
    """The libraries of an engine are not in this installation."""


def create_engine(
    name: str,
    *,
    model: str,
    clock: Clock,
    devices: int = 1,
    depth: int = 1,
    timing: Callable[[], StepTiming],
    diffusion: DiffusionSettings,
    sizes: Sequence[Resolution] = (),
    wait: Callable[[float], None] = time.sleep,
) -> Engine:
    """An engine that runs `model`; may take minutes (weights). `devices`, `depth` and `timing` are for the mock
    engine alone, which stands for as many devices as it is told. `sizes`: those of the sessions that may come, for
    which the diffusion engine keeps memory.

    Raises ValueError for a name that is not in `ENGINES`, EngineNotInstalled, and what `timing` or the loading of a
    model raises (GenlockError).
    """
    if name == "mock":
        return MockEngine(model, timing(), clock, wait, devices=devices, depth=depth, effort=EffortPolicy())
    if name == "diffusion":
        return _load_diffusion(model, diffusion, clock, sizes)
    raise ValueError(f"there is no engine called {name!r}; use one of: {', '.join(ENGINES)}")


def _load_diffusion(model: str, settings: DiffusionSettings, clock: Clock, sizes: Sequence[Resolution]) -> Engine:
    """Imported here and not above: torch takes seconds to import and is not everybody's."""
    try:
        loading = importlib.import_module("genlock_worker.engines.diffusion.loading")
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("genlock"):
            raise
        raise EngineNotInstalled(
            f"the diffusion engine needs {missing.name}, which is not installed; "
            "type: pip install 'genlock[diffusion]' (in a checkout: make diffusion)"
        ) from missing
    engine: Engine = loading.load_engine(model, settings, clock, sizes=sizes)
    return engine
