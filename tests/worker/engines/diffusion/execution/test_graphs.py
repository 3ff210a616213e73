"""A forward that is replayed gives what the plain one gives, whatever rows there are and whatever came before.

Without a GPU the captured work is done again over the same tensors (`RepeatedCapture`), with the true network.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from bench.counted.counter import counted
from genlock_worker.engines.algorithm.ring import V2V_RING
from genlock_worker.engines.diffusion.config import MODELS, TINY, Positions
from genlock_worker.engines.diffusion.execution.buckets import ROWS, Bucket, largest_first
from genlock_worker.engines.diffusion.execution.capture import Captured, Work
from genlock_worker.engines.diffusion.execution.graphs import GraphForward
from genlock_worker.engines.diffusion.execution.static_rows import StaticRows
from genlock_worker.engines.diffusion.network.kv_pool import KvPool, PagedRing
from genlock_worker.engines.diffusion.network.pages import SCRATCH
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.engines.diffusion.network.text_pool import TextPool
from genlock_worker.engines.diffusion.network.transformer import CausalWan
from genlock_worker.engines.diffusion.weights import random_weights, skeletons
from tests.worker.engines.diffusion.repeated_capture import RepeatedCapture
from tests.worker.engines.diffusion.rows import CPU, RowInput, batch_of
from tests.worker.engines.diffusion.static_ring_ops import StaticRingOps

TOLERANCE = 1e-5
SQUARE, WIDE = (8, 8), (16, 20)
"""Latents of 16 tokens, and of 80: two pages, of which the second has a tail."""
AGES = (2, 6, 3, 9, 5, 0, 4, 12)
"""The next frame of each row: rings that fill, full ones, and one that is empty."""


@pytest.fixture(scope="module")
def network() -> CausalWan:
    model = skeletons.transformer(TINY, ops=StaticRingOps())
    random_weights.fill(model, device=CPU, dtype=torch.float32, factors=random_weights.TRANSFORMER_FACTORS)
    return model


class World:
    """Rings of both sizes in one pool that never moves, and three prompts; every forward begins with the same."""

    def __init__(self, network: CausalWan) -> None:
        random = torch.Generator().manual_seed(7)
        self.pool = KvPool(TINY, device=CPU, dtype=torch.float32, pages=7 * (17 + 2 * 4))
        self.texts = TextPool(TINY, device=CPU, dtype=torch.float32)
        self.texts.reserve(3)
        shape = (TINY.text_length, TINY.text_dim)
        self.prompts = [self.texts.put(*network.text_kv(torch.randn(shape, generator=random))) for _ in range(3)]
        self.rows = {
            size: [self._row(number, size, random) for number in range(count)]
            for size, count in ((SQUARE, 17), (WIDE, 4))
        }
        self._before = [stored.clone() for stored in self._stored()]

    def batch(self, count: int, size: tuple[int, int] = SQUARE) -> RowBatch:
        return self.batch_of(range(count), size)

    def batch_of(self, numbers: Sequence[int], size: tuple[int, int] = SQUARE) -> RowBatch:
        return batch_of([self.rows[size][number] for number in numbers], layout=V2V_RING, mode=Positions.RELATIVE)

    def begin_anew(self) -> None:
        for stored, before in zip(self._stored(), self._before, strict=True):
            stored.copy_(before)

    def written(self) -> list[Tensor]:
        """All that forwards have left in the pool, the scratch page apart."""
        return [stored[:, SCRATCH + 1 :].clone() for stored in self._stored()]

    def _stored(self) -> tuple[Tensor, ...]:
        return self.pool.keys, self.pool.values, self.pool.means

    def _row(self, number: int, size: tuple[int, int], random: torch.Generator) -> RowInput:
        height, width = size
        ring = PagedRing.taken(self.pool, V2V_RING, frame_tokens=height * width // 4)
        pages = [page for slot in ring.slots for page in slot]
        for stored in self._stored():
            stored[:, pages] = torch.randn(stored[:, pages].shape, generator=random)
        age = AGES[number % len(AGES)]
        return RowInput(
            ring,
            self.prompts[number % 3],
            torch.randn(1, TINY.channels, height, width, generator=random),
            age,
            timestep=900.0 - 50 * number,
            sink=1 if age == 9 else None,
        )


@pytest.fixture(scope="module")
def world(network: CausalWan) -> World:
    return World(network)


@dataclass
class Subject:
    """A forward with its graphs, and what captures them."""

    forward: GraphForward
    capture: RepeatedCapture


def captured(
    network: CausalWan, world: World, *, full_at: Sequence[int] = (), sizes: Sequence[tuple[int, int]] = (SQUARE, WIDE)
) -> Subject:
    capture = RepeatedCapture(full_at=full_at)
    forward = GraphForward(network, capture)
    for bucket in largest_first(sizes):
        try:
            assert forward.capture(bucket, world.pool, world.texts) == capture.bytes
        except torch.OutOfMemoryError:
            assert capture.captured - 1 in full_at
    return Subject(forward, capture)


@pytest.fixture(scope="module")
def graphs(network: CausalWan, world: World) -> Subject:
    return captured(network, world)


def run(world: World, forward: Callable[[RowBatch], Denoised], batch: RowBatch) -> list[Tensor]:
    """What a forward answers and writes, beginning with the same."""
    world.begin_anew()
    answer = forward(batch)
    return [answer.flow, answer.similarity, *world.written()]


def furthest(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    return max(float((one - other).abs().max()) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("rows", range(1, 18))
def test_a_replayed_forward_gives_what_the_plain_one_gives(
    network: CausalWan, world: World, graphs: Subject, rows: int
) -> None:
    """Rings that fill, three prompts, a sink that is replaced; more rows than any graph has are run as they are."""
    before = graphs.forward.replayed
    expected = run(world, network, world.batch(rows))
    answer = run(world, graphs.forward, world.batch(rows))
    graphs.capture.overwrite()
    assert answer[0].shape == (rows, 1, TINY.channels, *SQUARE)
    assert furthest(answer, expected) < TOLERANCE
    assert graphs.forward.replayed - before == (1 if rows <= max(ROWS) else 0)


def test_two_sizes_and_any_order_of_rows_take_turns(network: CausalWan, world: World, graphs: Subject) -> None:
    steps = [([4, 1, 11], SQUARE), ([3, 0], WIDE), ([2], SQUARE), ([1, 0, 3, 2], WIDE), ([1, 4], SQUARE)]
    world.begin_anew()
    expected = [network(world.batch_of(*step)) for step in steps]
    left = world.written()

    world.begin_anew()
    answers = [graphs.forward(world.batch_of(*step)) for step in steps]
    graphs.capture.overwrite()
    assert furthest(world.written(), left) < TOLERANCE
    for answer, wanted in zip(answers, expected, strict=True):
        assert furthest([answer.flow, answer.similarity], [wanted.flow, wanted.similarity]) < TOLERANCE


def test_what_a_graph_gave_stays_while_the_next_one_runs(network: CausalWan, world: World, graphs: Subject) -> None:
    """Two micro-steps under way: the second of the same graph, over the same inputs and the same memory."""
    expected = run(world, network, world.batch_of([0, 1, 2]))[0]
    world.begin_anew()
    first = graphs.forward(world.batch_of([0, 1, 2]))
    second = graphs.forward(world.batch_of([5, 6, 7, 8]))
    graphs.capture.overwrite()
    assert float((first.flow - expected).abs().max()) < TOLERANCE
    assert bool(second.flow.isfinite().all())
    assert not {first.flow.untyped_storage().data_ptr(), first.similarity.untyped_storage().data_ptr()} & {
        second.flow.untyped_storage().data_ptr(),
        second.similarity.untyped_storage().data_ptr(),
    }


def test_a_row_that_is_not_a_number_is_alone_with_it_in_a_full_bucket(
    network: CausalWan, world: World, graphs: Subject
) -> None:
    expected = run(world, network, world.batch(8))
    broken = world.batch(8)
    broken.hidden[3] = float("nan")
    answer = run(world, graphs.forward, broken)
    others = [row for row in range(8) if row != 3]
    assert bool(answer[0][3].isnan().any())
    assert furthest([part[others] for part in answer[:2]], [part[others] for part in expected[:2]]) < TOLERANCE

    # The scratch page, where the broken row has left what it wrote a second time, is nobody's: all goes on as before.
    after = graphs.forward(world.batch_of([4, 5, 6]))
    assert bool(after.flow.isfinite().all())
    assert furthest(run(world, graphs.forward, world.batch(8)), expected) < TOLERANCE


def test_rows_that_fill_a_bucket_write_no_page_of_a_session(world: World, graphs: Subject) -> None:
    world.begin_anew()
    before = world.written()
    graphs.forward(world.batch_of([0]))
    graphs.forward(world.batch_of([0, 1, 2, 3, 4]))
    graphs.forward(world.batch_of([0]))
    rings = [world.rows[SQUARE][row].ring for row in range(5)]
    of_rows = {page - 1 for ring in rings for page in (*sum(ring.slots, ()), *ring.spare)}
    others = [page for page in range(before[0].shape[1]) if page not in of_rows]
    for now, then in zip(world.written(), before, strict=True):
        assert torch.equal(now[:, others], then[:, others])


@pytest.mark.parametrize("full_at", range(len(ROWS)))
def test_where_memory_runs_out_while_capturing_the_next_larger_graph_or_none_is_taken(
    network: CausalWan, world: World, full_at: int
) -> None:
    one = captured(network, world, full_at=[full_at], sizes=[SQUARE])
    dropped = sorted(ROWS, reverse=True)[full_at]
    expected = run(world, network, world.batch(dropped))
    assert furthest(run(world, one.forward, world.batch(dropped)), expected) < TOLERANCE
    assert one.forward.replayed == (0 if dropped == max(ROWS) else 1)


def test_where_no_graph_fits_into_memory_every_forward_runs_as_it_is(network: CausalWan, world: World) -> None:
    one = captured(network, world, full_at=range(len(ROWS)), sizes=[SQUARE])
    assert furthest(run(world, one.forward, world.batch(3)), run(world, network, world.batch(3))) == 0.0
    assert one.forward.replayed == 0


def test_a_card_that_is_lost_while_a_graph_is_replayed_is_the_callers_to_see(network: CausalWan, world: World) -> None:
    one = captured(network, world, sizes=[SQUARE])
    one.capture.fault = RuntimeError("CUDA error: device lost")
    with pytest.raises(RuntimeError, match="device lost"):
        one.forward(world.batch(3))


def test_the_opening_and_another_pool_run_as_they_are(network: CausalWan, world: World, graphs: Subject) -> None:
    before = graphs.forward.replayed
    opening = replace(world.rows[SQUARE][5], hidden=torch.randn(2, TINY.channels, *SQUARE), first=0)
    assert graphs.forward(batch_of([opening], layout=V2V_RING)).flow.shape[1] == 2
    other = World(network)
    assert furthest(run(other, graphs.forward, other.batch(3)), run(other, network, other.batch(3))) == 0.0
    assert graphs.forward.replayed == before


def test_a_pool_that_grew_has_other_addresses_and_graphs_of_its_own_only_once_they_are_captured(
    network: CausalWan,
) -> None:
    pool = KvPool(TINY, device=CPU, dtype=torch.float32)
    texts = TextPool(TINY, device=CPU, dtype=torch.float32)
    text = texts.put(*network.text_kv(torch.randn(TINY.text_length, TINY.text_dim)))
    forward = GraphForward(network, RepeatedCapture())
    rings = [PagedRing.taken(pool, V2V_RING, frame_tokens=16)]

    def replayed() -> int:
        row = RowInput(rings[-1], text, torch.randn(1, TINY.channels, *SQUARE), 0, 700.0)
        forward(batch_of([row], layout=V2V_RING))
        return forward.replayed

    assert replayed() == 0
    forward.capture(Bucket(1, *SQUARE), pool, texts)
    assert replayed() == 1
    rings.append(PagedRing.taken(pool, V2V_RING, frame_tokens=16))
    assert replayed() == 1
    forward.capture(Bucket(1, *SQUARE), pool, texts)
    assert replayed() == 2


@pytest.mark.parametrize("name", ["keys", "values", "means"])
def test_a_pool_of_another_size_at_the_same_address_is_another_pool(network: CausalWan, name: str) -> None:
    """As memory that is given back and taken again may be."""
    world = World(network)
    one = captured(network, world, sizes=[SQUARE])
    one.forward(world.batch(1))
    before = getattr(world.pool, name)
    setattr(world.pool, name, before[:, :-1])
    assert getattr(world.pool, name).data_ptr() == before.data_ptr()
    one.forward(world.batch(1))
    assert one.forward.replayed == 1


def test_capturing_once_more_writes_no_page_of_a_session(network: CausalWan, world: World) -> None:
    """The inputs still hold the rows of the last replay."""
    one = captured(network, world, sizes=[SQUARE])
    one.forward(world.batch(4))
    world.begin_anew()
    before = world.written()
    one.forward.capture(Bucket(4, *SQUARE), world.pool, world.texts)
    assert furthest(world.written(), before) == 0.0


@pytest.mark.parametrize("rows", [11, 16])
def test_beside_the_graph_a_replay_has_four_launches_whatever_its_rows(rows: int) -> None:
    """Counted at the true size, on tensors without memory."""
    config, meta = MODELS["wan2.1-1.3b"].transformer, torch.device("meta")
    network = skeletons.transformer(config, ops=StaticRingOps()).to(torch.bfloat16)
    pool = KvPool(config, device=meta, dtype=torch.bfloat16)
    texts = TextPool(config, device=meta, dtype=torch.bfloat16)
    forward = GraphForward(network, Silent())
    forward.capture(Bucket(16, 60, 104), pool, texts)
    batch = StaticRows.made(
        rows, latent=(config.channels, 60, 104), patch=config.patch, layout=V2V_RING, pool=pool, text_pool=texts
    ).batch
    with counted() as tally:
        forward(batch)
    assert forward.replayed == 1
    assert tally.kernels_by_name() == {"aten::_foreach_copy_": 4, "aten::slice.Tensor": 0, "aten::empty_like": 0}
    assert (tally.uploads, tally.downloads) == (0, 0)


class Silent:
    """A Capture whose graphs do nothing."""

    def capture(self, work: Work) -> Captured:
        del work
        flow = torch.empty(16, 1, 16, 60, 104, device="meta")
        return Captured(Denoised(flow, torch.empty(16, V2V_RING.sinks, device="meta")), lambda: None, 0)
