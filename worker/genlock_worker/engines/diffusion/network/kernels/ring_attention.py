"""Attention of all rows in one kernel: to their rings through tables of pages, and to their prompts by slot.

A program takes a block of one row's queries and one head, and goes through the row's keys page by page, with the
softmax in float32 as far as it has come (Milakov and Gimelshein 2018; FlashAttention). How many pages there are is read
on the device, so a ring that fills costs what it holds.
"""

import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from genlock_worker.engines.diffusion.network.kernels.declared import DeclaredOp, Launch, PlannedCall
from genlock_worker.engines.diffusion.network.pages import PAGE_TOKENS

LOG2_E = math.log2(math.e)
"""Weights are powers of two on the chip: scores are scaled for that."""

RING_SCHEMA = (
    "(Tensor window, Tensor sinks, Tensor keys, Tensor values, Tensor table, Tensor filled, int frame_tokens, "
    "int sink_slots) -> Tensor"
)
PROMPT_SCHEMA = "(Tensor q, Tensor norm_q, float eps, Tensor keys, Tensor values, Tensor texts) -> Tensor"


class Tuning(NamedTuple):
    """How attention is cut to a chip. Chosen by what fits, not by a measurement: no card was there."""

    block: int
    """Queries that a program takes."""
    warps: int
    stages: int


def tuning(tokens: int, dtype: torch.dtype) -> Tuning:
    """Shared memory holds the queries and, for each stage, a page of keys and one of values."""
    most = Tuning(32, 4, 2) if dtype == torch.float32 else Tuning(128, 8, 2)
    # Products have 16 rows at least.
    return most._replace(block=min(most.block, max(16, triton.next_power_of_2(tokens))))


@triton.jit
def _met(queries, keys, values, at, valid, best, total, out, scale, MASKED: tl.constexpr):
    """Go on with the softmax over the keys that lie `at` (P, d), of which those are seen that are `valid` (P,).

    `best` and `total` (M,) are the largest score so far, times log2(e), and the sum of the weights; `out` (M, d) is
    not yet divided by it. What is not valid is not read: zero times what is not finite is not zero.
    """
    if MASKED:
        some_keys = tl.load(keys + at, valid[:, None], 0.0)
        some_values = tl.load(values + at, valid[:, None], 0.0)
    else:
        some_keys = tl.load(keys + at)
        some_values = tl.load(values + at)
    scores = tl.dot(queries, tl.trans(some_keys), input_precision="tf32x3") * scale
    if MASKED:
        scores = tl.where(valid[None, :], scores, float("-inf"))

    higher = tl.maximum(best, tl.max(scores, 1))
    shrunk = tl.exp2(best - higher)
    weights = tl.exp2(scores - higher[:, None])
    total = total * shrunk + tl.sum(weights, 1)
    out = tl.dot(weights.to(some_values.dtype), some_values, out * shrunk[:, None], input_precision="tf32x3")
    return higher, total, out


@triton.jit
def _page(row_table, number, place, component, slot_pages, frame_tokens, DIM: tl.constexpr):
    """Where one head of a page's tokens lies in the pool (P, d), and which of them are a frame's (P,)."""
    page = tl.load(row_table + number).to(tl.int64)
    at = (page * place.shape[0] + place)[:, None] * DIM + component[None, :]
    return at, number % slot_pages * place.shape[0] + place < frame_tokens


@triton.jit
def ring_attention(
    window,
    sinks,
    keys,
    values,
    table,
    filled,
    attended,
    tokens,
    frame_tokens,
    slot_pages,
    table_pages,
    sink_slots,
    scale,
    HEADS: tl.constexpr,
    HEAD: tl.constexpr,
    PAGE: tl.constexpr,
    BLOCK: tl.constexpr,
    TAIL: tl.constexpr,
):
    """One program: BLOCK queries of one head of one row. Grid (tokens / BLOCK, heads, rows)."""
    head, row = tl.program_id(1), tl.program_id(2)
    token = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    component = head * HEAD + tl.arange(0, HEAD)
    mine = (row.to(tl.int64) * tokens + token)[:, None] * (HEADS * HEAD) + component[None, :]
    asked = (token < tokens)[:, None]

    best = tl.full((BLOCK,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    out = tl.zeros((BLOCK, HEAD), tl.float32)
    place = tl.arange(0, PAGE)
    slots = tl.load(filled + row)
    sink_pages = min(slots, sink_slots) * slot_pages

    row_table = table + row * table_pages
    queries = tl.load(sinks + mine, asked, 0.0)
    for number in range(sink_pages):
        at, valid = _page(row_table, number, place, component, slot_pages, frame_tokens, HEADS * HEAD)
        best, total, out = _met(queries, keys, values, at, valid, best, total, out, scale, TAIL)

    queries = tl.load(window + mine, asked, 0.0)
    for number in range(sink_pages, slots * slot_pages):
        at, valid = _page(row_table, number, place, component, slot_pages, frame_tokens, HEADS * HEAD)
        best, total, out = _met(queries, keys, values, at, valid, best, total, out, scale, TAIL)

    # A row that only fills the batch may have no slot at all.
    out = out / tl.where(slots > 0, total, 1.0)[:, None]
    tl.store(attended + mine, out.to(attended.dtype.element_ty), asked)


@triton.jit
def token_scales(q, scales, tokens, q_row, q_token, eps, DIM: tl.constexpr, DIM_BLOCK: tl.constexpr):
    """One program: what the norm over all heads multiplies one token with. Grid (tokens, rows, 1)."""
    token, row = tl.program_id(0), tl.program_id(1)
    component = tl.arange(0, DIM_BLOCK)
    at = row.to(tl.int64) * q_row + token.to(tl.int64) * q_token + component
    wide = tl.load(q + at, component < DIM, 0.0).to(tl.float32)
    tl.store(scales + row * tokens + token, tl.rsqrt(tl.sum(wide * wide, 0) / DIM + eps))


@triton.jit
def prompt_attention(
    q,
    scales,
    norm_q,
    keys,
    values,
    texts,
    attended,
    tokens,
    q_row,
    q_token,
    scale,
    HEADS: tl.constexpr,
    HEAD: tl.constexpr,
    LENGTH: tl.constexpr,
    PAGE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program: BLOCK queries of one head of one row. Grid (tokens / BLOCK, heads, rows)."""
    TAIL: tl.constexpr = LENGTH % PAGE != 0
    head, row = tl.program_id(1), tl.program_id(2)
    token = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    component = head * HEAD + tl.arange(0, HEAD)
    asked = token < tokens

    # Normed and rounded as `projections.RmsNorm` does.
    projected = row.to(tl.int64) * q_row + token.to(tl.int64)[:, None] * q_token + component[None, :]
    bare = tl.load(q + projected, asked[:, None], 0.0)
    by = tl.load(scales + row * tokens + token, asked, 0.0)
    weight = tl.load(norm_q + component).to(tl.float32)
    queries = (bare.to(tl.float32) * by[:, None] * weight[None, :]).to(bare.dtype)

    best = tl.full((BLOCK,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    out = tl.zeros((BLOCK, HEAD), tl.float32)
    place = tl.arange(0, PAGE)
    first = tl.load(texts + row).to(tl.int64) * LENGTH
    for begin in range(0, LENGTH, PAGE):
        at = (first + begin + place)[:, None] * (HEADS * HEAD) + component[None, :]
        valid = begin + place < LENGTH
        best, total, out = _met(queries, keys, values, at, valid, best, total, out, scale, TAIL)

    mine = (row.to(tl.int64) * tokens + token)[:, None] * (HEADS * HEAD) + component[None, :]
    tl.store(attended + mine, (out / total[:, None]).to(attended.dtype.element_ty), asked[:, None])


def planned_ring_attention(
    window: Tensor,
    sinks: Tensor,
    keys: Tensor,
    values: Tensor,
    table: Tensor,
    filled: Tensor,
    frame_tokens: int,
    sink_slots: int,
) -> PlannedCall:
    """As `RingForward.attend`, of one layer -> (R, n, D). `window`, `sinks` (R, n, H, d), contiguous; `keys`, `values`
    (pages, P, H, d); `table` (R, pages), `filled` (R,) int32.

    Bytes and operations are those of full rings: how full they are is known on the device only.
    """
    rows, tokens, heads, head_dim = window.shape
    attended = window.new_empty(rows, tokens, heads * head_dim)
    slot_pages = -(-frame_tokens // PAGE_TOKENS)
    seen = table.shape[1] // slot_pages * frame_tokens
    cut = tuning(tokens, window.dtype)
    launch = Launch(
        ring_attention,
        (triton.cdiv(tokens, cut.block), heads, rows),
        (
            *(window, sinks, keys, values, table, filled, attended),
            *(tokens, frame_tokens, slot_pages, table.shape[1], sink_slots, LOG2_E / math.sqrt(head_dim)),
        ),
        {
            "HEADS": heads,
            "HEAD": head_dim,
            "PAGE": PAGE_TOKENS,
            "BLOCK": cut.block,
            "TAIL": frame_tokens % PAGE_TOKENS != 0,
        },
        warps=cut.warps,
        stages=cut.stages,
    )
    read = 2 * rows * seen * heads * head_dim * keys.itemsize
    small = table.nbytes + filled.nbytes
    return PlannedCall(
        (attended,), (launch,), 3 * attended.nbytes + read + small, attention_operations=4 * attended.numel() * seen
    )


def planned_prompt_attention(
    q: Tensor, norm_q: Tensor, eps: float, keys: Tensor, values: Tensor, texts: Tensor
) -> PlannedCall:
    """As `RingForward.attend_to_prompt`, of one layer -> (R, n, D). `q` (R, n, D), any strides but the last's; `keys`,
    `values` (slots, text_length, H, d); `texts` (R,) int32.
    """
    rows, tokens, dim = q.shape
    length, heads, head_dim = keys.shape[1:]
    attended = q.new_empty(rows, tokens, dim)
    scales = q.new_empty(rows, tokens, dtype=torch.float32)
    strides = q.stride()[:2]
    norm = Launch(
        token_scales,
        (tokens, rows, 1),
        (q, scales, tokens, *strides, eps),
        {"DIM": dim, "DIM_BLOCK": triton.next_power_of_2(dim)},
    )
    cut = tuning(tokens, q.dtype)
    attend = Launch(
        prompt_attention,
        (triton.cdiv(tokens, cut.block), heads, rows),
        (q, scales, norm_q, keys, values, texts, attended, tokens, *strides, LOG2_E / math.sqrt(head_dim)),
        {
            "HEADS": heads,
            "HEAD": head_dim,
            "LENGTH": length,
            "PAGE": PAGE_TOKENS,
            "BLOCK": cut.block,
        },
        warps=cut.warps,
        stages=cut.stages,
    )
    read = 2 * rows * length * dim * keys.itemsize
    moved = 3 * attended.nbytes + 2 * scales.nbytes + norm_q.nbytes + texts.nbytes + read
    return PlannedCall((attended,), (norm, attend), moved, attention_operations=4 * attended.numel() * length)


RING_ATTENTION = DeclaredOp("ring_attention", RING_SCHEMA, planned_ring_attention)
PROMPT_ATTENTION = DeclaredOp("prompt_attention", PROMPT_SCHEMA, planned_prompt_attention)
