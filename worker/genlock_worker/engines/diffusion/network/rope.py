"""Rotary position embedding over time, height and width (Wan 2.1), from indices that are tensors.

A head has head_dim/2 pairs of neighbouring components (2i, 2i+1), shared out to the three axes; pair j of an axis of d
components turns by index * 10000^(-2j/d). Angles are computed from the indices in float64 and only their cosines and
sines rounded to float32, so there is no table and no largest index.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

BASE = 10_000.0


class Turns(NamedTuple):
    """Cosine and sine of every token's angles, float32, (..., tokens, 1, head_dim/2): the same for all heads."""

    cos: Tensor
    sin: Tensor


Rotate = Callable[[Tensor, Turns], Tensor]
"""`rotate`, or the same compiled."""


def pairs_per_axis(head_dim: int) -> tuple[int, int, int]:
    """Complex pairs of (time, height, width): a third each, what is left over goes to time (22/21/21 of 64)."""
    third = head_dim // 2 // 3
    return head_dim // 2 - 2 * third, third, third


def turns(times: Tensor, *, grid: tuple[int, int], head_dim: int) -> Turns:
    """The turns of whole frames: `times` (..., frames) float64 temporal indices, `grid` tokens (high, wide) of a frame.

    The tokens are in the order (frame, row, column). Only kernels are launched: nothing is read back.
    """
    rows, columns = (torch.arange(size, dtype=torch.float64, device=times.device) for size in grid)
    axes = zip((times, rows, columns), pairs_per_axis(head_dim), strict=True)
    time, height, width = (_angles(indices, pairs) for indices, pairs in axes)
    return Turns(_joined(time.cos(), height.cos(), width.cos()), _joined(time.sin(), height.sin(), width.sin()))


def rotate(heads: Tensor, turned: Turns) -> Tensor:
    """Turn (..., tokens, H, head_dim) by the angles of as many tokens; computed in float32, the dtype stays."""
    pairs = torch.unflatten(heads.float(), -1, (-1, 2))
    real, imaginary = pairs.unbind(-1)
    out = torch.stack((real * turned.cos - imaginary * turned.sin, real * turned.sin + imaginary * turned.cos), dim=-1)
    return out.flatten(-2).to(heads.dtype)


def _angles(indices: Tensor, pairs: int) -> Tensor:
    """(..., pairs) float64."""
    ladder = BASE ** (-torch.arange(pairs, dtype=torch.float64, device=indices.device) / pairs)
    return indices.double()[..., None] * ladder


def _joined(time: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Each axis's numbers, (..., frames, pairs), (high, pairs) and (wide, pairs), for every token: float32."""
    shape = (*time.shape[:-1], len(height), len(width), -1)
    parts = (time[..., :, None, None, :], height[:, None, :], width)
    return torch.cat([part.float().expand(shape) for part in parts], dim=-1).flatten(-4, -2).unsqueeze(-2)
