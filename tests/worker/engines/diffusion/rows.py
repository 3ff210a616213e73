"""Rows for the network's tests: a ring, the frames that come next, and the batch that the engine would make of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import Positions, TransformerConfig
from genlock_worker.engines.diffusion.network.kv_pool import KvPool, PagedRing
from genlock_worker.engines.diffusion.network.rope import Rotations, rotate, rotations
from genlock_worker.engines.diffusion.network.row_batch import RowBatch
from genlock_worker.engines.diffusion.network.text_pool import TextKv, TextPool
from genlock_worker.engines.diffusion.streaming.positions import frame_index, index_to_sinks, sink_index
from genlock_worker.engines.diffusion.streaming.row_work import RowWork, assemble

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class RowInput:
    """Latent frames `first`, `first` + 1, ... of one session at one step."""

    ring: PagedRing
    text: TextKv
    hidden: Tensor
    """(F, C, h, w)"""
    first: int
    timestep: float
    sink: int | None = None
    """The sink slot that the last frame takes as well."""

    @property
    def newest(self) -> int:
        return self.first + len(self.hidden) - 1


@dataclass(frozen=True, slots=True)
class Held:
    """What the slots of a ring hold, gathered: copies."""

    keys: Tensor
    """(L, N * fsl, H, head_dim)"""
    values: Tensor
    means: Tensor
    """(L, N, 2, D)"""


@cache
def kv_pool(config: TransformerConfig, dtype: torch.dtype = torch.float32) -> KvPool:
    """The pool of all of a test run's rings on the CPU: rows of one batch lie in one."""
    return KvPool(config, device=CPU, dtype=dtype)


@cache
def text_pool(config: TransformerConfig, dtype: torch.dtype = torch.float32) -> TextPool:
    """The same for prompts."""
    return TextPool(config, device=CPU, dtype=dtype)


def empty_ring(
    config: TransformerConfig, layout: RingLayout, *, frame_tokens: int = 16, dtype: torch.dtype = torch.float32
) -> PagedRing:
    """A ring in the shared pool."""
    return PagedRing.taken(kv_pool(config, dtype), layout, frame_tokens=frame_tokens)


def copy_of(ring: PagedRing) -> PagedRing:
    """A ring of its own in the same pool, with the same content."""
    layout = RingLayout(len(ring.slots), 1 if ring.spare else 0)
    copy = PagedRing.taken(ring.pool, layout, frame_tokens=ring.frame_tokens)
    copy.copy_from(ring)
    return copy


def held(ring: PagedRing) -> Held:
    """The tokens of a ring's slots, without what is unused of their pages."""

    def gathered(cache: Tensor) -> Tensor:
        slots = cache[:, torch.tensor(ring.slots)].flatten(2, 3)[:, :, : ring.frame_tokens]
        return slots.flatten(1, 2)

    return Held(gathered(ring.pool.keys), gathered(ring.pool.values), ring.means)


def bare_keys(ring: PagedRing, indices: Sequence[int], *, grid: tuple[int, int]) -> Tensor:
    """The keys of the first slots without their rotation, which was by the temporal index of each slot."""
    keys = held(ring).keys[:, : len(indices) * ring.frame_tokens]
    times = torch.tensor(indices, dtype=torch.float64)
    by = rotations(times, grid=grid, head_dim=ring.pool.config.head_dim)
    return rotate(keys, Rotations(by.cos, -by.sin))


def write_over(ring: PagedRing, slot: int, *, keys: Tensor | float, values: Tensor | float) -> None:
    """Put tokens, (L, fsl, H, head_dim) or one number, into a slot."""
    for stored, new in ((ring.pool.keys, keys), (ring.pool.values, values)):
        for token in range(ring.frame_tokens):
            page, place = divmod(token, stored.shape[2])
            stored[:, ring.slots[slot][page], place] = new[:, token] if isinstance(new, Tensor) else new


def turned(keys: Tensor, frames: int) -> Tensor:
    """Keys (L, tokens, H, head_dim) as frames so much later would have them."""
    times = torch.tensor([frames], dtype=torch.float64)
    return rotate(keys, rotations(times, grid=(1, 1), head_dim=keys.shape[-1]))


def turn_slot(ring: PagedRing, slot: int, frames: int) -> None:
    """Turn a slot's keys in time, in place."""
    pages = list(ring.slots[slot])
    for layer in ring.pool.keys:
        layer[pages] = torch.unflatten(turned(layer[pages].flatten(0, 1), frames), 0, (len(pages), -1))


def batch_of(rows: Sequence[RowInput], *, layout: RingLayout, mode: Positions = Positions.ABSOLUTE) -> RowBatch:
    """One forward's batch. All rows have as many frames."""
    return assemble([_work(row, layout, mode) for row in rows])


def _work(row: RowInput, layout: RingLayout, mode: Positions) -> RowWork:
    frames = range(row.first, row.newest + 1)
    return RowWork(
        session="s",
        hidden=row.hidden,
        timestep=row.timestep,
        ring=row.ring,
        text=row.text,
        slots=tuple(layout.slot(frame) for frame in frames),
        filled=len(layout.by_slot(row.newest + 1)),
        positions=tuple(frame_index(mode, layout, frame) for frame in frames),
        sink_positions=tuple(index_to_sinks(mode, layout, frame, row.newest) for frame in frames),
        sink=row.sink,
        sink_position=sink_index(mode, layout, row.sink or 0, row.newest),
    )


def moved_to(device: torch.device, batch: RowBatch) -> RowBatch:
    """The same batch there, over copies of its pools."""
    names = [one.name for one in fields(batch) if isinstance(getattr(batch, one.name), Tensor)]
    changed: dict[str, Any] = {name: getattr(batch, name).to(device, copy=True) for name in names}
    pool, texts = batch.pool, batch.text_pool
    there = KvPool(pool.config, device=device, dtype=pool.dtype)
    for name in ("keys", "values", "means"):
        setattr(there, name, getattr(pool, name).to(device, copy=True))
    texts_there = TextPool(texts.config, device=device, dtype=texts.dtype)
    for name in ("keys", "values"):
        setattr(texts_there, name, getattr(texts, name).to(device, copy=True))
    return replace(batch, **changed, pool=there, text_pool=texts_there)
