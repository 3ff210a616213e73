"""One micro-step on the device: rows of any sessions become one batch, run once, and are judged with one wait.

Nothing here belongs to a session, and the host's record of a session does not change here. A row that fails is its
session's failure alone: the other rows' results are what they would be without it.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genlock_worker.engines.algorithm import noise
from genlock_worker.engines.algorithm.flow import sigma
from genlock_worker.engines.contract import EngineFailure
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.engines.diffusion.streaming.device_progress import DeviceProgress
from genlock_worker.engines.diffusion.streaming.row_work import RowWork, assemble
from genlock_worker.engines.diffusion.streaming.transfers import download, upload

logger = logging.getLogger(__name__)

Forward = Callable[[RowBatch], Denoised]


@dataclass(frozen=True, slots=True, eq=False)
class RowOutcome:
    """What a row gave."""

    latents: Tensor
    """(F, C, h, w) in the model's dtype: the next row's input, or x0 after the last row."""
    similarity: tuple[float, ...]
    """Each sink's likeness to the row's newest frame."""


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


@dataclass(frozen=True, slots=True, eq=False)
class QueuedRows:
    """Rows that were handed to the device, which may still be at them."""

    latents: tuple[Tensor | EngineFailure, ...]
    """Of each row what it makes, (F, C, h, w) in the model's dtype: the device may go on with it before anybody knows
    the verdict. Or why there is none."""
    _parts: tuple[tuple[Sequence[int], Tensor], ...]
    """The numbers of the rows of each forward, and the host's copy of their verdicts."""

    def outcomes(self, works: Sequence[RowWork]) -> list["RowOutcome | EngineFailure"]:
        """What each row gave; only once the device was waited for. A row whose answer is not finite has failed."""
        found: list[RowOutcome | EngineFailure] = [
            latents
            if isinstance(latents, EngineFailure)
            else EngineFailure(work.session, "the network's answer is not finite (NaN or infinite)")
            for work, latents in zip(works, self.latents, strict=True)
        ]
        for numbers, verdicts in self._parts:
            for number, (finite, *likeness) in zip(numbers, verdicts.tolist(), strict=True):
                latents = self.latents[number]
                if finite and isinstance(latents, Tensor):
                    found[number] = RowOutcome(latents, tuple(likeness))
        return found


def queue_rows(works: Sequence[RowWork], forward: Forward) -> QueuedRows:
    """Hand rows of any shapes to the device, those of one shape in one forward, with what becomes of its answers.

    Nothing is waited for. One chain of kernels makes the next inputs and the verdicts of all rows of a forward.
    """
    latents: dict[int, Tensor | EngineFailure] = {}
    parts: list[tuple[Sequence[int], Tensor]] = []
    for group in _shapes(works):
        left = list(group)
        for part in denoise([works[number] for number in group], forward):
            if isinstance(part, EngineFailure):
                latents[left.pop(0)] = part
                continue
            numbers, left = left[: len(part.works)], left[len(part.works) :]
            made = _next_inputs(part)
            latents.update(zip(numbers, _apart(made), strict=True))
            parts.append((numbers, download(_verdicts(made, part.denoised.similarity))))
    return QueuedRows(tuple(latents[number] for number in range(len(works))), tuple(parts))


def run_rows(
    works: Sequence[RowWork], forward: Forward, *, progress: DeviceProgress
) -> list[RowOutcome | EngineFailure]:
    """Run rows of any shapes; the outcomes are in the order of `works`.

    All work is queued before anything is waited for, then each part is waited for by itself, so that forwards of halves
    count one by one. A row whose answer is not finite, or that does not fit into memory, has failed.
    """
    queued = queue_rows(works, forward)
    progress.wait()
    return queued.outcomes(works)


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
