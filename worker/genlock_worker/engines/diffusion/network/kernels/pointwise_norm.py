"""The sum of tokens with a gated update, and its modulated norm: one kernel, which reads and writes each token once.

A program has one token of one row in hand. The norm is of the sum as it is stored, rounded to the model's dtype.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from genlock_worker.engines.diffusion.network.kernels.declared import DeclaredOp, Launch, PlannedCall

COMPONENTS_PER_WARP = 512
"""16 for each of its threads."""
MOST_WARPS = 16

NORM_SCHEMA = "(Tensor tokens, Tensor gain, Tensor shift, float eps) -> Tensor"
ADD_NORM_SCHEMA = (
    "(Tensor tokens, Tensor update, Tensor? gate, Tensor gain, Tensor shift, float eps) -> (Tensor, Tensor)"
)


@triton.jit
def _normed(wide, gain, shift, component, inside, eps, DIM: tl.constexpr):
    """LayerNorm of one token, float32 and zero behind D, times gain, plus shift; both point to the row's."""
    mean = tl.sum(wide, 0) / DIM
    off = tl.where(inside, wide - mean, 0.0)
    scale = tl.rsqrt(tl.sum(off * off, 0) / DIM + eps)
    by = tl.load(gain + component, inside, 0.0).to(tl.float32)
    return off * scale * by + tl.load(shift + component, inside, 0.0).to(tl.float32)


@triton.jit
def norm(tokens, gain, shift, out, row_tokens, gain_row, shift_row, eps, DIM: tl.constexpr, BLOCK: tl.constexpr):
    """One program: one token. Grid (tokens of all rows)."""
    token = tl.program_id(0).to(tl.int64)
    row = token // row_tokens
    component = tl.arange(0, BLOCK)
    inside = component < DIM
    at = token * DIM + component

    wide = tl.load(tokens + at, inside, 0.0).to(tl.float32)
    normed = _normed(wide, gain + row * gain_row, shift + row * shift_row, component, inside, eps, DIM)
    tl.store(out + at, normed.to(out.dtype.element_ty), inside)


@triton.jit
def add_norm(
    tokens,
    update,
    gate,
    gain,
    shift,
    updated,
    out,
    row_tokens,
    gate_row,
    gain_row,
    shift_row,
    eps,
    DIM: tl.constexpr,
    BLOCK: tl.constexpr,
    GATED: tl.constexpr,
):
    """One program: one token. Grid (tokens of all rows). Without a gate the pointer to it is not read."""
    token = tl.program_id(0).to(tl.int64)
    row = token // row_tokens
    component = tl.arange(0, BLOCK)
    inside = component < DIM
    at = token * DIM + component

    new = tl.load(update + at, inside, 0.0).to(tl.float32)
    if GATED:
        new *= tl.load(gate + row * gate_row + component, inside, 0.0)
    total = (tl.load(tokens + at, inside, 0.0).to(tl.float32) + new).to(updated.dtype.element_ty)
    tl.store(updated + at, total, inside)

    normed = _normed(total.to(tl.float32), gain + row * gain_row, shift + row * shift_row, component, inside, eps, DIM)
    tl.store(out + at, normed.to(out.dtype.element_ty), inside)


def planned_norm(tokens: Tensor, gain: Tensor, shift: Tensor, eps: float) -> PlannedCall:
    """As `Pointwise.norm`: `tokens` (R, n, D) contiguous; gain and shift (R, 1, D) float32 or (D,), any row stride.

    Raises ValueError for tokens that are not contiguous.
    """
    _check(tokens)
    out = torch.empty_like(tokens)
    launch = Launch(
        norm,
        _grid(tokens),
        (tokens, gain, shift, out, tokens.shape[1], _row_stride(gain), _row_stride(shift), eps),
        _constants(tokens),
        warps=_warps(tokens),
    )
    return PlannedCall((out,), (launch,), _bytes(tokens, gain, shift, out))


def planned_add_norm(
    tokens: Tensor, update: Tensor, gate: Tensor | None, gain: Tensor, shift: Tensor, eps: float
) -> PlannedCall:
    """As `Pointwise.add_norm`: gives the sum and its norm; `gate` (R, 1, D) float32, all else as in `planned_norm`."""
    _check(tokens)
    _check(update)
    updated, out = torch.empty_like(tokens), torch.empty_like(tokens)
    gates = () if gate is None else (gate,)
    # A pointer there must be; without a gate it is one that nobody reads.
    factor = update if gate is None else gate
    launch = Launch(
        add_norm,
        _grid(tokens),
        (
            *(tokens, update, factor, gain, shift, updated, out, tokens.shape[1]),
            *(_row_stride(by) for by in (factor, gain, shift)),
            eps,
        ),
        {**_constants(tokens), "GATED": gate is not None},
        warps=_warps(tokens),
    )
    return PlannedCall((updated, out), (launch,), _bytes(tokens, update, *gates, gain, shift, updated, out))


def _check(tokens: Tensor) -> None:
    if not tokens.is_contiguous():
        raise ValueError(f"tokens must be contiguous, not of strides {tokens.stride()} for {tuple(tokens.shape)}")


def _grid(tokens: Tensor) -> tuple[int, int, int]:
    return tokens.shape[0] * tokens.shape[1], 1, 1


def _constants(tokens: Tensor) -> dict[str, object]:
    return {"DIM": tokens.shape[-1], "BLOCK": triton.next_power_of_2(tokens.shape[-1])}


def _warps(tokens: Tensor) -> int:
    block: int = triton.next_power_of_2(tokens.shape[-1])
    return max(1, min(MOST_WARPS, block // COMPONENTS_PER_WARP))


def _row_stride(by: Tensor) -> int:
    """0: the same for all rows."""
    return 0 if by.dim() == 1 else by.stride(0)


def _bytes(*parts: Tensor) -> int:
    # Not `nbytes`, which a compiler that traces with symbols for sizes cannot ask for.
    return sum(math.prod(part.shape) * part.itemsize for part in parts)


NORM = DeclaredOp("pointwise_norm", NORM_SCHEMA, planned_norm)
ADD_NORM = DeclaredOp("pointwise_add_norm", ADD_NORM_SCHEMA, planned_add_norm)
