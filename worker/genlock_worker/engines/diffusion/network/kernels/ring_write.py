"""The write of a forward's new frames into their rings: one kernel for all rows, and one for the means.

The first kernel norms queries and keys, rotates them, and scatters keys and values into the pool's pages. It leaves
sums of a few tokens each, which the second one adds up in a fixed order: a sum whose order varied (atomics) would let
two equal sessions replace different sinks.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from genlock_worker.engines.diffusion.network.kernels.declared import DeclaredOp, Launch, PlannedCall
from genlock_worker.engines.diffusion.network.pages import PAGE_TOKENS

TILE = 8
"""Tokens that one program of the write takes: at 512x512 128 programs for each row."""
COMPONENTS = 8192
"""How many components it has in hand at once: as many of its tokens as make no more than these, one at least."""
SUMS, COLUMNS = 32, 64
"""How many tiles' sums, of how many components, one program of the means adds at a time."""

SCHEMA = (
    "(Tensor q, Tensor k, Tensor v, Tensor norm_q, Tensor norm_k, float eps, Tensor times, Tensor places, "
    "Tensor written, Tensor spare, Tensor(a!) keys, Tensor(b!) values, Tensor(c!) means) -> (Tensor, Tensor)"
)


@triton.jit
def _normed(tokens, weight, eps, DIM: tl.constexpr):
    """`projections.RmsNorm`, rounded once as that is: (B, H, d) of any type, zeros behind D -> float32."""
    wide = tokens.to(tl.float32)
    scales = tl.rsqrt(tl.sum(tl.sum(wide * wide, 2), 1) / DIM + eps)
    return (wide * scales[:, None, None] * weight).to(tokens.dtype).to(tl.float32)


@triton.jit
def _turned(heads, time, place, valid, HEAD: tl.constexpr, TIME_PAIRS: tl.constexpr):
    """`rope.rotate`: (B, H, d) float32 by the angles of a time and of each token's place.

    `place` (B, 1) points to them. The first pairs of a head turn with time.
    """
    PLACE_PAIRS: tl.constexpr = HEAD // 2 - TIME_PAIRS
    pair = tl.arange(0, HEAD // 2)[None, :]
    in_time = pair < TIME_PAIRS
    in_place = (pair >= TIME_PAIRS) & valid[:, None]
    place += pair - TIME_PAIRS
    cos = (tl.load(time + pair, in_time, 0.0) + tl.load(place, in_place, 0.0))[:, None, :]
    sin = (tl.load(time + TIME_PAIRS + pair, in_time, 0.0) + tl.load(place + PLACE_PAIRS, in_place, 0.0))[:, None, :]

    real, imaginary = tl.split(tl.reshape(heads, (heads.shape[0], heads.shape[1], HEAD // 2, 2)))
    turned = tl.join(real * cos - imaginary * sin, real * sin + imaginary * cos)
    return tl.reshape(turned, heads.shape)


@triton.jit
def ring_write(
    q,
    k,
    v,
    norm_q,
    norm_k,
    times,
    places,
    written,
    spare,
    keys,
    values,
    window,
    sinks,
    sums,
    q_row,
    q_token,
    k_row,
    k_token,
    v_row,
    v_token,
    frame_tokens,
    slot_pages,
    eps,
    HEADS: tl.constexpr,
    HEAD: tl.constexpr,
    HEADS_BLOCK: tl.constexpr,
    TIME_PAIRS: tl.constexpr,
    PAGE: tl.constexpr,
    TILE: tl.constexpr,
    BUNDLE: tl.constexpr,
):
    """One program: a tile of one frame of one row, a bundle of tokens after the other. Grid (tiles, frames, rows)."""
    DIM: tl.constexpr = HEADS * HEAD
    PLACE_PAIRS: tl.constexpr = HEAD // 2 - TIME_PAIRS
    tile, frame, row = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    frames = tl.num_programs(1)

    head = tl.arange(0, HEADS_BLOCK)[:, None]
    component = head * HEAD + tl.arange(0, HEAD)[None, :]
    is_head = component < DIM
    weight_q = tl.load(norm_q + component, is_head, 0.0).to(tl.float32)[None, :, :]
    weight_k = tl.load(norm_k + component, is_head, 0.0).to(tl.float32)[None, :, :]

    # A tile never reaches over the end of a page.
    page = tile * TILE // PAGE
    to = tl.load(written + (row * frames + frame) * slot_pages + page).to(tl.int64)
    to_spare = tl.load(spare + row * slot_pages + page).to(tl.int64)
    twice = (to_spare != 0) & (frame == frames - 1)

    # A row's angles in time: of each frame towards the window, of each towards the sinks, of the second write.
    angles = times + row * (2 * frames + 1) * 2 * TIME_PAIRS
    to_window = angles + frame * 2 * TIME_PAIRS
    to_sinks = angles + (frames + frame) * 2 * TIME_PAIRS
    as_sink = angles + 2 * frames * 2 * TIME_PAIRS

    sum_k = tl.zeros((HEADS_BLOCK, HEAD), tl.float32)
    sum_v = tl.zeros((HEADS_BLOCK, HEAD), tl.float32)
    for begin in range(0, TILE, BUNDLE):
        token = tile * TILE + begin + tl.arange(0, BUNDLE)
        valid = token < frame_tokens
        inside = valid[:, None, None] & is_head[None, :, :]
        of_row = (frame * frame_tokens + token).to(tl.int64)[:, None, None]
        place = places + (token * 2 * PLACE_PAIRS)[:, None]

        asked = tl.load(q + row * q_row + of_row * q_token + component[None, :, :], inside, 0.0)
        bare = _normed(asked, weight_q, eps, DIM)
        at = (row * frames * frame_tokens + of_row) * DIM + component[None, :, :]
        tl.store(window + at, _turned(bare, to_window, place, valid, HEAD, TIME_PAIRS).to(asked.dtype), inside)
        tl.store(sinks + at, _turned(bare, to_sinks, place, valid, HEAD, TIME_PAIRS).to(asked.dtype), inside)

        new = tl.load(k + row * k_row + of_row * k_token + component[None, :, :], inside, 0.0)
        bare = _normed(new, weight_k, eps, DIM)
        kept = tl.load(v + row * v_row + of_row * v_token + component[None, :, :], inside, 0.0)
        sum_k += tl.sum(bare, 0)
        sum_v += tl.sum(kept.to(tl.float32), 0)
        at = (token % PAGE)[:, None, None] * DIM + component[None, :, :]
        here = to * PAGE * DIM + at
        tl.store(keys + here, _turned(bare, to_window, place, valid, HEAD, TIME_PAIRS).to(new.dtype), inside)
        tl.store(values + here, kept, inside)
        if twice:
            there = to_spare * PAGE * DIM + at
            tl.store(keys + there, _turned(bare, as_sink, place, valid, HEAD, TIME_PAIRS).to(new.dtype), inside)
            tl.store(values + there, kept, inside)

    of_tile = ((row * frames + frame) * tl.num_programs(0) + tile) * 2 * DIM
    tl.store(sums + of_tile + component, sum_k, is_head)
    tl.store(sums + of_tile + DIM + component, sum_v, is_head)


@triton.jit
def ring_means(
    sums,
    written,
    spare,
    means,
    tiles,
    frame_tokens,
    slot_pages,
    WIDTH: tl.constexpr,
    SUMS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """One program: some components of one frame's mean key and value. Grid (components / COLUMNS, frames, rows)."""
    frame, row = tl.program_id(1), tl.program_id(2).to(tl.int64)
    frames = tl.num_programs(1)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < WIDTH

    total = tl.zeros((COLUMNS,), tl.float32)
    for first in range(0, tiles, SUMS):
        tile = first + tl.arange(0, SUMS)
        at = ((row * frames + frame) * tiles + tile) * WIDTH
        some = tl.load(sums + at[:, None] + column[None, :], (tile < tiles)[:, None] & inside[None, :], 0.0)
        total += tl.sum(some, 0)
    mean = total / frame_tokens

    to = tl.load(written + (row * frames + frame) * slot_pages).to(tl.int64)
    tl.store(means + to * WIDTH + column, mean, inside)
    to_spare = tl.load(spare + row * slot_pages).to(tl.int64)
    if (to_spare != 0) & (frame == frames - 1):
        tl.store(means + to_spare * WIDTH + column, mean, inside)


def planned_write(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    norm_q: Tensor,
    norm_k: Tensor,
    eps: float,
    times: Tensor,
    places: Tensor,
    written: Tensor,
    spare: Tensor,
    keys: Tensor,
    values: Tensor,
    means: Tensor,
) -> PlannedCall:
    """As `RingForward.write`, of one layer: gives the queries to the window and to the sinks, (R, n, H, d) each.

    `q`, `k`, `v` (R, n, D), any strides but the last's. `times` (R, 2F + 1, 2, pairs of time) and `places` (fsl, 2, the
    other pairs) as `rope.by_axis` gives them, for the indices that `triton_ring` puts there. `written` (R, F, pages),
    `spare` (R, pages) int32; `keys`, `values` (pages, P, H, d) and `means` (pages, 2, D) are one layer of the pool.

    Bytes are those of rows that write once: second writes are few, and nothing on the host says how many there are.
    """
    rows, tokens, dim = q.shape
    frames, slot_pages = written.shape[1:]
    heads, head_dim = keys.shape[2:]
    frame_tokens = len(places)
    window, sinks = (q.new_empty(rows, tokens, heads, head_dim) for _ in range(2))
    tiles = triton.cdiv(frame_tokens, TILE)
    sums = q.new_empty(rows, frames, tiles, 2, dim, dtype=torch.float32)

    heads_block = triton.next_power_of_2(heads)
    write = Launch(
        ring_write,
        (tiles, frames, rows),
        (
            *(q, k, v, norm_q, norm_k, times, places, written, spare, keys, values, window, sinks, sums),
            *(stride for new in (q, k, v) for stride in new.stride()[:2]),
            *(frame_tokens, slot_pages, eps),
        ),
        {
            "HEADS": heads,
            "HEAD": head_dim,
            "HEADS_BLOCK": heads_block,
            "TIME_PAIRS": times.shape[-1],
            "PAGE": PAGE_TOKENS,
            "TILE": TILE,
            "BUNDLE": max(1, min(TILE, COMPONENTS // (heads_block * head_dim))),
        },
        warps=8,
    )
    mean = Launch(
        ring_means,
        (triton.cdiv(2 * dim, COLUMNS), frames, rows),
        (sums, written, spare, means, tiles, frame_tokens, slot_pages),
        {"WIDTH": 2 * dim, "SUMS": SUMS, "COLUMNS": COLUMNS},
    )
    small = (norm_q, norm_k, times, places, written, spare)
    moved = 7 * window.nbytes + 2 * sums.nbytes + sum(part.nbytes for part in small)
    return PlannedCall((window, sinks), (write, mean), moved + rows * frames * 2 * dim * means.itemsize)


RING_WRITE = DeclaredOp("ring_write", SCHEMA, planned_write)
