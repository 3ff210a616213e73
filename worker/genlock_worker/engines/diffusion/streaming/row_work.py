"""One row as the session hands it to the device, and the batch that rows of one shape make together.

What a row reads and writes is known on the host: pages, positions, lengths. Here it becomes numbers in tensors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genlock_worker.engines.diffusion.network.kv_pool import PagedRing
from genlock_worker.engines.diffusion.network.pages import PAGE_TOKENS, SCRATCH
from genlock_worker.engines.diffusion.network.row_batch import RowBatch, RowOnHost
from genlock_worker.engines.diffusion.network.text_pool import TextKv
from genlock_worker.engines.diffusion.streaming.transfers import upload


@dataclass(frozen=True, slots=True)
class Renoise:
    """How the answer of a row becomes the input of the next: mixed with the noise of (seed, chunk, step)."""

    timestep: float
    seed: int
    chunk: int
    step: int


@dataclass(frozen=True, slots=True, eq=False)
class RowWork:
    """One row as the device needs it. `hidden` is x_t, (F, C, h, w), in the model's dtype."""

    session: str
    hidden: Tensor
    timestep: float
    ring: PagedRing
    text: TextKv
    slots: tuple[int, ...]
    """The slot of each of its F frames."""
    filled: int
    """Filled slots after the write."""
    positions: tuple[int, ...]
    """Temporal index of each of its frames: of its key, and of its query to the window."""
    sink_positions: tuple[int, ...]
    """Temporal index of each frame's query to the sinks."""
    sink: int | None = None
    """The sink slot that its newest frame takes as well: it is written a second time, and the ring is to be switched
    after that. None for none."""
    sink_position: int = 0
    """Temporal index of that second key."""
    renoise: Renoise | None = None
    """None after a chunk's last row, and for a row of which only the ring is wanted."""


def assemble(works: Sequence[RowWork]) -> RowBatch:
    """The batch of these rows, which have one shape. All their small numbers go to the device in one queued copy."""
    hidden = torch.stack([work.hidden for work in works])
    frames, ring = hidden.shape[1], works[0].ring
    width = len(ring.slots[0])
    widths = [1, frames, frames, 1, len(ring.slots) * width, frames * width, width, 1, 1]
    numbers = np.array([_numbers(work) for work in works], np.float64)

    # Pages are whole numbers, which float64 holds exactly.
    table = upload(numbers, hidden.device)
    begin = sum(widths[:4])
    timesteps, positions, sink_positions, spare_positions = torch.split(table[:, :begin], widths[:4], dim=1)
    pages, written, spare, filled, texts = torch.split(table[:, begin:].int(), widths[4:], dim=1)
    return RowBatch(
        hidden=hidden,
        timesteps=timesteps[:, 0].contiguous(),
        positions=positions.contiguous(),
        sink_positions=sink_positions.contiguous(),
        table=pages.contiguous(),
        filled=filled[:, 0].contiguous(),
        written=torch.unflatten(written, 1, (frames, -1)).contiguous(),
        spare=spare.contiguous(),
        spare_positions=spare_positions[:, 0].contiguous(),
        texts=texts[:, 0].contiguous(),
        pool=ring.pool,
        text_pool=works[0].text.pool,
        host=tuple(_on_host(work) for work in works),
    )


def _numbers(work: RowWork) -> list[float]:
    """A row's part of `RowBatch`, in its order."""
    ring = work.ring
    held = [page for slot in ring.slots[: work.filled] for page in slot]
    width = len(ring.slots[0])
    return [
        work.timestep,
        *work.positions,
        *work.sink_positions,
        work.sink_position,
        *held,
        *[SCRATCH] * (len(ring.slots) * width - len(held)),
        *(page for slot in work.slots for page in ring.slots[slot]),
        *([SCRATCH] * width if work.sink is None else ring.spare),
        work.filled,
        work.text.slot,
    ]


def _on_host(work: RowWork) -> RowOnHost:
    return RowOnHost(
        filled=work.filled,
        run=_run(work.ring, work.filled),
        turned=work.positions != work.sink_positions,
        doubled=work.sink is not None,
        text=work.text.slot,
    )


def _run(ring: PagedRing, filled: int) -> int | None:
    """The first page of the filled slots if they can be read as one piece."""
    held = [page for slot in ring.slots[:filled] for page in slot]
    is_run = held == list(range(held[0], held[0] + len(held)))
    return held[0] if is_run and ring.frame_tokens % PAGE_TOKENS == 0 else None
