"""Each step against its formula, spelt out in float64."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from genlock_worker.engines.diffusion.network.pointwise import (
    Affine,
    TorchPointwise,
    head_modulation,
    layer_modulations,
)

ROWS, TOKENS, DIM, EPS = 3, 5, 48, 1e-6
HALF_STEP = {torch.float32: 2**-24, torch.bfloat16: 2**-8}
"""The most by which rounding moves a number, relative to it."""

POINTWISE = TorchPointwise()


def drawn(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def of_rows(seed: int) -> Affine:
    return Affine(drawn(ROWS, 1, DIM, seed=seed), drawn(ROWS, 1, DIM, seed=seed + 1))


def learned(seed: int, dtype: torch.dtype) -> Affine:
    return Affine(drawn(DIM, seed=seed, dtype=dtype), drawn(DIM, seed=seed + 1, dtype=dtype))


def normed(tokens: Tensor, by: Affine) -> Tensor:
    wide = tokens.double()
    off = wide - wide.mean(-1, keepdim=True)
    deviation = (off.square().mean(-1, keepdim=True) + EPS).sqrt()
    return off / deviation * by.gain.double() + by.shift.double()


def assert_rounded_once(ours: Tensor, exact: Tensor) -> None:
    """Equal but for one rounding to the dtype of `ours`, and for what float32 loses in between."""
    step = HALF_STEP[ours.dtype]
    assert bool(((ours.double() - exact).abs() <= step * exact.abs() + 2e-6).all())


@pytest.mark.parametrize("dtype", HALF_STEP)
@pytest.mark.parametrize("of_each_row", [True, False])
def test_a_norm_is_computed_wide_and_rounded_once(dtype: torch.dtype, of_each_row: bool) -> None:
    tokens = 2 + 5 * drawn(ROWS, TOKENS, DIM, seed=1, dtype=dtype)
    by = of_rows(2) if of_each_row else learned(2, dtype)
    ours = POINTWISE.norm(tokens, by, EPS)
    assert ours.dtype == dtype
    assert_rounded_once(ours, normed(tokens, by))


@pytest.mark.parametrize("dtype", HALF_STEP)
@pytest.mark.parametrize("gated", [True, False])
def test_an_update_is_added_and_the_norm_is_of_the_sum_as_it_is_stored(dtype: torch.dtype, gated: bool) -> None:
    tokens, update = (drawn(ROWS, TOKENS, DIM, seed=seed, dtype=dtype) for seed in (1, 2))
    gate = drawn(ROWS, 1, DIM, seed=3) if gated else None
    by, before = of_rows(4), tokens.clone()
    ours, ours_normed = POINTWISE.add_norm(tokens, update, gate, by, EPS)
    factor = 1.0 if gate is None else gate.double()
    assert_rounded_once(ours, tokens.double() + factor * update.double())
    assert_rounded_once(ours_normed, normed(ours, by))
    assert torch.equal(tokens, before), "what it is given may be needed again"


@torch.no_grad()
def test_the_activation_is_gelu_as_tanh_has_it() -> None:
    linear, tokens = nn.Linear(DIM, 7), drawn(ROWS, TOKENS, DIM, seed=1)
    ours, x = POINTWISE.activated(linear, tokens), linear(tokens).double()
    exact = 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))
    torch.testing.assert_close(ours.double(), exact, rtol=0, atol=1e-6)
    assert float((functional.gelu(linear(tokens)).double() - exact).abs().max()) > 1e-5, "and not the other one"


@pytest.mark.parametrize("dtype", HALF_STEP)
def test_every_layer_is_modulated_by_its_own_numbers_and_each_row_by_its_time(dtype: torch.dtype) -> None:
    layers = [drawn(1, 6, DIM, seed=seed, dtype=dtype) for seed in range(4)]
    time = drawn(ROWS, 6, DIM, seed=9, dtype=dtype)
    for own, by in zip(layers, layer_modulations(layers, time), strict=True):
        for row in range(ROWS):
            shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = (own[0].float() + time[row].float()).unbind()
            assert torch.equal(by.attention.gain[row, 0], 1 + scale)
            assert torch.equal(by.attention.shift[row, 0], shift)
            assert torch.equal(by.attention_gate[row, 0], gate)
            assert torch.equal(by.feed_forward.gain[row, 0], 1 + ffn_scale)
            assert torch.equal(by.feed_forward.shift[row, 0], ffn_shift)
            assert torch.equal(by.feed_forward_gate[row, 0], ffn_gate)


@pytest.mark.parametrize("dtype", HALF_STEP)
def test_the_head_is_modulated_by_shift_and_scale(dtype: torch.dtype) -> None:
    own, time = drawn(1, 2, DIM, seed=1, dtype=dtype), drawn(ROWS, DIM, seed=2, dtype=dtype)
    by = head_modulation(own, time)
    for row in range(ROWS):
        assert torch.equal(by.shift[row, 0], own[0, 0].float() + time[row].float())
        assert torch.equal(by.gain[row, 0], 1 + (own[0, 1].float() + time[row].float()))
