"""Rows for the network's tests: a ring, the frames that come next, and the batch that the engine would make of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import Positions, TransformerConfig
from genlock_worker.engines.diffusion.network.kv import Ring, TextKv
from genlock_worker.engines.diffusion.network.row_batch import RowBatch
from genlock_worker.engines.diffusion.streaming.positions import frame_index, slot_indices

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class RowInput:
    """Latent frames `first`, `first` + 1, ... of one session at one step."""

    ring: Ring
    text: TextKv
    hidden: Tensor
    """(F, C, h, w)"""
    first: int
    timestep: float

    @property
    def newest(self) -> int:
        return self.first + len(self.hidden) - 1


def empty_ring(config: TransformerConfig, layout: RingLayout, *, frame_tokens: int = 16) -> Ring:
    """A ring in float32 on the CPU."""
    return Ring.empty(config, layout, frame_tokens=frame_tokens, device=CPU, dtype=torch.float32)


def copy_of(ring: Ring) -> Ring:
    """A ring of its own with the same content."""
    return Ring(ring.keys.clone(), ring.values.clone(), ring.means.clone())


def key_indices(layout: RingLayout, mode: Positions, newest: int) -> list[float]:
    """Temporal index per slot, 0 where nothing was written."""
    filled = slot_indices(mode, layout, layout.by_slot(newest + 1), newest)
    return [float(index) for index in filled] + [0.0] * (layout.slots - len(filled))


def batch_of(
    rows: Sequence[RowInput], *, layout: RingLayout, mode: Positions = Positions.ABSOLUTE, frame_tokens: int = 16
) -> RowBatch:
    """One forward's batch. All rows have as many frames."""
    frames = [range(row.first, row.newest + 1) for row in rows]
    slots = torch.tensor([[layout.slot(frame) for frame in these] for these in frames])
    tokens = torch.arange(frame_tokens)
    return RowBatch(
        hidden=torch.stack([row.hidden for row in rows]),
        timesteps=torch.tensor([row.timestep for row in rows], dtype=torch.float64),
        query_positions=torch.tensor(
            [
                [frame_index(mode, layout, f, row.newest) for f in these]
                for row, these in zip(rows, frames, strict=True)
            ],
            dtype=torch.float64,
        ),
        key_positions=torch.tensor([key_indices(layout, mode, row.newest) for row in rows], dtype=torch.float64),
        places=(slots[:, :, None] * frame_tokens + tokens).flatten(1),
        slots=slots,
        rings=tuple(row.ring for row in rows),
        texts=tuple(row.text for row in rows),
        valid=tuple(len(layout.by_slot(row.newest + 1)) * frame_tokens for row in rows),
    )
