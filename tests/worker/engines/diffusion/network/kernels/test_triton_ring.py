"""A forward through Triton's kernels launches as much for many rows as for one, and asks the host nothing.

What it computes is in `interpreted`.
"""

from dataclasses import replace

import torch

from bench.counted.cost import Tally
from bench.counted.counter import counted
from genlock_worker.engines.diffusion.network.kernels.triton_ring import TritonRingOps
from genlock_worker.engines.diffusion.network.row_batch import RowBatch
from tests.worker.engines.diffusion.network.kernels.side_by_side import Case, RowKind, given
from tests.worker.engines.diffusion.rows import moved_to

OURS = ["genlock::ring_write", "genlock::ring_attention", "genlock::prompt_attention"]


def counted_layer(batch: RowBatch, case: Case) -> Tally:
    tokens = case.frames * case.frame_tokens
    attention = given(case).attention.to("meta")
    q, k, v = torch.empty(3, len(batch.filled), tokens, case.config.dim, device="meta")
    with counted() as tally:
        forward = TritonRingOps().enter(batch, grid=case.grid, sinks=case.sinks)
        queries = forward.write(0, q, k, v, attention)
        forward.attend(0, queries)
        forward.attend_to_prompt(0, q, attention)
    return tally


def forward(rows: int) -> Tally:
    case = Case([RowKind(1 + row % 4, doubled=row == 2) for row in range(rows)])
    batch = replace(moved_to(torch.device("meta"), given(case).batch), host=())
    return counted_layer(batch, case)


def test_a_forward_launches_as_much_however_many_rows_there_are() -> None:
    alone, tally = forward(1), forward(5)
    ours = {entry.name: entry.cost.kernels for entry in tally.entries if entry.name.startswith("genlock::")}
    assert ours == dict(zip(OURS, (2, 1, 2), strict=True))
    assert tally.total.kernels == alone.total.kernels <= 5 + 30, "and the angles, once for all layers"
    assert (tally.uploads, tally.downloads) == (0, 0)
    attentions = [entry.name for entry in tally.entries if entry.is_attention]
    assert attentions == OURS[1:]
