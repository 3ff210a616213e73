from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from genlock_worker.engines.algorithm.ring import V2V_RING
from genlock_worker.engines.diffusion.config import TINY
from genlock_worker.engines.diffusion.execution.static_rows import FIELDS, StaticRows, apart
from genlock_worker.engines.diffusion.network.kv_pool import KvPool, PagedRing
from genlock_worker.engines.diffusion.network.pages import SCRATCH
from genlock_worker.engines.diffusion.network.row_batch import RowBatch
from genlock_worker.engines.diffusion.network.text_pool import TextPool
from tests.worker.engines.diffusion.rows import CPU, RowInput, batch_of

SIZE = 16, 20
"""Latents of 80 tokens: two pages, of which the second has a tail."""


@pytest.fixture
def pool() -> KvPool:
    return KvPool(TINY, device=CPU, dtype=torch.float32, pages=7 * 2 * 4)


@pytest.fixture
def texts() -> TextPool:
    return TextPool(TINY, device=CPU, dtype=torch.float32)


def made(pool: KvPool, texts: TextPool, *, rows: int) -> StaticRows:
    latent = TINY.channels, *SIZE
    return StaticRows.made(rows, latent=latent, patch=TINY.patch, layout=V2V_RING, pool=pool, text_pool=texts)


def live(pool: KvPool, texts: TextPool, *, rows: int) -> RowBatch:
    shape = (TINY.layers, TINY.text_length, TINY.heads, TINY.head_dim)
    text = texts.put(torch.zeros(shape), torch.zeros(shape))
    rings = [PagedRing.taken(pool, V2V_RING, frame_tokens=80) for _ in range(rows)]
    inputs = [
        RowInput(ring, text, torch.randn(1, TINY.channels, *SIZE), 7 + row, 700.0 - row, sink=row)
        for row, ring in enumerate(rings)
    ]
    return batch_of(inputs, layout=V2V_RING)


@pytest.mark.parametrize("rows", [1, 3, 4])
def test_all_that_a_graph_reads_is_written_before_it_is_replayed(pool: KvPool, texts: TextPool, rows: int) -> None:
    inputs = made(pool, texts, rows=6)
    at = {name: tensor.data_ptr() for name, tensor in _tensors(inputs.batch)}
    for _, tensor in _tensors(inputs.batch):
        tensor.fill_(77)
    batch = live(pool, texts, rows=rows)
    inputs.fill(batch, rows=4)
    read = inputs.first(4)
    assert read.rows == 4
    for name, tensor in _tensors(read):
        assert torch.equal(tensor[:rows], getattr(batch, name)), name
        assert torch.equal(tensor[rows:], getattr(inputs.idle, name)[: 4 - rows]), name
        assert tensor.data_ptr() == at[name]
        assert bool((getattr(inputs.batch, name)[4:] == 77).all()), "rows that no graph reads are left alone"


def test_every_tensor_of_a_batch_is_copied(pool: KvPool, texts: TextPool) -> None:
    batch = live(pool, texts, rows=2)
    copied = {name for names in FIELDS for name in names}
    assert copied == {name for name in RowBatch.__slots__ if isinstance(getattr(batch, name), Tensor)}
    for names in FIELDS:
        assert len({getattr(batch, name).dtype for name in names}) == 1, "one kernel copies one dtype"


def test_rows_at_rest_know_the_scratch_page_alone(pool: KvPool, texts: TextPool) -> None:
    inputs = made(pool, texts, rows=3)
    inputs.fill(live(pool, texts, rows=3), rows=3)
    assert int(inputs.batch.table.max()) > SCRATCH
    inputs.rest()
    batch = inputs.batch
    assert batch.table.shape == (3, V2V_RING.slots * 2)
    for pages in (batch.table, batch.written, batch.spare, batch.texts):
        assert bool((pages == SCRATCH).all())
    assert batch.filled.tolist() == [1, 1, 1], "a softmax over nothing is not a number"
    assert not bool(batch.hidden.any())


def test_results_leave_in_memory_of_their_own() -> None:
    results = [torch.randn(4, 2), torch.randn(4, 3)]
    taken = apart(results, 3)
    expected = [result[:3].clone() for result in results]
    for result in results:
        result.fill_(float("nan"))
    assert all(torch.equal(*pair) for pair in zip(taken, expected, strict=True))


def _tensors(batch: RowBatch) -> Iterator[tuple[str, Tensor]]:
    return ((name, getattr(batch, name)) for names in FIELDS for name in names)
