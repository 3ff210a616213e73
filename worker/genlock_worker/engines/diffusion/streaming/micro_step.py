"""One micro-step on the device: rows of any sessions become one batch, run once, and are judged by one copy.

Nothing here belongs to a session, and the host's record of a session does not change here. A row that fails is its
session's failure alone: the other rows' results are what they would be without it.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genlock_worker.engines.algorithm import noise
from genlock_worker.engines.algorithm.flow import sigma
from genlock_worker.engines.contract import EngineFailure
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.engines.diffusion.streaming.row_work import RowWork, assemble
from genlock_worker.engines.diffusion.streaming.transfers import download, upload

logger = logging.getLogger(__name__)

Forward = Callable[[RowBatch], Denoised]


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What the device says of the rows of one forward, copied to the host; only once the device has come so far."""

    _told: Tensor
    """(R, 1 + S) float32 on the host: whether the row is finite (1 or 0), then its likenesses."""

    @cached_property
    def rows(self) -> list[list[float]]:
        """As `_told`."""
        rows: list[list[float]] = self._told.tolist()
        return rows


@dataclass(frozen=True, slots=True, eq=False)
class QueuedRow:
    """A row that was handed to the device, which may still be at it."""

    latents: Tensor
    """(F, C, h, w) in the model's dtype: the next row's input, or x0 after the last row. The device may go on with it
    before anybody knows the verdict."""
    _verdicts: Verdicts
    _number: int
    """Its place in the forward."""

    @property
    def is_finite(self) -> bool:
        """Whether all of its numbers are; as `Verdicts`."""
        return bool(self._verdicts.rows[self._number][0])

    @property
    def likeness(self) -> tuple[float, ...]:
        """Each sink's likeness to the row's newest frame; as `Verdicts`."""
        return tuple(self._verdicts.rows[self._number][1:])


@dataclass(frozen=True, slots=True, eq=False)
class SharedForward:
    """Rows that shared a forward."""

    works: Sequence[RowWork]
    hidden: Tensor
    """What the forward was given, (R, F, C, h, w)."""
    denoised: Denoised


def denoise(works: Sequence[RowWork], forward: Forward) -> list[SharedForward | EngineFailure]:
    """Run rows of one shape, in their order; nothing waits for the device.

    Rows that do not fit into memory together are run in halves; one that does not fit alone has failed.
    """
    batch = None
    try:
        batch = assemble(works)
        return [SharedForward(works, batch.hidden, forward(batch))]
    except torch.OutOfMemoryError as problem:
        if len(works) == 1:
            return [EngineFailure(works[0].session, f"a row does not fit into memory: {problem}")]
        logger.warning("%d rows do not fit into memory together: they are run in halves", len(works))

    # What the failed forward had reserved is given back first.
    del batch
    torch.cuda.empty_cache()
    half = len(works) // 2
    return denoise(works[:half], forward) + denoise(works[half:], forward)


def queue_rows(works: Sequence[RowWork], forward: Forward) -> list[QueuedRow | EngineFailure]:
    """Hand rows of any shapes to the device, those of one shape in one forward, with what becomes of its answers.

    In the order of `works`; a row that does not fit into memory has failed. Nothing is waited for. One chain of kernels
    makes the next inputs and the verdicts of all rows of a forward.
    """
    queued: dict[int, QueuedRow | EngineFailure] = {}
    for group in _shapes(works):
        left = list(group)
        for part in denoise([works[number] for number in group], forward):
            if isinstance(part, EngineFailure):
                queued[left.pop(0)] = part
                continue
            numbers, left = left[: len(part.works)], left[len(part.works) :]
            made = _next_inputs(part)
            verdicts = Verdicts(download(_verdicts(made, part.denoised.similarity)))
            for place, (number, latents) in enumerate(zip(numbers, _apart(made), strict=True)):
                queued[number] = QueuedRow(latents, verdicts, place)
    return [queued[number] for number in range(len(works))]


def _shapes(works: Sequence[RowWork]) -> list[list[int]]:
    """The numbers of the rows that can share a forward."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, work in enumerate(works):
        groups.setdefault(tuple(work.hidden.shape), []).append(number)
    return list(groups.values())


def _next_inputs(part: SharedForward) -> Tensor:
    """x0 = x - sigma(t) * v in float64, and what each next row makes of it: rounded as it will be used and stored.

    (R, F, C, h, w). A row that is its chunk's last is mixed with no noise. Each row's numbers are its own alone, so
    they are the same to the bit whatever runs beside it. The noise is drawn on the host while the device is still at
    the forward.
    """
    hidden = part.hidden
    shares = [0.0 if work.renoise is None else sigma(work.renoise.timestep) for work in part.works]
    levels = np.array([[sigma(work.timestep) for work in part.works], shares])
    level, share = upload(levels, hidden.device)[..., None, None, None, None].unbind()

    x = hidden.double() - level * part.denoised.flow.double()
    if any(shares):
        x = (1.0 - share) * x + share.float() * upload(_noise(part.works, tuple(hidden.shape[1:])), hidden.device)
    return x.to(hidden.dtype)


def _noise(works: Sequence[RowWork], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The noise of each row, zeros for those that get none: (R, *shape)."""
    drawn = np.zeros((len(works), *shape), np.float32)
    for row, work in zip(drawn, works, strict=True):
        if (to := work.renoise) is not None:
            row[...] = noise.draw(seed=to.seed, chunk=to.chunk, step=to.step, shape=shape)
    return drawn


def _apart(rows: Tensor) -> list[Tensor]:
    """Each row in memory of its own, by one kernel: a session keeps its latents for long, and must not keep with them
    those of everybody who was in the same forward."""
    own = [torch.empty_like(row) for row in rows.unbind()]
    torch._foreach_copy_(own, rows.unbind())
    return own


def _verdicts(latents: Tensor, similarity: Tensor) -> Tensor:
    """(R, 1 + S) float32: whether the row is finite (1 or 0), then its likenesses."""
    return torch.cat([latents.isfinite().flatten(1).all(1, keepdim=True).float(), similarity], dim=1)
