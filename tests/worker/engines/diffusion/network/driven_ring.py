"""A row driven through its frames, and what the rule says it must answer.

The rule is written down once more here, as it was before keys were rotated when they are written: un-rotated keys, one
temporal index for each slot and query.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import Positions, TransformerConfig
from genlock_worker.engines.diffusion.network.attention import sdpa
from genlock_worker.engines.diffusion.network.kv_pool import KvPool, PagedRing
from genlock_worker.engines.diffusion.network.projections import Attention
from genlock_worker.engines.diffusion.network.ring_ops import RingOps, TorchRingOps
from genlock_worker.engines.diffusion.network.rope import rotate, rotations
from genlock_worker.engines.diffusion.network.row_batch import RowBatch
from genlock_worker.engines.diffusion.network.text_pool import TextPool
from tests.worker.engines.diffusion.rows import CPU, RowInput, batch_of

CONFIG = TransformerConfig(layers=1, heads=2, dim=64, ffn_dim=8, text_length=4, channels=1, patch=1)
TOLERANCE = 1e-5

Mistake = Callable[[RowBatch], RowBatch]


@dataclass
class Slot:
    """What one slot holds, before any rotation."""

    frame: int
    keys: Tensor
    values: Tensor


@dataclass
class DrivenRing:
    """A row through its frames: what the operations answer, and what the rule says."""

    mode: Positions
    layout: RingLayout
    grid: tuple[int, int]
    pool: KvPool = field(default_factory=lambda: KvPool(CONFIG, device=CPU, dtype=torch.float32))
    mistake: Mistake = lambda batch: batch
    ops: RingOps = field(default_factory=TorchRingOps)
    held: dict[int, Slot] = field(default_factory=dict)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.attention = Attention(CONFIG)
        for norm in (self.attention.norm_q, self.attention.norm_k):
            torch.nn.init.normal_(norm.weight, mean=1.0, std=0.2)
        self.tokens = self.grid[0] * self.grid[1]
        self.ring = PagedRing.taken(self.pool, self.layout, frame_tokens=self.tokens)
        self.texts = TextPool(CONFIG, device=CPU, dtype=torch.float32)
        shape = (CONFIG.layers, CONFIG.text_length, CONFIG.heads, CONFIG.head_dim)
        self.text = self.texts.put(torch.randn(shape), torch.randn(shape))

    def row(self, first: int, frames: int = 1, sink: int | None = None) -> RowInput:
        return RowInput(self.ring, self.text, torch.zeros(frames, 1, *self.grid), first, 700.0, sink)

    @torch.no_grad()
    def step(self, first: int, frames: int = 1, *, sink: int | None = None) -> float:
        """Write frames and attend; the largest deviation from the rule."""
        generator = torch.Generator().manual_seed(first)
        q, k, v = (torch.randn(1, frames * self.tokens, CONFIG.dim, generator=generator) for _ in range(3))
        batch = self.mistake(batch_of([self.row(first, frames, sink)], layout=self.layout, mode=self.mode))
        ring = self.ops.enter(batch, grid=self.grid, sinks=self.layout.sinks)
        answer = ring.attend(0, ring.write(0, q, k, v, self.attention))

        keys = self.attention.heads(self.attention.norm_k(k))[0]
        for number, frame in enumerate(range(first, first + frames)):
            here = slice(number * self.tokens, (number + 1) * self.tokens)
            values = self.attention.heads(v)[0, here]
            self.held[self.layout.slot(frame)] = Slot(frame, keys[here], values)
        expected = self.rule(self.attention.heads(self.attention.norm_q(q))[0], first, frames)
        if sink is not None:
            self.ring.switch(sink)
            self.held[sink] = self.held[self.layout.slot(first + frames - 1)]
        return float((answer[0] - expected.flatten(1)).abs().max())

    def rule(self, queries: Tensor, first: int, frames: int) -> Tensor:
        """Every key rotated by its slot's index, every query by its frame's."""
        newest = first + frames - 1
        slots = sorted(self.held)
        indices = [self.index(self.held[slot].frame, newest, slot) for slot in slots]
        keys = torch.cat([self.held[slot].keys for slot in slots])
        values = torch.cat([self.held[slot].values for slot in slots])
        queried = [self.index(frame, newest, None) for frame in range(first, first + frames)]
        return sdpa(self.turned(queries, queried), self.turned(keys, indices), values)

    def index(self, frame: int, newest: int, slot: int | None) -> int:
        if self.mode is Positions.RELATIVE:
            if slot is not None and slot < self.layout.sinks:
                return slot
            return frame - max(0, newest - (self.layout.slots - 1))
        first = self.layout.slots - 1
        if self.mode is Positions.REFRESHED and frame >= 50:
            return first + (frame - 50) % (50 - first)
        return frame

    def turned(self, heads: Tensor, indices: Sequence[int]) -> Tensor:
        times = torch.tensor(indices, dtype=torch.float64)
        return rotate(heads, rotations(times, grid=self.grid, head_dim=CONFIG.head_dim))


def streamed(one: DrivenRing, frames: int) -> float:
    """The opening of two frames, then frame by frame; the largest deviation."""
    return max([one.step(0, 2), *(one.step(frame) for frame in range(2, frames))])
