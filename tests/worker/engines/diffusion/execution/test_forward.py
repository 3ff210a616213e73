from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from genlock_worker.engines.algorithm.ring import V2V_RING
from genlock_worker.engines.diffusion.config import TINY
from genlock_worker.engines.diffusion.execution.forward import CompileUnavailable, GraphsUnavailable, make_forward
from genlock_worker.engines.diffusion.execution.graphs import GraphForward
from genlock_worker.engines.diffusion.network.kv_pool import KvPool, PagedRing
from genlock_worker.engines.diffusion.network.row_batch import RowBatch
from genlock_worker.engines.diffusion.network.transformer import CausalWan
from genlock_worker.engines.diffusion.options import ForwardOptions
from tests.worker.engines.diffusion.repeated_capture import RepeatedCapture
from tests.worker.engines.diffusion.rows import RowInput, batch_of, moved_to, text_pool
from tests.worker.engines.diffusion.static_ring_ops import StaticRingOps
from tests.worker.engines.diffusion.sync_check import HostSync, no_host_sync

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
TOLERANCE = 1e-5
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(scope="module")
def network() -> CausalWan:
    torch.manual_seed(0)
    return CausalWan(TINY, layout=V2V_RING)


def rows(network: CausalWan, *, count: int, frames: int = 1, first: int = 7, seed: int = 1) -> RowBatch:
    """Rows over rings full of random frames, under one prompt; the same on every call, in a pool of its own."""
    random = torch.Generator().manual_seed(seed)
    pool = KvPool(TINY, device=CPU, dtype=torch.float32)
    text = text_pool(TINY).put(*network.text_kv(torch.randn(TINY.text_length, TINY.text_dim, generator=random)))
    inputs = []
    for row in range(count):
        ring = PagedRing.taken(pool, V2V_RING, frame_tokens=16)
        pages = [page for slot in ring.slots for page in slot]
        for stored in (pool.keys, pool.values, pool.means):
            stored[:, pages] = torch.randn(stored[:, pages].shape, generator=random)
        hidden = torch.randn(frames, TINY.channels, 8, 8, generator=random)
        inputs.append(RowInput(ring, text, hidden, first + row, timestep=700.0 - 100 * row))
    return batch_of(inputs, layout=V2V_RING)


def test_a_compiled_forward_gives_what_the_plain_one_gives_for_any_rows(
    network: CausalWan, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tracing, its guards and symbols are the real ones; only no machine code is made, which would take a minute.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    twin = CausalWan(TINY, layout=V2V_RING)
    twin.load_state_dict(network.state_dict())
    compiled = make_forward(twin, ForwardOptions(compile=True))
    for count in (1, 3, 2):
        plain, other = (rows(network, count=count) for _ in range(2))
        expected, answer = network(plain), compiled(other)
        torch.testing.assert_close(answer.flow, expected.flow, rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(answer.similarity, expected.similarity, rtol=0, atol=TOLERANCE)
        assert other.pool is not plain.pool
        torch.testing.assert_close(other.pool.keys, plain.pool.keys, rtol=0, atol=TOLERANCE)


def test_a_machine_that_cannot_compile_is_told_so_at_start(network: CausalWan, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def fail(x: Tensor) -> Tensor:
            raise RuntimeError("Failed to find C compiler.\nand much more")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(CompileUnavailable, match=r"on cpu: Failed to find C compiler\.; install a C compiler"):
        make_forward(network, ForwardOptions(compile=True))


def test_graphs_are_not_for_a_cpu_which_is_said(network: CausalWan, caplog: pytest.LogCaptureFixture) -> None:
    assert make_forward(network, ForwardOptions(cuda_graphs=True)) is network
    assert "the model is on cpu" in caplog.text


def test_graphs_are_refused_where_kernels_are_called_with_the_size_of_each_ring(
    network: CausalWan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "parameters", lambda: iter([SimpleNamespace(device=CUDA)]))
    with pytest.raises(GraphsUnavailable, match=r"start with --kernels triton, or without --cuda-graphs"):
        make_forward(network, ForwardOptions(cuda_graphs=True))


def test_graphs_are_for_kernels_that_read_everything_through_tensors(
    network: CausalWan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "parameters", lambda: iter([SimpleNamespace(device=CUDA)]))
    monkeypatch.setattr(network, "ops", StaticRingOps())
    monkeypatch.setattr("genlock_worker.engines.diffusion.execution.forward.CudaCapture", lambda _: RepeatedCapture())
    assert isinstance(make_forward(network, ForwardOptions(cuda_graphs=True)), GraphForward)


def test_a_forward_asks_the_device_for_nothing(network: CausalWan) -> None:
    with no_host_sync(CPU):
        network(rows(network, count=3))
        network(rows(network, count=1, frames=2, first=0))


def test_a_forward_runs_without_knowing_any_number() -> None:
    """On the meta device a tensor has no values: `.item()`, `.cpu()`, `.tolist()`, `bool()` and `nonzero` all raise."""
    with torch.device("meta"):
        network = CausalWan(TINY, layout=V2V_RING)
    real = CausalWan(TINY, layout=V2V_RING)
    answer = network(moved_to(torch.device("meta"), rows(real, count=3)))
    assert (answer.flow.shape, answer.similarity.shape) == ((3, 1, TINY.channels, 8, 8), (3, V2V_RING.sinks))


@on_a_gpu
def test_a_forward_on_a_gpu_waits_for_nothing(network: CausalWan) -> None:
    there = CausalWan(TINY, layout=V2V_RING).to(CUDA)
    one = moved_to(CUDA, rows(network, count=3))
    there(one)
    with no_host_sync(CUDA):
        there(one)


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.equal(x, x),
        lambda x: x.unique(),
    ],
    ids=["item", "bool", "mask", "nonzero", "equal", "unique"],
)
def test_what_waits_for_the_device_is_refused(wait: Callable[[Tensor], object]) -> None:
    x = torch.arange(4.0)
    with no_host_sync(CPU), pytest.raises(HostSync, match="wait for the device"):
        wait(x)
    wait(x)
