"""CUDA's way to capture, as far as no GPU is needed: a stand-in for torch.cuda says what it was asked for, in order."""

from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import torch

from genlock_worker.engines.algorithm.ring import V2V_RING
from genlock_worker.engines.diffusion.config import TINY
from genlock_worker.engines.diffusion.execution.buckets import Bucket
from genlock_worker.engines.diffusion.execution.capture import CudaCapture
from genlock_worker.engines.diffusion.execution.graphs import GraphForward
from genlock_worker.engines.diffusion.network.kv_pool import KvPool, PagedRing
from genlock_worker.engines.diffusion.network.row_batch import Denoised
from genlock_worker.engines.diffusion.network.text_pool import TextPool
from genlock_worker.engines.diffusion.network.transformer import CausalWan
from tests.worker.engines.diffusion.rows import RowInput, batch_of, moved_to
from tests.worker.engines.diffusion.static_ring_ops import StaticRingOps

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
GIB = 2**30


@dataclass
class Card:
    """What torch.cuda is asked for, and what of it fails."""

    said: list[str] = field(default_factory=list)
    free_bytes: int = 8 * GIB
    taken_bytes: int = GIB
    """By each graph."""
    ends_badly: bool = False
    """The capture was broken by what failed within it."""
    graph_fault: str | None = None
    """What CUDA says when the graph itself is made."""

    def graph(self) -> "Graph":
        return Graph(self)


@dataclass(eq=False)
class Graph:
    card: Card

    def capture_begin(self, *, pool: object, capture_error_mode: str) -> None:
        assert capture_error_mode == "thread_local"
        self.card.said.append(f"begin in {pool}")

    def capture_end(self) -> None:
        self.card.said.append("end")
        if self.card.ends_badly:
            raise RuntimeError("operation failed due to a previous error during capture")
        if self.card.graph_fault is not None:
            raise torch.AcceleratorError(self.card.graph_fault)
        self.card.free_bytes -= self.card.taken_bytes

    def replay(self) -> None:
        self.card.said.append("replay")

    def pool(self) -> str:
        return "the graphs' memory"


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    one = Card()
    stream = SimpleNamespace(wait_stream=lambda _: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: one.said.append("give back"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (one.free_bytes, 0))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", one.graph)
    return one


def work(card: Card, *, fails_at: int | None = None) -> Denoised:
    card.said.append("work")
    if card.said.count("work") == fails_at:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")
    return Denoised(torch.zeros(1), torch.zeros(1))


def test_work_is_run_before_it_is_captured_and_replayed_once_so_that_no_user_pays_for_the_first_time(
    card: Card,
) -> None:
    captured = CudaCapture(CUDA).capture(lambda: work(card))
    assert card.said == ["work", "give back", "begin in None", "work", "end", "replay", "give back"]
    assert captured.bytes == GIB
    captured.replay()
    assert card.said[-1] == "replay"


def test_graphs_share_the_memory_of_the_first(card: Card) -> None:
    capture = CudaCapture(CUDA)
    capture.capture(lambda: work(card))
    card.taken_bytes = 0
    assert capture.capture(lambda: work(card)).bytes == 0
    assert [said for said in card.said if said.startswith("begin")] == ["begin in None", "begin in the graphs' memory"]


@pytest.mark.parametrize("ends_badly", [False, True])
def test_memory_that_runs_out_while_capturing_ends_the_capture_and_is_what_is_told(
    card: Card, *, ends_badly: bool
) -> None:
    capture = CudaCapture(CUDA)
    card.ends_badly = ends_badly
    with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate"):
        capture.capture(lambda: work(card, fails_at=2))
    assert card.said[-1] == "end"

    # The memory of a graph that failed is gone with it: the next one has memory of its own.
    card.ends_badly = False
    capture.capture(lambda: work(card))
    assert card.said[-6:-3] == ["give back", "begin in None", "work"]


def test_memory_that_cuda_lacks_for_the_graph_itself_is_memory_that_ran_out(card: Card) -> None:
    card.graph_fault = "CUDA error: out of memory"
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        CudaCapture(CUDA).capture(lambda: work(card))


def test_a_card_that_is_lost_while_capturing_is_not_memory_that_ran_out(card: Card) -> None:
    card.graph_fault = "CUDA error: device lost"
    with pytest.raises(torch.AcceleratorError, match="device lost"):
        CudaCapture(CUDA).capture(lambda: work(card))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_captured_on_a_gpu_a_forward_gives_what_the_plain_one_gives() -> None:
    torch.manual_seed(0)
    network = CausalWan(TINY, layout=V2V_RING, ops=StaticRingOps())
    pool = KvPool(TINY, device=CPU, dtype=torch.float32)
    texts = TextPool(TINY, device=CPU, dtype=torch.float32)
    text = texts.put(*network.text_kv(torch.randn(TINY.text_length, TINY.text_dim)))
    rings = [PagedRing.taken(pool, V2V_RING, frame_tokens=16) for _ in range(3)]
    inputs = [RowInput(ring, text, torch.randn(1, TINY.channels, 8, 8), 0, 700.0) for ring in rings]
    batch = batch_of(inputs, layout=V2V_RING)

    network.to(CUDA)
    plain, other = (moved_to(CUDA, batch) for _ in range(2))
    forward = GraphForward(network, CudaCapture(CUDA))
    forward.capture(Bucket(4, 8, 8), other.pool, other.text_pool)
    expected, answer = network(plain), forward(other)
    assert forward.replayed == 1
    torch.testing.assert_close(answer.flow, expected.flow, rtol=0, atol=1e-3)
    torch.testing.assert_close(other.pool.keys[:, 1:], plain.pool.keys[:, 1:], rtol=0, atol=1e-3)
