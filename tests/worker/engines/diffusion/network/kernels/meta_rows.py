"""Batches of true size on tensors without memory, with nothing on the host: what a planned call is made of."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genlock_worker.engines.diffusion.network.kernels.declared import PlannedCall
from genlock_worker.engines.diffusion.network.kernels.ring_attention import (
    planned_prompt_attention,
    planned_ring_attention,
)
from genlock_worker.engines.diffusion.network.kernels.ring_write import planned_write
from genlock_worker.engines.diffusion.network.pages import PAGE_TOKENS, pages_per_slot
from genlock_worker.engines.diffusion.network.rope import pairs_per_axis

PAGES, PROMPTS, TEXT_LENGTH = 1000, 8, 512


@dataclass(frozen=True)
class MetaRows:
    """R rows of one latent frame over rings of `slots`, three of them sinks."""

    rows: int = 2
    heads: int = 12
    head_dim: int = 128
    frame_tokens: int = 1560
    slots: int = 6
    dtype: torch.dtype = torch.bfloat16

    @property
    def dim(self) -> int:
        return self.heads * self.head_dim

    def write(self) -> PlannedCall:
        new, weight = self._empty(self.rows, self.frame_tokens, self.dim), self._empty(self.dim)
        time, height, width = pairs_per_axis(self.head_dim)
        angles = self._float(self.rows, 3, 2, time), self._float(self.frame_tokens, 2, height + width)
        pages = self._int(self.rows, 1, self._slot_pages), self._int(self.rows, self._slot_pages)
        stored = self._pool(), self._pool(), self._float(PAGES, 2, self.dim)
        return planned_write(new, new, new, weight, weight, 1e-6, *angles, *pages, *stored)

    def attend(self) -> PlannedCall:
        queries = self._empty(self.rows, self.frame_tokens, self.heads, self.head_dim)
        table = self._int(self.rows, self.slots * self._slot_pages)
        pools = self._pool(), self._pool()
        return planned_ring_attention(queries, queries, *pools, table, self._int(self.rows), self.frame_tokens, 3)

    def attend_to_prompt(self) -> PlannedCall:
        q, weight = self._empty(self.rows, self.frame_tokens, self.dim), self._empty(self.dim)
        prompts = self._empty(PROMPTS, TEXT_LENGTH, self.heads, self.head_dim)
        return planned_prompt_attention(q, weight, 1e-6, prompts, prompts, self._int(self.rows))

    @property
    def _slot_pages(self) -> int:
        return pages_per_slot(self.frame_tokens)

    def _pool(self) -> Tensor:
        return self._empty(PAGES, PAGE_TOKENS, self.heads, self.head_dim)

    def _empty(self, *shape: int, **changes: Any) -> Tensor:
        return torch.empty(shape, **{"device": "meta", "dtype": self.dtype, **changes})

    def _float(self, *shape: int) -> Tensor:
        return self._empty(*shape, dtype=torch.float32)

    def _int(self, *shape: int) -> Tensor:
        return self._empty(*shape, dtype=torch.int32)
