"""One micro-step on the device: rows of any sessions become one batch, run once, and are judged with one wait.

Nothing here belongs to a session, and the host's record of a session does not change here. A row that fails is its
session's failure alone: the other rows' results are what they would be without it.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genlock_worker.engines.algorithm import noise
from genlock_worker.engines.algorithm.flow import sigma
from genlock_worker.engines.contract import EngineFailure
from genlock_worker.engines.diffusion.network.kv import Ring, TextKv
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.engines.diffusion.streaming.device_progress import DeviceProgress
from genlock_worker.engines.diffusion.streaming.transfers import upload

logger = logging.getLogger(__name__)

Forward = Callable[[RowBatch], Denoised]


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
    ring: Ring
    text: TextKv
    slots: tuple[int, ...]
    """The slot of each of its F frames."""
    query_positions: tuple[int, ...]
    """Temporal index of each of its frames."""
    key_positions: tuple[int, ...]
    """Temporal index of what each filled slot holds after the write."""
    renoise: Renoise | None = None
    """None after a chunk's last row, and for a row of which only the ring is wanted."""


@dataclass(frozen=True, slots=True, eq=False)
class RowOutcome:
    """What a row gave."""

    latents: Tensor
    """(F, C, h, w) in the model's dtype: the next row's input, or x0 after the last row."""
    similarity: tuple[float, ...]
    """Each sink's likeness to the row's newest frame."""


def assemble(works: Sequence[RowWork]) -> RowBatch:
    """The batch of these rows, which have one shape. All their small numbers go to the device in one queued copy."""
    hidden = torch.stack([work.hidden for work in works])
    frames, ring = hidden.shape[1], works[0].ring
    slots = ring.means.shape[1]
    fsl = ring.keys.shape[1] // slots
    table = np.zeros((len(works), 1 + 2 * frames + slots), np.float64)

    for line, work in zip(table, works, strict=True):
        line[0] = work.timestep
        line[1 : 1 + frames] = work.query_positions
        line[1 + frames : 1 + 2 * frames] = work.slots
        line[1 + 2 * frames :][: len(work.key_positions)] = work.key_positions

    parts = torch.split(upload(table, hidden.device), [1, frames, frames, slots], dim=1)
    timesteps, query_positions, new_slots, key_positions = parts
    places = new_slots.long()[..., None] * fsl + torch.arange(fsl, device=hidden.device)
    return RowBatch(
        hidden=hidden,
        timesteps=timesteps[:, 0].contiguous(),
        query_positions=query_positions.contiguous(),
        key_positions=key_positions.contiguous(),
        places=places.flatten(1),
        slots=new_slots.long(),
        rings=tuple(work.ring for work in works),
        texts=tuple(work.text for work in works),
        valid=tuple(len(work.key_positions) * fsl for work in works),
    )


Answer = tuple[Tensor, Tensor] | EngineFailure
"""(flow, similarity) of a row, on the device; or why there is none."""


def denoise(works: Sequence[RowWork], forward: Forward) -> list[Answer]:
    """The answer of each row; nothing waits for the device.

    Rows that do not fit into memory together are run in halves; one that does not fit alone has failed.
    """
    try:
        denoised = forward(assemble(works))
    except torch.OutOfMemoryError as problem:
        if len(works) == 1:
            return [EngineFailure(works[0].session, f"a row does not fit into memory: {problem}")]
        logger.warning("%d rows do not fit into memory together: they are run in halves", len(works))
    else:
        return list(zip(denoised.flow.unbind(), denoised.similarity.unbind(), strict=True))

    # What the failed forward had reserved is given back first.
    torch.cuda.empty_cache()
    half = len(works) // 2
    return denoise(works[:half], forward) + denoise(works[half:], forward)


def run_rows(
    works: Sequence[RowWork], forward: Forward, *, progress: DeviceProgress
) -> list[RowOutcome | EngineFailure]:
    """Run rows of any shapes, those of one shape in one forward; the outcomes are in the order of `works`.

    All work is queued before anything is waited for, then each part is waited for by itself, so that forwards of halves
    count one by one. A row whose answer is not finite, or that does not fit into memory, has failed.
    """
    answers: dict[int, Answer] = {}
    for group in _shapes(works):
        answers.update(zip(group, denoise([works[number] for number in group], forward), strict=True))

    # The next inputs and the verdicts on them are queued, too; then comes the one wait of a batch.
    outcomes: list[RowOutcome | EngineFailure] = [
        EngineFailure(work.session, "the network's answer is not finite (NaN or infinite)") for work in works
    ]
    computed: list[tuple[int, Tensor, Tensor]] = []
    for number, work in enumerate(works):
        answer = answers[number]
        if isinstance(answer, EngineFailure):
            outcomes[number] = answer
        else:
            flow, similarity = answer
            computed.append((number, _next_input(work, flow), similarity))

    queued = _verdicts([x for _, x, _ in computed], [similarity for *_, similarity in computed])
    progress.wait()
    verdicts: list[list[float]] = [] if queued is None else queued.tolist()
    for (number, latents, _), (finite, *likeness) in zip(computed, verdicts, strict=True):
        if finite:
            outcomes[number] = RowOutcome(latents, tuple(likeness))
    return outcomes


def _shapes(works: Sequence[RowWork]) -> list[list[int]]:
    """The numbers of the rows that can share a forward."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, work in enumerate(works):
        groups.setdefault(tuple(work.hidden.shape), []).append(number)
    return list(groups.values())


def _next_input(work: RowWork, flow: Tensor) -> Tensor:
    """x0 = x - sigma(t) * v in float64, and what the next row makes of it: rounded as it will be used and stored.

    The noise is drawn on the host while the device is still at the forward.
    """
    x0 = work.hidden.double() - sigma(work.timestep) * flow.double()
    if work.renoise is not None:
        to = work.renoise
        eps = noise.draw(seed=to.seed, chunk=to.chunk, step=to.step, shape=tuple(x0.shape))
        share = sigma(to.timestep)
        x0 = (1.0 - share) * x0 + share * upload(eps, x0.device)
    return x0.to(work.hidden.dtype)


def _verdicts(latents: Sequence[Tensor], similarity: Sequence[Tensor]) -> Tensor | None:
    """(rows, 1 + sinks) on the device: whether the row is finite (1 or 0), then its likenesses; None for no row."""
    rows = [torch.cat([x.isfinite().all()[None].float(), s]) for x, s in zip(latents, similarity, strict=True)]
    return torch.stack(rows) if rows else None
