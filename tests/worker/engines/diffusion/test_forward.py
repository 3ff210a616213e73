from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from genlock_worker.engines.diffusion.config import TINY
from genlock_worker.engines.diffusion.forward import CompileUnavailable, ForwardOptions, make_forward
from genlock_worker.engines.diffusion.kv import Ring, TextKv
from genlock_worker.engines.diffusion.row_batch import RowBatch
from genlock_worker.engines.diffusion.sync_check import HostSync, no_host_sync
from genlock_worker.engines.diffusion.transformer import CausalWan
from genlock_worker.engines.ring import V2V_RING
from tests.worker.engines.diffusion.rows import RowInput, batch_of, empty_ring

CPU = torch.device("cpu")
TOLERANCE = 1e-5


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


def on_meta(batch: RowBatch) -> RowBatch:
    """The same batch without any numbers."""

    def bare(tensor: Tensor) -> Tensor:
        return tensor.to("meta")

    return RowBatch(
        hidden=bare(batch.hidden),
        timesteps=bare(batch.timesteps),
        query_turns=bare(batch.query_turns),
        key_turns=bare(batch.key_turns),
        places=bare(batch.places),
        slots=bare(batch.slots),
        rings=tuple(Ring(bare(r.keys), bare(r.values), bare(r.means)) for r in batch.rings),
        texts=tuple(TextKv(bare(t.keys), bare(t.values)) for t in batch.texts),
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
    answer = network(on_meta(rows(real, count=3)))
    assert (answer.flow.shape, answer.similarity.shape) == ((3, 1, TINY.channels, 8, 8), (3, V2V_RING.sinks))


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
