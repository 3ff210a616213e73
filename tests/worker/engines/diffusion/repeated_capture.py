"""What stands in for CUDA graphs where no GPU is: the captured work is done again, over the same tensors.

What a graph makes on its way lies in memory that all graphs share and the next replay writes over. Here that memory is
filled with what is not a number before each replay, and whenever a test says so: whoever still reads it is seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from genlock_worker.engines.diffusion.execution.capture import Captured, Work
from genlock_worker.engines.diffusion.network.row_batch import Denoised


@dataclass
class RepeatedCapture:
    """A Capture."""

    bytes: int = 1000
    """What each graph is said to take."""
    full_at: Sequence[int] = ()
    """Which captures find no memory, counted from 0."""
    captured: int = 0
    """Captures that were asked for."""
    replayed: int = 0
    fault: Exception | None = None
    """What the next replay raises."""
    _made: list[Tensor] = field(default_factory=list)
    """What works have made since the memory was last overwritten."""

    def capture(self, work: Work) -> Captured:
        number = self.captured
        self.captured += 1
        work()
        if number in self.full_at:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")
        first = self._noted(work)
        results = Denoised(first.flow.clone(), first.similarity.clone())

        def replay() -> None:
            if self.fault is not None:
                raise self.fault
            self.replayed += 1
            self.overwrite()
            again = self._noted(work)
            results.flow.copy_(again.flow)
            results.similarity.copy_(again.similarity)
            self._made += (results.flow, results.similarity)

        return Captured(results, replay, self.bytes)

    def overwrite(self) -> None:
        """Leave nothing of what graphs have made."""
        for tensor in self._made:
            if tensor.is_floating_point():
                tensor.fill_(float("nan"))
        self._made.clear()

    def _noted(self, work: Work) -> Denoised:
        with _Made() as made:
            out = work()
        self._made += made.tensors
        return out


class _Made(TorchDispatchMode):  # type: ignore[no-untyped-call]  # the library has no types
    """Every tensor that an operator makes within it, those that lie in memory that was there left out."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tensors: list[Tensor] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        there = {id(one.untyped_storage()) for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
        self.tensors += [
            one for one in tree_leaves(out) if isinstance(one, Tensor) and id(one.untyped_storage()) not in there
        ]
        return out
