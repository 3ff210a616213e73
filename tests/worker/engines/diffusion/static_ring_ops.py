"""The ring's operations with PyTorch's alone, reading everything through the batch's tensors: a forward of a shape has
the same operations for any rows. Slow and large, and the rule once more: what kernels for captured forwards must do."""

import torch
from torch import Tensor

from genlock_worker.engines.diffusion.network.pages import PAGE_TOKENS
from genlock_worker.engines.diffusion.network.projections import Attention
from genlock_worker.engines.diffusion.network.ring_ops import Queries, RingForward
from genlock_worker.engines.diffusion.network.rope import rotate, rotations
from genlock_worker.engines.diffusion.network.row_batch import RowBatch


class StaticRingOps:
    """A RingOps; never looks at `RowBatch.host`."""

    static = True

    def enter(self, batch: RowBatch, *, grid: tuple[int, int], sinks: int) -> RingForward:
        return StaticRingForward(batch, grid, sinks)


class StaticRingForward:
    """A RingForward."""

    def __init__(self, batch: RowBatch, grid: tuple[int, int], sinks: int) -> None:
        self._batch = batch
        self._tokens_of_frame = grid[0] * grid[1]
        head_dim = batch.pool.config.head_dim
        times = (batch.positions, batch.sink_positions, batch.spare_positions[:, None])
        self._window, self._sinks, self._spare = (rotations(time, grid=grid, head_dim=head_dim) for time in times)

        width = batch.written.shape[2]
        self._written = self._places(batch.written)
        self._doubled = self._places(batch.spare)
        self._ring = self._places(torch.unflatten(batch.table, 1, (-1, width))).flatten(1)
        slot = torch.arange(self._ring.shape[1], device=batch.table.device) // self._tokens_of_frame
        self._is_filled = slot < batch.filled[:, None]
        self._is_sink = slot < sinks

    def write(self, layer: int, q: Tensor, k: Tensor, v: Tensor, attention: Attention) -> Queries:
        frames = self._batch.positions.shape[1]
        bare, values = attention.heads(attention.norm_k(k)), attention.heads(v)
        by_frame = (torch.unflatten(new.flatten(2), 1, (frames, -1)) for new in (bare, values))
        means = torch.stack([new.mean(2, dtype=torch.float32) for new in by_frame], dim=2)

        # Rows without a second write make it into the scratch page.
        last = slice(-self._tokens_of_frame, None)
        first_pages = self._batch.written[:, :, 0].flatten()
        self._store(layer, self._written, first_pages, rotate(bare, self._window), values, means)
        spare = rotate(bare[:, last], self._spare)
        self._store(layer, self._doubled, self._batch.spare[:, 0], spare, values[:, last], means[:, -1:])

        queries = attention.heads(attention.norm_q(q))
        return Queries(rotate(queries, self._window), rotate(queries, self._sinks))

    def attend(self, layer: int, queries: Queries) -> Tensor:
        pool = self._batch.pool
        keys, values = (stored[layer].flatten(0, 1)[self._ring] for stored in (pool.keys, pool.values))
        # What lies behind the filled slots is anybody's: nought times not-a-number is not nought.
        is_filled = self._is_filled[:, :, None, None]
        keys, values = (read.masked_fill(~is_filled, 0.0) for read in (keys, values))
        to_sinks, to_window = (_logits(towards, keys) for towards in (queries.sinks, queries.window))
        logits = torch.where(self._is_sink, to_sinks, to_window)
        return _weighted(logits.masked_fill(~self._is_filled[:, None, None], float("-inf")), values)

    def attend_to_prompt(self, layer: int, q: Tensor, attention: Attention) -> Tensor:
        texts, pool = self._batch.texts.long(), self._batch.text_pool
        queries = attention.heads(attention.norm_q(q))
        return _weighted(_logits(queries, pool.keys[layer, texts]), pool.values[layer, texts])

    def _store(self, layer: int, places: Tensor, pages: Tensor, keys: Tensor, values: Tensor, means: Tensor) -> None:
        pool = self._batch.pool
        pool.keys[layer].flatten(0, 1).index_copy_(0, places.flatten(), keys.flatten(0, 1))
        pool.values[layer].flatten(0, 1).index_copy_(0, places.flatten(), values.flatten(0, 1))
        pool.means[layer].index_copy_(0, pages.long(), means.flatten(0, 1))

    def _places(self, pages: Tensor) -> Tensor:
        token = torch.arange(self._tokens_of_frame, device=pages.device)
        return pages.long()[..., token // PAGE_TOKENS] * PAGE_TOKENS + token % PAGE_TOKENS


def _logits(queries: Tensor, keys: Tensor) -> Tensor:
    """(R, n, H, d) and (R, m, H, d) -> (R, H, n, m) float32."""
    scale: float = queries.shape[-1] ** -0.5
    logits: Tensor = torch.einsum("rnhd,rmhd->rhnm", queries.float() * scale, keys.float())
    return logits


def _weighted(logits: Tensor, values: Tensor) -> Tensor:
    """-> (R, n, D)."""
    out: Tensor = torch.einsum("rhnm,rmhd->rnhd", logits.softmax(-1), values.float())
    return out.flatten(2).to(values.dtype)
