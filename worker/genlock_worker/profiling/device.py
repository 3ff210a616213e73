"""The device of a diffusion engine that is measured. Imports torch; the rest of this package does not."""

from collections.abc import Iterable

import torch

from genlock_worker.engines.contract import Engine, EngineFailure
from genlock_worker.engines.diffusion.engine import DiffusionEngine

DOES_NOT_FIT = (EngineFailure, torch.OutOfMemoryError)
"""What an engine raises where there is too little memory."""


def conditions(engine: Engine, switches: Iterable[str]) -> list[str]:
    """Under what it is measured, in words; `switches` are the options that are on."""
    assert isinstance(engine, DiffusionEngine)
    is_gpu = engine.device.type == "cuda"
    words = [f"torch {torch.__version__}", str(engine.dtype).removeprefix("torch.")]
    words += [] if is_gpu else [f"{torch.get_num_threads()} CPU threads"]
    return [*words, *(switch for switch in switches if is_gpu or switch != "cuda-graphs")]


class DeviceMemory:
    """The MemoryMeter of a diffusion engine.

    A session's bytes are those that the engine's ledger holds for it; sessions are admitted by the same ledger. On a
    GPU everything else that the process ever held counts as resident: weights, what a forward works in, CUDA graphs,
    and the allocator's waste. No session fits where they lie. On a CPU there is only the ledger.
    """

    def __init__(self, engine: Engine) -> None:
        assert isinstance(engine, DiffusionEngine)
        self._engine = engine
        self._device = engine.device
        self._before = 0

    def begin(self) -> None:
        if self._device.type != "cuda":
            return
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._device)
        self._before = torch.cuda.memory_allocated(self._device)

    def session_bytes(self, session: str) -> int | None:
        return self._engine.budget.taken.get(session)

    def resident_bytes(self) -> int | None:
        if self._device.type != "cuda":
            return self._engine.resident_bytes
        in_sessions = torch.cuda.memory_allocated(self._device) - self._before
        return torch.cuda.max_memory_reserved(self._device) - in_sessions
