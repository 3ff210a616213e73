"""The kernels between linear layers against PyTorch's operations in float32, at sizes that fill no block."""

from collections import Counter
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from genlock_worker.engines.diffusion.execution.forward import make_forward
from genlock_worker.engines.diffusion.network.kernels import pointwise_norm
from genlock_worker.engines.diffusion.network.kernels.triton_pointwise import TritonPointwise
from genlock_worker.engines.diffusion.network.pointwise import Affine, TorchPointwise
from genlock_worker.engines.diffusion.options import ForwardOptions
from tests.worker.engines.diffusion import recorded
from tests.worker.engines.diffusion.recorded import CONFIG, LAYOUT
from tests.worker.engines.diffusion.rows import RowInput, batch_of, empty_ring, text_pool

ROWS, TOKENS, EPS = 3, 5, 1e-6
ROUNDING = {torch.float32: 2**-24, torch.bfloat16: 2**-7}
"""A whole step of bfloat16: the interpreter cuts off what a GPU rounds."""
KERNELS, PLAIN = TritonPointwise(), TorchPointwise()

sizes = pytest.mark.parametrize("dim", [1, 48, 100, 1536])
dtypes = pytest.mark.parametrize("dtype", ROUNDING)


def drawn(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def modulation(dim: int) -> tuple[Tensor, Affine]:
    """Of each row, as a layer's numbers lie in the table of all of them."""
    by_row = drawn(ROWS, 6, 1, dim, seed=9)
    return by_row[:, 2], Affine(by_row[:, 1], by_row[:, 0])


def learned(dim: int, dtype: torch.dtype) -> Affine:
    return Affine(drawn(dim, seed=7, dtype=dtype), drawn(dim, seed=8, dtype=dtype))


def wide(by: Affine) -> Affine:
    return Affine(by.gain.float(), by.shift.float())


def assert_rounded_once(ours: Tensor, exact: Tensor) -> None:
    step = ROUNDING[ours.dtype]
    assert bool(((ours.float() - exact).abs() <= step * exact.abs() + 4e-6).all())


@sizes
@dtypes
@pytest.mark.parametrize("of_each_row", [True, False])
def test_a_norm(dim: int, dtype: torch.dtype, of_each_row: bool) -> None:
    tokens = 2 + 3 * drawn(ROWS, TOKENS, dim, seed=1, dtype=dtype)
    by = modulation(dim)[1] if of_each_row else learned(dim, dtype)
    ours = KERNELS.norm(tokens, by, EPS)
    assert ours.dtype == dtype
    assert_rounded_once(ours, PLAIN.norm(tokens.float(), wide(by), EPS))


@sizes
@dtypes
@pytest.mark.parametrize("of_each_row", [True, False])
@pytest.mark.parametrize("gated", [True, False])
def test_a_sum_and_the_norm_of_what_is_stored_of_it(
    dim: int, dtype: torch.dtype, of_each_row: bool, gated: bool
) -> None:
    tokens, update = (drawn(ROWS, TOKENS, dim, seed=seed, dtype=dtype) for seed in (1, 2))
    before = tokens.clone()
    gate = modulation(dim)[0] if gated else None
    by = modulation(dim)[1] if of_each_row else learned(dim, dtype)
    updated, normed = KERNELS.add_norm(tokens, update, gate, by, EPS)
    exact, _ = PLAIN.add_norm(tokens.float(), update.float(), gate, wide(by), EPS)
    assert_rounded_once(updated, exact)
    assert_rounded_once(normed, PLAIN.norm(updated.float(), wide(by), EPS))
    assert torch.equal(tokens, before)


def test_a_row_that_is_not_finite_stays_alone() -> None:
    tokens, update = (drawn(ROWS, TOKENS, 48, seed=seed) for seed in (1, 2))
    gate, by = modulation(48)
    clean = KERNELS.add_norm(tokens, update, gate, by, EPS)
    tokens[1] = float("nan")
    dirty = KERNELS.add_norm(tokens, update, gate, by, EPS)
    for ours, theirs in zip(dirty, clean, strict=True):
        assert torch.equal(ours[::2], theirs[::2])
        assert not bool(ours[1].isfinite().any())


def test_a_call_launches_what_it_declares() -> None:
    seen: Counter[str] = Counter()
    tokens, (gate, by) = drawn(ROWS, TOKENS, 48, seed=1), modulation(48)
    for kernel in (pointwise_norm.norm, pointwise_norm.add_norm):
        kernel.add_pre_run_hook(lambda *_, name=kernel.__name__, **__: seen.update([name]))
    try:
        KERNELS.norm(tokens, by, EPS)
        KERNELS.add_norm(tokens, tokens, gate, by, EPS)
    finally:
        for kernel in (pointwise_norm.norm, pointwise_norm.add_norm):
            kernel.pre_run_hooks.pop()
    declared = pointwise_norm.NORM.launches(tokens, by.gain, by.shift, EPS).kernels
    declared += pointwise_norm.ADD_NORM.launches(tokens, tokens, gate, by.gain, by.shift, EPS).kernels
    assert seen == Counter(declared)


@torch.no_grad()
def test_the_activation_on_a_cpu_is_pytorchs() -> None:
    linear, tokens = nn.Linear(8, 7), drawn(ROWS, TOKENS, 8, seed=1)
    assert torch.equal(KERNELS.activated(linear, tokens), PLAIN.activated(linear, tokens))


def test_compiled_round_the_kernels_the_recorded_network_answers_as_with_pytorchs_operations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Launched one by one a whole network is tried in `test_triton_graphs`."""
    # The tracing, its guards and symbols are the real ones; only no machine code is made, which would take a minute.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    network, forward = (
        recorded.network(),
        make_forward(recorded.network(pointwise=KERNELS), ForwardOptions(compile=True)),
    )
    texts = [
        text_pool(CONFIG).put(*network.text_kv(recorded.tensor("tiny_model", f"prompt/{name}")[0])) for name in "AB"
    ]
    for count in (1, 2):
        flows = [
            each(
                batch_of(
                    [
                        RowInput(empty_ring(CONFIG, LAYOUT), text, drawn(1, 16, 8, 8, seed=row), 0, 700.0 - 100 * row)
                        for row, text in enumerate(texts[:count])
                    ],
                    layout=LAYOUT,
                )
            ).flow
            for each in (network, forward)
        ]
        torch.testing.assert_close(flows[1], flows[0], rtol=0, atol=5e-6)
