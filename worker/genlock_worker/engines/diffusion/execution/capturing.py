"""Which graphs are captured before a worker is ready, and how much memory is kept for them.

The memory is set aside before sessions have their share, since their pools then take all that is left. It is counted,
as what a call of the VAE needs is: the largest forward is run on tensors without memory. All graphs lie in one memory,
so that one counts for all.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

import torch

from genlock_core.spec.session import Resolution
from genlock_worker.engines.contract import CapturedGraphs
from genlock_worker.engines.diffusion.execution.buckets import Bucket, largest_first
from genlock_worker.engines.diffusion.execution.graphs import GraphForward
from genlock_worker.engines.diffusion.execution.static_rows import StaticRows
from genlock_worker.engines.diffusion.network.coding.coders import SPATIAL_STRIDE
from genlock_worker.engines.diffusion.network.coding.live_bytes import LiveBytes
from genlock_worker.engines.diffusion.network.kv_pool import KvPool
from genlock_worker.engines.diffusion.network.text_pool import TextPool
from genlock_worker.engines.diffusion.network.transformer import CausalWan

logger = logging.getLogger(__name__)

GRAPH_BYTES: Final = 32 * 1024**2
"""What is kept for each graph beside what its forward works in: CUDA's own. A guess, until a card has said."""


def capture_all(
    forward: GraphForward,
    sizes: Sequence[Resolution],
    *,
    pool: KvPool,
    text_pool: TextPool,
    tell: Callable[[str], None],
) -> CapturedGraphs:
    """Capture every bucket of these sizes, the largest first; what there is no memory for is left out, and said.

    The rows of such a bucket are run in the next larger one, or as they are where there is none.
    """
    count = size_bytes = 0
    lacks: list[str] = []
    for bucket in _buckets(sizes):
        words = f"a graph of {bucket.rows} rows of {bucket.width * SPATIAL_STRIDE}x{bucket.height * SPATIAL_STRIDE}"
        tell(words)
        try:
            size_bytes += forward.capture(bucket, pool, text_pool)
        except torch.OutOfMemoryError as problem:
            lacks.append(f"{words} (out of memory)")
            logger.warning("there is no memory for %s: %s", words, problem)
        else:
            count += 1
    return CapturedGraphs(count, size_bytes, tuple(lacks))


def graph_bytes(model: CausalWan, sizes: Sequence[Resolution]) -> int:
    """Bytes that the graphs of these sizes will take together, counted; 0 for no sizes.

    What a kernel or its library takes for itself, and what an allocator wastes, is not in it.
    """
    buckets = _buckets(sizes)
    if not buckets:
        return 0
    config, meta = model.config, torch.device("meta")
    with meta:
        twin = CausalWan(config, layout=model.layout, ops=model.ops, pointwise=model.pointwise)
    dtype = model.patch_embedding.weight.dtype
    twin.to(dtype)
    largest = buckets[0]
    rows = StaticRows.made(
        largest.rows,
        latent=(config.channels, largest.height, largest.width),
        patch=config.patch,
        layout=model.layout,
        pool=KvPool(config, device=meta, dtype=dtype),
        text_pool=TextPool(config, device=meta, dtype=dtype),
    )
    with torch.no_grad(), LiveBytes() as live:
        twin(rows.batch)
    peak: int = live.peak
    return peak + len(buckets) * GRAPH_BYTES


def _buckets(sizes: Sequence[Resolution]) -> tuple[Bucket, ...]:
    return largest_first([(size.height // SPATIAL_STRIDE, size.width // SPATIAL_STRIDE) for size in sizes])
