"""How many bytes of tensors a piece of work holds at once, counted operation by operation.

It counts what PyTorch's operators give, wherever that lies (`meta` too). What a kernel takes for itself while it runs,
and what an allocator wastes, is not in it.
"""

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # the library has no types
    """Within it, every tensor that an operator makes counts until nothing refers to its memory any more."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        """The most that there was at once."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))

        # A view, and what an operator changes in place, lies in memory that was there.
        there = {id(storage) for storage in _storages((args, kwargs))}
        for storage in _storages(result):
            if id(storage) not in there:
                self._count(storage)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, size)

    def _gone(self, size: int) -> None:
        self.now -= size


def _storages(tensors: Any) -> list[torch.UntypedStorage]:
    """The memory of all tensors in it. Such an object lives as long as the memory itself."""
    return [leaf.untyped_storage() for leaf in tree_leaves(tensors) if isinstance(leaf, Tensor)]
