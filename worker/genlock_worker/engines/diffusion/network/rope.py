"""Rotary position embedding over time, height and width (Wan 2.1), from positions that are tensors.

A head has head_dim/2 pairs of neighbouring components (2i, 2i+1), shared out to the three axes; pair j of an axis of d
components turns by position * 10000^(-2j/d). Angles are computed in float64 and only their cosines and sines rounded to
float32, so there is no table and no largest position.
"""

from typing import NamedTuple

import torch
from torch import Tensor

BASE = 10_000.0


class Rotations(NamedTuple):
    """Cosine and sine of every token's angles, float32, (..., tokens, 1, head_dim/2): the same for all heads."""

    cos: Tensor
    sin: Tensor


def pairs_per_axis(head_dim: int) -> tuple[int, int, int]:
    """Complex pairs of (time, height, width): a third each, what is left over goes to time (22/21/21 of 64)."""
    third = head_dim // 2 // 3
    return head_dim // 2 - 2 * third, third, third


def rotations(times: Tensor, *, grid: tuple[int, int], head_dim: int) -> Rotations:
    """The rotations of whole frames.

    `times` (..., frames) are their float64 temporal positions, `grid` is the tokens (high, wide) of one frame.
    The tokens are in the order (frame, row, column). Only kernels are launched: nothing is read back.
    """
    rows, columns = (torch.arange(size, dtype=torch.float64, device=times.device) for size in grid)
    axes = zip((times, rows, columns), pairs_per_axis(head_dim), strict=True)
    time, height, width = (_angles(positions, pairs) for positions, pairs in axes)
    return Rotations(_joined(time.cos(), height.cos(), width.cos()), _joined(time.sin(), height.sin(), width.sin()))


def by_axis(times: Tensor, *, grid: tuple[int, int], head_dim: int) -> tuple[Tensor, Tensor]:
    """The rotations of whole frames in two parts, for kernels that put them together: cosines, then sines, float32.

    `times` (..., frames) float64. Of time (..., frames, 2, its pairs), of the places in a frame (tokens, 2, the other
    pairs), which all frames share.
    """
    rows, columns = (torch.arange(size, dtype=torch.float64, device=times.device) for size in grid)
    axes = zip((times, rows, columns), pairs_per_axis(head_dim), strict=True)
    time, height, width = (_angles(positions, pairs) for positions, pairs in axes)
    shape = (*grid, -1)
    place = torch.cat([height[:, None].expand(shape), width.expand(shape)], dim=-1).flatten(0, 1)
    return _cosines_and_sines(time), _cosines_and_sines(place)


def turns(times: Tensor, *, pairs: int) -> Rotations:
    """The rotations in time alone: `times` (R, 1) float64, (R, 1, 1, pairs) each, the same for all tokens and heads.

    They turn the first `pairs` pairs of a head, which are those of time.
    """
    angles = _angles(times, pairs)[:, :, None]
    return Rotations(angles.cos().float(), angles.sin().float())


def rotate(heads: Tensor, by: Rotations) -> Tensor:
    """Turn (..., tokens, H, head_dim) by the angles of as many tokens; computed in float32, the dtype stays."""
    real, imaginary = torch.unflatten(heads, -1, (-1, 2)).unbind(-1)
    # The products widen what they read, and the sums round what they write: nothing is only cast.
    turned = torch.empty_like(real), torch.empty_like(imaginary)
    torch.addcmul(real * by.cos, imaginary, by.sin, value=-1, out=turned[0])
    torch.addcmul(imaginary * by.cos, real, by.sin, out=turned[1])
    return torch.stack(turned, dim=-1).flatten(-2)


def _angles(positions: Tensor, pairs: int) -> Tensor:
    """(..., pairs) float64."""
    ladder = BASE ** (-torch.arange(pairs, dtype=torch.float64, device=positions.device) / pairs)
    return positions.double()[..., None] * ladder


def _cosines_and_sines(angles: Tensor) -> Tensor:
    """(..., pairs) float64 -> (..., 2, pairs) float32."""
    return torch.stack((angles.cos(), angles.sin()), dim=-2).float()


def _joined(time: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Each axis's numbers, (..., frames, pairs), (high, pairs) and (wide, pairs), for every token: float32."""
    shape = (*time.shape[:-1], len(height), len(width), -1)
    parts = (time[..., :, None, None, :], height[:, None, :], width)
    return torch.cat([part.float().expand(shape) for part in parts], dim=-1).flatten(-4, -2).unsqueeze(-2)
