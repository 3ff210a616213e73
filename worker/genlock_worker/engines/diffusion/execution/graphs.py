"""Forwards as CUDA graphs: one for each number of rows and each size, replayed for whatever rows there are.

A graph fixes addresses and sizes. So nothing that differs between two forwards is either of these: rings and prompts
are read through tables in the batch's tensors (`row_batch`), how full a ring is is a number there, a batch with fewer
rows than its graph is filled with rows that are nobody's. Before a replay the batch is copied into the graph's inputs,
after it the results into tensors of their own: nothing outside ever holds an address of a graph.

Several micro-steps may be under way. All that happens here is queued on one stream and is done in that order: inputs
are overwritten after the graph before has read them, and results are copied before another graph writes over them. The
host waits for nothing, and no memory of the host is read: a batch's tensors are on the device.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from genlock_worker.engines.diffusion.execution.buckets import ROWS, Bucket, smallest
from genlock_worker.engines.diffusion.execution.capture import Capture, Captured
from genlock_worker.engines.diffusion.execution.static_rows import StaticRows, apart
from genlock_worker.engines.diffusion.network.kv_pool import KvPool
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.engines.diffusion.network.text_pool import TextPool
from genlock_worker.engines.diffusion.network.transformer import CausalWan

Plain = Callable[[RowBatch], Denoised]
Places = tuple[tuple[int, torch.Size], ...]


@dataclass(slots=True, eq=False)
class _Size:
    """The graphs of one size, and where they read."""

    inputs: StaticRows
    places: Places
    """Of the pools' tensors, as the graphs have them."""
    graphs: dict[int, Captured] = field(default_factory=dict)
    """By rows."""


class GraphForward:
    """A forward that is replayed where a graph fits it, and run as it is where none does.

    None fits before `capture`, more rows than the largest graph has, and the two frames of a session's opening.
    """

    def __init__(self, model: CausalWan, capture: Capture) -> None:
        self._model = model
        self._capture = capture
        self._sizes: dict[tuple[int, int], _Size] = {}
        self.replayed = 0
        """Forwards that were replayed."""

    @torch.no_grad()
    def __call__(self, batch: RowBatch) -> Denoised:
        """Queue the forward; what it gives is the caller's."""
        found = self._found(batch)
        if found is None:
            return self._model(batch)  # type: ignore[no-any-return]  # a module's call has no types
        inputs, rows, graph = found

        inputs.fill(batch, rows=rows)
        graph.replay()
        self.replayed += 1
        return Denoised(*apart([graph.results.flow, graph.results.similarity], batch.rows))

    @torch.no_grad()
    def capture(self, bucket: Bucket, pool: KvPool, text_pool: TextPool) -> int:
        """Capture the forward of a bucket over these pools; the bytes that it has taken.

        The rows that are run meanwhile are nobody's. Raises torch.OutOfMemoryError, and then is as it was.
        """
        where = bucket.height, bucket.width
        size = self._sizes.get(where)
        if size is None or size.places != _places(pool, text_pool):
            config, layout = self._model.config, self._model.layout
            latent = config.channels, *where
            inputs = StaticRows.made(
                max(ROWS), latent=latent, patch=config.patch, layout=layout, pool=pool, text_pool=text_pool
            )
            size = _Size(inputs, _places(pool, text_pool))

        size.inputs.rest()
        batch = size.inputs.first(bucket.rows)
        graph = self._capture.capture(lambda: self._model(batch))
        size.graphs[bucket.rows] = graph
        self._sizes[where] = size
        return graph.bytes

    def _found(self, batch: RowBatch) -> tuple[StaticRows, int, Captured] | None:
        """The graph that a batch fits into, its rows and its inputs."""
        frames, _, height, width = batch.hidden.shape[1:]
        size = self._sizes.get((height, width)) if frames == 1 else None
        if size is None or size.places != _places(batch.pool, batch.text_pool):
            return None
        rows = smallest(batch.rows, size.graphs)
        return None if rows is None else (size.inputs, rows, size.graphs[rows])


def _places(pool: KvPool, text_pool: TextPool) -> Places:
    """Where the pools' tensors lie, and how. A pool that grows has others then: a larger one may come to lie where a
    smaller one lay before it, with its layers further apart."""
    tensors: tuple[Tensor, ...] = (pool.keys, pool.values, pool.means, text_pool.keys, text_pool.values)
    return tuple((tensor.data_ptr(), tensor.shape) for tensor in tensors)
