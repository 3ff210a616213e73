"""The pool in which the cross-attention keys and values of all prompts and blends lie.

A forward reads it by the number of a slot, as it reads the rings by the numbers of pages (`kv_pool`).
"""

import weakref
from dataclasses import dataclass

import torch
from torch import Tensor

from genlock_worker.engines.diffusion.config import TransformerConfig
from genlock_worker.engines.diffusion.network.pages import PageBook


class TextPool:
    """Keys (normed, not rotated) and values of every prompt, each (L, slots, text_length, H, head_dim).

    Slot 0 is nobody's: rows that only fill a batch read it. The pool grows with its prompts, and then its tensors
    change; until it is told its size (`reserve`).
    """

    def __init__(self, config: TransformerConfig, *, device: torch.device, dtype: torch.dtype) -> None:
        self.config = config
        self.device = device
        self.dtype = dtype
        self._grows = True
        self._book = PageBook(1)
        self.keys = self._empty(self._book.pages)
        self.values = self._empty(self._book.pages)

    @property
    def bytes(self) -> int:
        """Bytes of its tensors now."""
        return self.keys.nbytes + self.values.nbytes

    @property
    def free(self) -> int:
        """Slots that no prompt has."""
        return self._book.free

    def reserve(self, slots: int) -> None:
        """Have `slots` slots for prompts from now on, and never more. Raises torch.OutOfMemoryError."""
        if 1 + slots > self._book.pages:
            self._grow(1 + slots - self._book.pages)
        self._grows = False

    def put(self, keys: Tensor, values: Tensor) -> "TextKv":
        """Keep a prompt's keys and values, (L, text_length, H, head_dim) each. Raises torch.OutOfMemoryError."""
        if self._grows and not self._book.free:
            self._grow(1)
        (slot,) = self._book.take(1)
        self.keys[:, slot].copy_(keys)
        self.values[:, slot].copy_(values)
        text = TextKv(self, slot)
        weakref.finalize(text, self._book.give, (slot,))
        return text

    def _grow(self, slots: int) -> None:
        self.keys = torch.cat([self.keys, self._empty(slots)], dim=1)
        self.values = torch.cat([self.values, self._empty(slots)], dim=1)
        self._book.grow(self._book.pages + slots)

    def _empty(self, slots: int) -> Tensor:
        config = self.config
        shape = (config.layers, slots, config.text_length, config.heads, config.head_dim)
        return torch.zeros(shape, device=self.device, dtype=self.dtype)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class TextKv:
    """A prompt's or a blend's slot in the pool; the slot is free again once nothing refers to this any more."""

    pool: TextPool
    slot: int

    @property
    def keys(self) -> Tensor:
        """(L, text_length, H, head_dim): a view of the pool."""
        return self.pool.keys[:, self.slot]

    @property
    def values(self) -> Tensor:
        """(L, text_length, H, head_dim): a view of the pool."""
        return self.pool.values[:, self.slot]

    @property
    def bytes(self) -> int:
        return text_bytes(self.pool.config, itemsize=self.pool.dtype.itemsize)


def text_bytes(config: TransformerConfig, *, itemsize: int) -> int:
    """Bytes of one prompt's cross-attention keys and values: 2 * L * text_length * D * itemsize."""
    return 2 * config.layers * config.text_length * config.dim * itemsize
