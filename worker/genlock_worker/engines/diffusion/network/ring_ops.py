"""How a forward's rows write into the pools and attend to them: the one place that may have kernels of its own.

`RingOps` says what is to be computed. `TorchRingOps` computes it with PyTorch's operations, attention row by row, on
every device; implementations with kernels for all rows at once stand beside it.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from genlock_worker.engines.diffusion.network.attention import Attend, sdpa
from genlock_worker.engines.diffusion.network.pages import PAGE_TOKENS
from genlock_worker.engines.diffusion.network.projections import Attention
from genlock_worker.engines.diffusion.network.rope import Rotations, pairs_per_axis, rotate, rotations, turns
from genlock_worker.engines.diffusion.network.row_batch import RowBatch


class Queries(NamedTuple):
    """The queries of the new tokens, (R, n, H, head_dim) each, normed and rotated."""

    window: Tensor
    """As they stand towards the window: rotated by `RowBatch.positions`."""
    sinks: Tensor
    """As they stand towards the sinks: rotated by `RowBatch.sink_positions`. The same tensor where an implementation
    turns the sinks' keys instead."""


class RingForward(Protocol):
    """One forward of one batch; layer by layer each row's new frames are written, then attended to with its ring."""

    def write(self, layer: int, q: Tensor, k: Tensor, v: Tensor, attention: Attention) -> Queries:
        """Store the keys and values of the new frames; give their queries.

        `q`, `k` and `v` (R, n, D) are the projections as they come, before the norm of queries and keys, which is
        `attention`'s. Keys are normed, then rotated by `positions`, and stored with the values at `written`; the last
        frame's once more at `spare`, rotated by `spare_positions`. The float32 means of each frame's normed, un-rotated
        keys and of its values are left in `KvPool.means`, at the first page of `written` and of `spare`.
        """
        ...

    def attend(self, layer: int, queries: Queries) -> Tensor:
        """Attend to the first `filled` slots of each row's ring -> (R, n, D), scaled by head_dim^-1/2.

        The first S slots are the sinks, met by `queries.sinks`; the others are met by `queries.window`. Tokens behind
        fsl in a slot's last page do not count.
        """
        ...

    def attend_to_prompt(self, layer: int, q: Tensor, attention: Attention) -> Tensor:
        """Norm the projections `q` (R, n, D) and attend to each row's prompt, all of it -> (R, n, D)."""
        ...


class RingOps(Protocol):
    """An implementation; has no state of any forward."""

    @property
    def static(self) -> bool:
        """Whether a forward reads all that differs between two batches of one shape through the batch's tensors alone,
        so that it can be captured once and replayed."""
        ...

    def enter(self, batch: RowBatch, *, grid: tuple[int, int], sinks: int) -> RingForward:
        """Begin a forward: compute what all layers share, the angles first of all (float64, rounded to float32).

        `grid`: tokens (high, wide) of one frame; fsl is their product. `sinks`: the ring's S.
        """
        ...


class Normed(NamedTuple):
    """What a row's projections become before anything is stored."""

    queries: Tensor
    """(R, n, H, head_dim), normed and rotated."""
    keys: Tensor
    """(R, n, H, head_dim), normed and rotated."""
    bare_keys: Tensor
    """(R, n, H, head_dim), normed only."""
    means: Tensor
    """(R, F, 2, D) float32: of the un-rotated keys and the values of each frame."""


def normed(q: Tensor, k: Tensor, v: Tensor, attention: Attention, by: Rotations, frames: int) -> Normed:
    """Norm and rotate the projections (R, n, D) of `frames` frames; pure, fit to be compiled."""
    keys = attention.norm_k(k)
    by_frame = (torch.unflatten(new, 1, (frames, -1)) for new in (keys, v))
    means = torch.stack([new.mean(2, dtype=torch.float32) for new in by_frame], dim=2)
    bare_keys = attention.heads(keys)
    queries = rotate(attention.heads(attention.norm_q(q)), by)
    return Normed(queries, rotate(bare_keys, by), bare_keys, means)


Norm = Callable[[Tensor, Tensor, Tensor, Attention, Rotations, int], Normed]
"""`normed`, or the same compiled."""


class TorchRingOps:
    """PyTorch's operations on any device, attention row by row with an attention backend (`attention.choose`).

    There one query serves the window and the sinks: where these stand nearer than their index says, a copy of the
    sinks' keys is turned by the difference.
    """

    static = False

    def __init__(self, attend: Attend = sdpa) -> None:
        self.attend = attend
        self.normed: Norm = normed

    def enter(self, batch: RowBatch, *, grid: tuple[int, int], sinks: int) -> "TorchRingForward":
        """As `RingOps.enter`."""
        return TorchRingForward(self, batch, grid, sinks)


class TorchRingForward:
    """As `RingForward`; lives for one forward."""

    def __init__(self, ops: TorchRingOps, batch: RowBatch, grid: tuple[int, int], sinks: int) -> None:
        head_dim = batch.pool.config.head_dim
        self._ops = ops
        self._batch = batch
        self._frame_tokens = grid[0] * grid[1]
        self._sink_tokens = sinks * self._frame_tokens
        self._frames = batch.positions.shape[1]
        self._rotations = rotations(batch.positions, grid=grid, head_dim=head_dim)
        self._places = self._tokens(batch.written).flatten()
        self._first_pages = batch.written[:, :, 0].flatten().long()

        # Only of rows that need them: most forwards have none.
        self._doubled = [row for row, host in enumerate(batch.host) if host.doubled]
        if self._doubled:
            spare = self._of_doubled(batch.spare)
            self._spare_rotations = rotations(
                self._of_doubled(batch.spare_positions)[:, None], grid=grid, head_dim=head_dim
            )
            self._spare_places = self._tokens(spare).flatten()
            self._spare_first_pages = spare[:, 0].long()
        if any(host.turned for host in batch.host):
            self._turned_pairs = pairs_per_axis(head_dim)[0]
            nearer = batch.positions[:, -1:] - batch.sink_positions[:, -1:]
            self._sink_turns = turns(nearer, pairs=self._turned_pairs)
        if any(host.run is None for host in batch.host):
            width = batch.written.shape[2]
            self._ring_tokens = self._tokens(torch.unflatten(batch.table, 1, (-1, width))).flatten(1)

    def write(self, layer: int, q: Tensor, k: Tensor, v: Tensor, attention: Attention) -> Queries:
        """As `RingForward.write`."""
        new = self._ops.normed(q, k, v, attention, self._rotations, self._frames)
        values = attention.heads(v)
        self._store(layer, self._places, self._first_pages, new.keys, values, new.means)

        if self._doubled:
            bare, twice = (self._of_doubled(heads[:, -self._frame_tokens :]) for heads in (new.bare_keys, values))
            means = self._of_doubled(new.means[:, -1:])
            keys = rotate(bare, self._spare_rotations)
            self._store(layer, self._spare_places, self._spare_first_pages, keys, twice, means)
        return Queries(new.queries, new.queries)

    def attend(self, layer: int, queries: Queries) -> Tensor:
        """As `RingForward.attend`."""
        out = [self._ops.attend(queries.window[row], *self._ring(layer, row)) for row in range(self._batch.rows)]
        return torch.stack(out).flatten(2)

    def attend_to_prompt(self, layer: int, q: Tensor, attention: Attention) -> Tensor:
        """As `RingForward.attend_to_prompt`."""
        queries = attention.heads(attention.norm_q(q))
        pool = self._batch.text_pool
        out = [
            self._ops.attend(queries[row], pool.keys[layer, host.text], pool.values[layer, host.text])
            for row, host in enumerate(self._batch.host)
        ]
        return torch.stack(out).flatten(2)

    def _ring(self, layer: int, row: int) -> tuple[Tensor, Tensor]:
        """The keys and values that a row attends to, (filled * fsl, H, head_dim) each, the sinks first."""
        host = self._batch.host[row]
        count = host.filled * self._frame_tokens
        pool = self._batch.pool
        keys, values = pool.keys[layer].flatten(0, 1), pool.values[layer].flatten(0, 1)
        if host.run is None:
            tokens = self._ring_tokens[row, :count]
            keys, values = keys[tokens], values[tokens]
        else:
            lying = slice(host.run * PAGE_TOKENS, host.run * PAGE_TOKENS + count)
            keys, values = keys[lying], values[lying]
            keys = keys.clone() if host.turned else keys

        # Only the components of time turn: the first of each head.
        if host.turned:
            sinks = keys[: self._sink_tokens, :, : 2 * self._turned_pairs]
            sinks.copy_(rotate(sinks, Rotations(*(part[row] for part in self._sink_turns))))
        return keys, values

    def _store(
        self, layer: int, places: Tensor, first_pages: Tensor, keys: Tensor, values: Tensor, means: Tensor
    ) -> None:
        pool = self._batch.pool
        pool.keys[layer].flatten(0, 1).index_copy_(0, places, keys.flatten(0, 1))
        pool.values[layer].flatten(0, 1).index_copy_(0, places, values.flatten(0, 1))
        pool.means[layer].index_copy_(0, first_pages, means.flatten(0, 1))

    def _of_doubled(self, by_row: Tensor) -> Tensor:
        """The rows that are written twice; by Python's numbers, which nothing has to wait for."""
        return torch.stack([by_row[row] for row in self._doubled])

    def _tokens(self, pages: Tensor) -> Tensor:
        """Pages of frames (..., pages_per_slot) -> where their tokens lie in the pool, (..., fsl) int64."""
        token = torch.arange(self._frame_tokens, device=pages.device)
        return pages.long()[..., token // PAGE_TOKENS] * PAGE_TOKENS + token % PAGE_TOKENS
