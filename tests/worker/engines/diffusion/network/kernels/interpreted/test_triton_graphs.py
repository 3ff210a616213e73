"""A forward of Triton's kernels alone, captured by the tests' stand-in and replayed for fewer rows than it has."""

import torch

from genlock_worker.engines.algorithm.ring import V2V_RING
from genlock_worker.engines.diffusion.config import TINY, Positions
from genlock_worker.engines.diffusion.execution.buckets import Bucket
from genlock_worker.engines.diffusion.execution.graphs import GraphForward
from genlock_worker.engines.diffusion.network.kernels.triton_pointwise import TritonPointwise
from genlock_worker.engines.diffusion.network.kernels.triton_ring import TritonRingOps
from genlock_worker.engines.diffusion.network.kv_pool import KvPool, PagedRing
from genlock_worker.engines.diffusion.network.pages import SCRATCH
from genlock_worker.engines.diffusion.network.row_batch import RowBatch
from genlock_worker.engines.diffusion.network.text_pool import TextPool
from genlock_worker.engines.diffusion.weights import random_weights, skeletons
from tests.worker.engines.diffusion.repeated_capture import RepeatedCapture
from tests.worker.engines.diffusion.rows import CPU, RowInput, batch_of

AGE = 9
"""The ring is full; one of its sinks is written."""
PLAIN = skeletons.transformer(TINY)
OURS = skeletons.transformer(TINY, ops=TritonRingOps(), pointwise=TritonPointwise())


def batch() -> RowBatch:
    """A row over pools of its own that hold the same numbers every time."""
    random = torch.Generator().manual_seed(7)
    pool = KvPool(TINY, device=CPU, dtype=torch.float32, pages=7)
    texts = TextPool(TINY, device=CPU, dtype=torch.float32)
    texts.reserve(1)
    ring = PagedRing.taken(pool, V2V_RING, frame_tokens=16)
    for stored in (pool.keys, pool.values, pool.means):
        stored[:, SCRATCH + 1 :].normal_(generator=random)
    text = texts.put(*PLAIN.text_kv(torch.randn(TINY.text_length, TINY.text_dim, generator=random)))
    hidden = torch.randn(1, TINY.channels, 8, 8, generator=random)
    return batch_of([RowInput(ring, text, hidden, AGE, 700.0, sink=1)], layout=V2V_RING, mode=Positions.RELATIVE)


@torch.no_grad()
def test_replayed_beside_a_row_that_is_nobodys_it_answers_and_writes_what_pytorchs_operations_do() -> None:
    random_weights.fill(PLAIN, device=CPU, dtype=torch.float32, factors=random_weights.TRANSFORMER_FACTORS)
    OURS.load_state_dict(PLAIN.state_dict(), assign=True)
    mine, theirs = batch(), batch()
    capture = RepeatedCapture()
    forward = GraphForward(OURS, capture)
    forward.capture(Bucket(2, 8, 8), mine.pool, mine.text_pool)
    torch.testing.assert_close(mine.pool.keys[:, SCRATCH + 1 :], theirs.pool.keys[:, SCRATCH + 1 :], rtol=0, atol=0)

    answer, expected = forward(mine), PLAIN(theirs)
    capture.overwrite()
    assert forward.replayed == 1
    torch.testing.assert_close(answer.flow, expected.flow, rtol=0, atol=1e-5)
    torch.testing.assert_close(answer.similarity, expected.similarity, rtol=0, atol=1e-5)
    for name in ("keys", "values", "means"):
        ours, plain = (getattr(one.pool, name)[:, SCRATCH + 1 :] for one in (mine, theirs))
        torch.testing.assert_close(ours, plain, rtol=0, atol=1e-5)
