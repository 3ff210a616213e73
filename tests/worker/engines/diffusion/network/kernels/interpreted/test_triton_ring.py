"""Triton's kernels for the rings, interpreted, against PyTorch's operations and against the rule."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from triton.runtime.interpreter import interpreter_builder

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import Positions
from genlock_worker.engines.diffusion.network.kernels import ring_attention, ring_write
from genlock_worker.engines.diffusion.network.kernels.triton_ring import TritonRingOps
from genlock_worker.engines.diffusion.network.ring_ops import TorchRingOps
from genlock_worker.engines.diffusion.network.row_batch import RowBatch
from tests.worker.engines.diffusion import recorded
from tests.worker.engines.diffusion.network.driven_ring import TOLERANCE, DrivenRing, streamed
from tests.worker.engines.diffusion.network.kernels.side_by_side import SINKS, Case, Given, RowKind, answered, given
from tests.worker.engines.diffusion.recorded_stream import replayed

FULL = RowKind(4, turned=True)
CASES = {
    "rings that fill and full ones, a frame that becomes a sink, part of a page": Case(
        [RowKind(1), RowKind(3), FULL, RowKind(4, doubled=True, turned=True)]
    ),
    "one token more than a page": Case([RowKind(2), replace(FULL, doubled=True)], grid=(5, 13)),
    "whole pages": Case([FULL], grid=(8, 8)),
    "the opening of two frames": Case([RowKind(2), RowKind(3, doubled=True)], frames=2),
    "no sinks": Case([RowKind(2), RowKind(4)], sinks=0),
    "heads of a number that is no power of two": Case([FULL], grid=(1, 6), heads=12, head_dim=128),
    "a prompt of whole blocks": Case([FULL, FULL], grid=(1, 2), text_length=64),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_are_written_and_answered_as_by_pytorchs_operations(name: str) -> None:
    """Pages are scattered, and everything that nobody may read is NaN."""
    case = CASES[name]
    ours, theirs = answered(TritonRingOps(), given(case)), answered(TorchRingOps(), given(case))
    assert ours.attended.isfinite().all()
    assert ours.prompted.isfinite().all()
    assert max(ours.deviations(theirs).values()) < TOLERANCE


def test_programs_may_run_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter runs the last first: what two of them wrote would be the other's."""
    case = CASES["the opening of two frames"]
    expected = answered(TritonRingOps(), given(case))
    grid = interpreter_builder.set_grid_idx

    def reversed_grid(*place: int) -> None:
        grid(*(size - 1 - index for size, index in zip(interpreter_builder.grid_dim, place, strict=True)))

    monkeypatch.setattr(interpreter_builder, "set_grid_idx", reversed_grid)
    ours = answered(TritonRingOps(), given(case))
    assert max(ours.deviations(expected).values()) == 0


def test_in_half_precision_it_is_as_near_to_float32_as_pytorchs_operations_are() -> None:
    """In float16: what the interpreter makes of products of bfloat16 is none."""
    case = Case([RowKind(1), replace(FULL, doubled=True)], grid=(5, 13), dtype=torch.float16)
    exact = answered(TorchRingOps(), given(case).in_float32())
    ours, theirs = (answered(ops, given(case)).deviations(exact) for ops in (TritonRingOps(), TorchRingOps()))
    assert all(ours[name] <= 1.2 * theirs[name] + 1e-6 for name in ours), (ours, theirs)


@torch.no_grad()
def test_in_bfloat16_it_writes_what_pytorchs_operations_write() -> None:
    """To the last place or two: the interpreter cuts numbers off where a card rounds them."""
    case = Case([replace(FULL, doubled=True)], grid=(2, 3), dtype=torch.bfloat16)
    pools = []
    for ops in (TritonRingOps(), TorchRingOps()):
        one = given(case)
        ops.enter(one.batch, grid=case.grid, sinks=case.sinks).write(0, *one.projections, one.attention)
        pools.append(one.batch.pool)
    ours, theirs = pools
    torch.testing.assert_close(ours.keys, theirs.keys, rtol=2**-6, atol=2**-6, equal_nan=True)
    torch.testing.assert_close(ours.means, theirs.means, rtol=2**-6, atol=2**-6)
    assert torch.equal(ours.values.nan_to_num(), theirs.values.nan_to_num())


@torch.no_grad()
def test_a_norm_rounds_once_as_rms_norm_does() -> None:
    """Where nothing is rotated, what is stored is the norm itself. Rounded before its weight too, a quarter differs."""
    one = given(Case([RowKind(1)] * 16, grid=(1, 1), dtype=torch.float16))
    batch = replace(one.batch, positions=torch.zeros_like(one.batch.positions))
    _, k, _ = one.projections
    TritonRingOps().enter(batch, grid=(1, 1), sinks=SINKS).write(0, *one.projections, one.attention)
    stored = batch.pool.keys[0, batch.written[:, 0, 0].long(), 0].flatten(1)
    is_other = stored != one.attention.norm_k(k)[:, 0]
    assert is_other.float().mean() < 0.01


MISTAKES: dict[str, Callable[[RowBatch], RowBatch]] = {
    "a slot less is read": lambda batch: replace(batch, filled=batch.filled - 1),
    "two pages of the table are exchanged with another row's": lambda batch: replace(batch, table=batch.table.flip(0)),
    "the distance to the sinks grows": lambda batch: replace(batch, sink_positions=batch.positions),
    "keys stand one frame later": lambda batch: replace(batch, positions=batch.positions + 1),
    "frames are written into another slot": lambda batch: replace(batch, written=batch.table[:, None, :1]),
    "no second write": lambda batch: replace(batch, spare=torch.zeros_like(batch.spare)),
    "the second write as in the window": lambda batch: replace(batch, spare_positions=batch.positions[:, -1]),
    "another row's prompt": lambda batch: replace(batch, texts=batch.texts.flip(0)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_seen(mistake: str) -> None:
    case = Case([replace(FULL, doubled=True), RowKind(3)])
    wrong = given(case)
    wrong.batch = MISTAKES[mistake](wrong.batch)
    ours, theirs = answered(TritonRingOps(), wrong), answered(TorchRingOps(), given(case))
    assert max(ours.deviations(theirs).values()) > 100 * TOLERANCE


@pytest.mark.parametrize("layout", [RingLayout(6, 3), RingLayout(3, 0)], ids=str)
def test_while_a_ring_fills_and_turns_it_answers_as_the_rule_says(layout: RingLayout) -> None:
    """The opening, N - 1, N and N + 1 frames; and a sink that is replaced."""
    one = DrivenRing(Positions.RELATIVE, layout, (1, 3), ops=TritonRingOps())
    worst = streamed(one, layout.slots + 2)
    if layout.sinks:
        worst = max(worst, one.step(layout.slots + 2, sink=1), one.step(layout.slots + 3))
    assert worst < TOLERANCE


def test_a_late_frame_is_as_exact_as_an_early_one() -> None:
    one = DrivenRing(Positions.RELATIVE, RingLayout(2, 1), (2, 3), ops=TritonRingOps())
    assert max(one.step(0), one.step(1_000_000)) < 11 * TOLERANCE


def test_the_recorded_stream_comes_out_of_the_kernels() -> None:
    """Chunks of two steps, rows of both in a forward. What a ring does once it is full is seen above, without layers
    of a network round it."""
    replay = replayed("batch_2step", recorded.network(ops=TritonRingOps()), chunks=2)
    assert replay.worst("prepare/flow") < recorded.TOLERANCE
    assert replay.worst("calls/flow") < recorded.TOLERANCE


@pytest.mark.filterwarnings("ignore:All-NaN slice", "ignore:invalid value")
def test_rows_that_only_fill_the_batch_change_nothing_and_raise_nothing() -> None:
    """They have no slot, write to the scratch page, and read a prompt that is not finite. They are answered zeros."""
    case = Case([FULL, RowKind(3, doubled=True)])
    alone, padded = given(case), given(Case([*case.rows, RowKind(1)]))
    expected = answered(TritonRingOps(), alone)
    batch = padded.batch
    fill: dict[str, Any] = {
        name: torch.cat([getattr(alone.batch, name), torch.zeros_like(getattr(batch, name)[2:])])
        for name in ("positions", "sink_positions", "table", "filled", "written", "spare", "spare_positions", "texts")
    }
    again = given(case)
    q, k, v = [torch.cat([ours, other[2:]]) for ours, other in zip(again.projections, padded.projections, strict=True)]
    batch = replace(batch, **fill, pool=again.batch.pool, text_pool=again.batch.text_pool)
    ours = answered(TritonRingOps(), Given(padded.case, batch, (q, k, v), again.attention))
    assert not ours.attended[2].any()
    assert torch.equal(ours.attended[:2], expected.attended)
    assert torch.equal(ours.prompted[:2], expected.prompted)
    for stored in ("keys", "values", "means"):
        assert torch.equal(getattr(ours, stored).nan_to_num(), getattr(expected, stored).nan_to_num())


KERNELS = (
    ring_write.ring_write,
    ring_write.ring_means,
    ring_attention.ring_attention,
    ring_attention.token_scales,
    ring_attention.prompt_attention,
)


@pytest.fixture
def launched() -> Iterator[Counter[str]]:
    seen: Counter[str] = Counter()
    hooks = [(kernel, lambda *_, name=kernel.__name__, **__: seen.update([name])) for kernel in KERNELS]
    for kernel, hook in hooks:
        kernel.add_pre_run_hook(hook)
    yield seen
    for kernel, hook in hooks:
        kernel.pre_run_hooks.remove(hook)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_layer_launches_what_it_declares_however_many_rows_there_are(rows: int, launched: Counter[str]) -> None:
    answered(TritonRingOps(), given(Case([RowKind(1, doubled=row == 1) for row in range(rows)])))
    assert launched == dict.fromkeys((kernel.__name__ for kernel in KERNELS), 1)
