"""`RingOps` by kernels that serve all rows at once: nothing that the host knows of a row decides what is launched.

So a forward is as many launches for sixteen rows as for one, and can be captured in a CUDA graph.
"""

import torch
from torch import Tensor

from genlock_worker.engines.diffusion.network.kernels.ring_attention import PROMPT_ATTENTION, RING_ATTENTION
from genlock_worker.engines.diffusion.network.kernels.ring_write import RING_WRITE
from genlock_worker.engines.diffusion.network.projections import Attention
from genlock_worker.engines.diffusion.network.ring_ops import Queries
from genlock_worker.engines.diffusion.network.rope import by_axis
from genlock_worker.engines.diffusion.network.row_batch import RowBatch


class TritonRingOps:
    """As `RingOps`: Triton's kernels. Heads are 16 components wide at least, by powers of two."""

    static = True

    def enter(self, batch: RowBatch, *, grid: tuple[int, int], sinks: int) -> "TritonRingForward":
        """As `RingOps.enter`."""
        return TritonRingForward(batch, grid, sinks)


class TritonRingForward:
    """As `RingForward`; lives for one forward."""

    def __init__(self, batch: RowBatch, grid: tuple[int, int], sinks: int) -> None:
        self._batch = batch
        self._frame_tokens = grid[0] * grid[1]
        self._sinks = sinks
        times = torch.cat([batch.positions, batch.sink_positions, batch.spare_positions[:, None]], dim=1)
        self._times, self._places = by_axis(times, grid=grid, head_dim=batch.pool.config.head_dim)

    def write(self, layer: int, q: Tensor, k: Tensor, v: Tensor, attention: Attention) -> Queries:
        """As `RingForward.write`."""
        batch, pool = self._batch, self._batch.pool
        norm_q, norm_k = attention.norm_q, attention.norm_k
        stored = pool.keys[layer], pool.values[layer], pool.means[layer]
        angles = self._times, self._places
        pages = batch.written, batch.spare
        window, sinks = RING_WRITE(q, k, v, norm_q.weight, norm_k.weight, norm_k.eps, *angles, *pages, *stored)
        return Queries(window, sinks)

    def attend(self, layer: int, queries: Queries) -> Tensor:
        """As `RingForward.attend`."""
        batch, pool = self._batch, self._batch.pool
        stored = pool.keys[layer], pool.values[layer]
        attended: Tensor = RING_ATTENTION(*queries, *stored, batch.table, batch.filled, self._frame_tokens, self._sinks)
        return attended

    def attend_to_prompt(self, layer: int, q: Tensor, attention: Attention) -> Tensor:
        """As `RingForward.attend_to_prompt`."""
        norm, pool = attention.norm_q, self._batch.text_pool
        stored = pool.keys[layer], pool.values[layer]
        attended: Tensor = PROMPT_ATTENTION(q, norm.weight, norm.eps, *stored, self._batch.texts)
        return attended
