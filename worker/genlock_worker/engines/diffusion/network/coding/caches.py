"""What the VAE remembers of sessions' streams, and how one call moves several of them on.

A cache is what one module keeps of the frames before. Each session has tensors of its own, its *slot*: nothing is kept
for sessions that are not there, and sessions of two sizes need no two pools.

A call reads the slots where they lie, and *stages* what it makes of them beside them; at its end the slots are moved
on. So there are two copies of a cache while a call works on it, and one at all other times. A call that raises leaves
every slot as it was, and what is not finite stays in its own row: no row is ever mixed with another.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

Cache = Tensor | str | None
"""(1, ...): one row's. None before the first call; a word is the library's mark for an up-sampler that has seen one
latent."""

Caches = list[Cache]
"""A slot: one entry per module that remembers frames, in the order in which they are met."""


class StagedCaches:
    """The caches of one call: a module reads its entry and writes it, for all rows (B, ...) at once.

    It stands in for the list that the library's modules expect. All rows have come equally far: an entry is a tensor of
    one shape, the same mark or None in all of them.
    """

    def __init__(self, slots: Sequence[Caches]) -> None:
        self._slots = slots
        self._staged: dict[int, Tensor | str] = {}
        self._gathered: tuple[int, Tensor] | None = None
        """The entry that was read last: a module reads it several times before it writes it."""

    @property
    def rows(self) -> int:
        return len(self._slots)

    def __getitem__(self, index: int) -> Cache:
        """What the module left behind it, in this call or before it."""
        if index in self._staged:
            return self._staged[index]

        first = self._slots[0][index]
        if self.rows == 1 or not isinstance(first, Tensor):
            return first

        if self._gathered is None or self._gathered[0] != index:
            self._gathered = index, torch.cat([cast(Tensor, slot[index]) for slot in self._slots])
        return self._gathered[1]

    def __setitem__(self, index: int, value: Tensor | str) -> None:
        self._staged[index] = value
        self._gathered = None

    def take_over(self) -> None:
        """Move the slots on. Raises torch.OutOfMemoryError, and then none has moved."""
        # A row that was alone takes what was made for it; of several each takes a copy of its own, so that none keeps
        # the others' alive. All memory is there before the first of them changes.
        if self.rows == 1:
            for index, value in self._staged.items():
                self._slots[0][index] = value
            return

        targets: list[Tensor] = []
        sources: list[Tensor] = []
        moved: list[tuple[Caches, int, Tensor | str]] = []
        for index, value in self._staged.items():
            for row, slot in enumerate(self._slots):
                if isinstance(value, str):
                    moved.append((slot, index, value))
                    continue

                own = value[row : row + 1]
                target = slot[index]
                if not isinstance(target, Tensor) or target.shape != own.shape:
                    target = torch.empty_like(own)
                    moved.append((slot, index, target))
                targets.append(target)
                sources.append(own)

        if targets:
            torch._foreach_copy_(targets, sources)  # on a GPU one launch for many small tensors
        for slot, index, entry in moved:
            slot[index] = entry


def slot_bytes(slot: Caches) -> int:
    """Bytes of a session's caches as they are now."""
    return sum(cache.nbytes for cache in slot if isinstance(cache, Tensor))
