from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from genlock_worker.engines.algorithm.ring import V2V_RING
from genlock_worker.engines.diffusion.config import TINY
from genlock_worker.engines.diffusion.execution.cuda_graphs import GraphedForward
from genlock_worker.engines.diffusion.execution.forward import CompileUnavailable, make_forward
from genlock_worker.engines.diffusion.network.kv import Ring, TextKv
from genlock_worker.engines.diffusion.network.row_batch import RowBatch
from genlock_worker.engines.diffusion.network.transformer import CausalWan
from genlock_worker.engines.diffusion.options import ForwardOptions
from tests.worker.engines.diffusion.rows import RowInput, batch_of, empty_ring
from tests.worker.engines.diffusion.sync_check import HostSync, no_host_sync

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
TOLERANCE = 1e-5
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(scope="module")
def network() -> CausalWan:
    torch.manual_seed(0)
    return CausalWan(TINY, layout=V2V_RING)


def rows(network: CausalWan, *, count: int, frames: int = 1, first: int = 7, seed: int = 1) -> RowBatch:
    """Rows over rings full of random frames, under one prompt; the same on every call."""
    random = torch.Generator().manual_seed(seed)
    text = network.text_kv(torch.randn(TINY.text_length, TINY.text_dim, generator=random))
    inputs = []
    for row in range(count):
        ring = empty_ring(TINY, V2V_RING)
        for tensor in (ring.keys, ring.values, ring.means):
            tensor.normal_(generator=random)
        hidden = torch.randn(frames, TINY.channels, 8, 8, generator=random)
        inputs.append(RowInput(ring, text, hidden, first + row, timestep=700.0 - 100 * row))
    return batch_of(inputs, layout=V2V_RING)


def copied_to(device: torch.device, batch: RowBatch) -> RowBatch:
    """The same batch there, with rings of its own."""

    def there(tensor: Tensor) -> Tensor:
        return tensor.to(device, copy=True)

    return RowBatch(
        hidden=there(batch.hidden),
        timesteps=there(batch.timesteps),
        query_positions=there(batch.query_positions),
        key_positions=there(batch.key_positions),
        places=there(batch.places),
        slots=there(batch.slots),
        rings=tuple(Ring(there(r.keys), there(r.values), there(r.means)) for r in batch.rings),
        texts=tuple(TextKv(there(t.keys), there(t.values)) for t in batch.texts),
        valid=batch.valid,
    )


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
        for ours, theirs in zip(other.rings, plain.rings, strict=True):
            torch.testing.assert_close(ours.keys, theirs.keys, rtol=0, atol=TOLERANCE)


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


def test_a_forward_asks_the_device_for_nothing(network: CausalWan) -> None:
    with no_host_sync(CPU):
        network(rows(network, count=3))
        network(rows(network, count=1, frames=2, first=0))


def test_a_forward_runs_without_knowing_any_number() -> None:
    """On the meta device a tensor has no values: `.item()`, `.cpu()`, `.tolist()`, `bool()` and `nonzero` all raise."""
    with torch.device("meta"):
        network = CausalWan(TINY, layout=V2V_RING)
    real = CausalWan(TINY, layout=V2V_RING)
    answer = network(copied_to(torch.device("meta"), rows(real, count=3)))
    assert (answer.flow.shape, answer.similarity.shape) == ((3, 1, TINY.channels, 8, 8), (3, V2V_RING.sinks))


@on_a_gpu
@pytest.mark.parametrize("compile_blocks", [False, True])
def test_replayed_rows_give_what_they_gave_before(network: CausalWan, compile_blocks: bool) -> None:
    """Rows come up until they are replayed; a replay also writes into the rings what a plain forward writes."""
    plain = CausalWan(TINY, layout=V2V_RING).to(CUDA)
    twin = CausalWan(TINY, layout=V2V_RING).to(CUDA)
    for copy in (plain, twin):
        copy.load_state_dict(network.state_dict())
    forward = make_forward(twin, ForwardOptions(compile=compile_blocks, cuda_graphs=True))
    assert isinstance(forward, GraphedForward)
    ours, theirs = (copied_to(CUDA, rows(network, count=3)) for _ in range(2))
    for turn in range(9):
        hidden = torch.randn(ours.hidden.shape, generator=torch.Generator().manual_seed(turn)).to(CUDA)
        answer, expected = forward(replace(ours, hidden=hidden)), plain(replace(theirs, hidden=hidden))
        torch.testing.assert_close(answer.flow, expected.flow, rtol=0, atol=1e-4)
        torch.testing.assert_close(answer.similarity, expected.similarity, rtol=0, atol=1e-4)
        for one, other in zip(ours.rings, theirs.rings, strict=True):
            torch.testing.assert_close(one.values, other.values, rtol=0, atol=1e-4)
    assert forward.graphs == 1


@on_a_gpu
def test_a_forward_on_a_gpu_waits_for_nothing(network: CausalWan) -> None:
    there = CausalWan(TINY, layout=V2V_RING).to(CUDA)
    one = copied_to(CUDA, rows(network, count=3))
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
