"""Attention to a ring whose keys were rotated when they were written, against keys that are rotated when they are read.

What is checked against is in `driven_ring`.
"""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import Positions
from genlock_worker.engines.diffusion.network.attention import sdpa
from genlock_worker.engines.diffusion.network.kv_pool import KvPool
from genlock_worker.engines.diffusion.network.ring_ops import TorchRingOps
from tests.worker.engines.diffusion.network.driven_ring import CONFIG, TOLERANCE, DrivenRing, Mistake, streamed
from tests.worker.engines.diffusion.rows import CPU, batch_of

GRIDS = [(4, 4), (8, 8), (5, 13), (2, 3), (8, 16)]
"""16, 64, 65, 6 and 128 tokens: part of a page, a page, one token more, and two pages."""


LAYOUTS = [RingLayout(6, 3), RingLayout(5, 1), RingLayout(4, 0), RingLayout(3, 2)]


@pytest.mark.parametrize("mode", Positions)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_while_the_ring_fills_and_turns_it_answers_as_keys_rotated_when_read(
    layout: RingLayout, mode: Positions
) -> None:
    """Frames 0 to 2N: the opening, N - 1, N and N + 1 frames among them."""
    assert streamed(DrivenRing(mode, layout, (4, 4)), 2 * layout.slots + 1) < TOLERANCE


@pytest.mark.parametrize("mode", Positions)
@pytest.mark.parametrize("layout", [one for one in LAYOUTS if one.slots - one.sinks > 1], ids=str)
@pytest.mark.parametrize("alone", [3, 100])
def test_two_frames_at_once_answer_as_the_rule_says_wherever_they_come(
    layout: RingLayout, mode: Positions, alone: int
) -> None:
    """No engine has such a chunk after the opening yet. Its frames see each other, and lie beside single ones."""
    one, first = DrivenRing(mode, layout, (4, 4)), 0
    deviations: list[float] = []
    for number in range(3 * layout.slots):
        frames = 1 if number % alone == alone - 1 else 2
        deviations.append(one.step(first, frames))
        first += frames
    assert max(deviations) < TOLERANCE


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_frames_of_every_size_lie_in_pages(grid: tuple[int, int]) -> None:
    assert streamed(DrivenRing(Positions.RELATIVE, RingLayout(6, 3), grid), 9) < TOLERANCE


@pytest.mark.parametrize("mode", Positions)
@pytest.mark.parametrize("frame", [49, 50, 51, 52, 1_000_000])
def test_late_frames_answer_as_early_ones(frame: int, mode: Positions) -> None:
    layout = RingLayout(6, 3)
    one = DrivenRing(mode, layout, (4, 4))
    one.step(0, 2)
    one.step(2)
    deviations = [one.step(late) for late in range(frame - 5, frame + 1)]
    # A frame that was never written is in no slot: the ring is full after three late ones.
    assert max(deviations[3:]) < TOLERANCE * (1 + frame / 100_000)


@pytest.mark.parametrize("mode", Positions)
@pytest.mark.parametrize("grid", [(4, 4), (8, 8), (5, 13)], ids=str)
def test_a_sink_that_was_replaced_is_met_at_its_place(mode: Positions, grid: tuple[int, int]) -> None:
    one = DrivenRing(mode, RingLayout(6, 3), grid)
    worst = streamed(one, 8)
    worst = max(worst, one.step(8, sink=1), *(one.step(frame) for frame in range(9, 13)))
    worst = max(worst, one.step(13, sink=0), one.step(14), one.step(15, sink=1), one.step(16))
    assert worst < TOLERANCE


MISTAKES: dict[str, Mistake] = {
    "sinks are not turned": lambda batch: replace(batch, host=tuple(replace(r, turned=False) for r in batch.host)),
    "positions are off by one for one frame in three": lambda batch: replace(
        batch, positions=batch.positions + (batch.positions % 3 == 0)
    ),
    "the distance to the sinks grows": lambda batch: replace(batch, sink_positions=batch.sink_positions + 1),
    "frames are written into the slot before theirs": lambda batch: replace(
        batch, written=batch.written - (batch.filled == 6).int()
    ),
    "one slot less is read": lambda batch: replace(
        batch, host=tuple(replace(row, filled=max(1, row.filled - 1)) for row in batch.host)
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_seen(mistake: str) -> None:
    one = DrivenRing(Positions.RELATIVE, RingLayout(6, 3), (4, 4), mistake=MISTAKES[mistake])
    assert streamed(one, 9) > 100 * TOLERANCE


@pytest.mark.parametrize(
    "mistake",
    [
        lambda batch: replace(batch, spare_positions=batch.positions[:, -1]),
        lambda batch: replace(batch, spare_positions=batch.spare_positions + 1),
        lambda batch: replace(batch, spare=batch.written[:, -1], host=batch.host),
        lambda batch: replace(batch, host=tuple(replace(row, doubled=False) for row in batch.host)),
    ],
    ids=["as in the window", "one place further", "in the window's slot", "not written"],
)
def test_a_mistake_in_the_second_write_is_seen(mistake: Mistake) -> None:
    one = DrivenRing(Positions.RELATIVE, RingLayout(6, 3), (4, 4))
    assert streamed(one, 8) < TOLERANCE
    one.mistake = mistake
    one.step(8, sink=1)
    one.mistake = lambda batch: batch
    assert one.step(9) > 100 * TOLERANCE


def test_the_means_of_both_writes_are_of_keys_before_rotation() -> None:
    one = DrivenRing(Positions.RELATIVE, RingLayout(6, 3), (5, 13))
    streamed(one, 9)
    one.step(9, sink=2)
    for slot, known in one.held.items():
        for kind, tokens in enumerate((known.keys, known.values)):
            torch.testing.assert_close(one.ring.means[0, slot, kind], tokens.flatten(1).mean(0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("grid", [(2, 3), (5, 13)], ids=str)
def test_a_row_that_ended_in_nan_leaves_nothing_for_the_next_owner_of_its_pages(grid: tuple[int, int]) -> None:
    pool = KvPool(CONFIG, device=CPU, dtype=torch.float32, pages=7 * 2)
    before = DrivenRing(Positions.RELATIVE, RingLayout(6, 3), (8, 16), pool=pool)
    streamed(before, 8)
    for stored in (pool.keys, pool.values, pool.means):
        stored[:, 1:] = float("nan")
    before.ring.free()
    after = DrivenRing(Positions.RELATIVE, RingLayout(6, 3), grid, pool=pool)
    assert streamed(after, 9) < TOLERANCE
    pages = [page for slot in after.ring.slots for page in slot]
    assert bool(pool.keys[:, pages].isfinite().all()), "of the unused tokens, too"


@torch.no_grad()
def test_rows_of_one_batch_write_and_read_their_own_pages_alone() -> None:
    layout, grid = RingLayout(6, 3), (5, 13)
    pool = KvPool(CONFIG, device=CPU, dtype=torch.float32)
    ages = (2, 6, 9)
    rows = [DrivenRing(Positions.RELATIVE, layout, grid, pool=pool) for _ in ages]
    for one, age in zip(rows, ages, strict=True):
        streamed(one, age)
    inputs = [
        replace(one.row(age, sink=1 if age == 9 else None), text=rows[0].text)
        for one, age in zip(rows, ages, strict=True)
    ]
    q, k, v = torch.randn(3, 3, 65, CONFIG.dim, generator=torch.Generator().manual_seed(1))
    snapshot = pool.keys.clone(), pool.values.clone(), pool.means.clone()

    def answered(chosen: Sequence[int]) -> tuple[Tensor, Tensor]:
        for stored, before in zip((pool.keys, pool.values, pool.means), snapshot, strict=True):
            stored.copy_(before)
        batch = batch_of([inputs[row] for row in chosen], layout=layout, mode=Positions.RELATIVE)
        ring = TorchRingOps().enter(batch, grid=grid, sinks=layout.sinks)
        index = torch.tensor(chosen)
        out = ring.attend(0, ring.write(0, q[index], k[index], v[index], rows[0].attention))
        return torch.cat([out, ring.attend_to_prompt(0, q[index], rows[0].attention)], dim=2), pool.keys.clone()

    together, after = answered([0, 1, 2])
    shuffled, also = answered([2, 0, 1])
    torch.testing.assert_close(shuffled, together[torch.tensor([2, 0, 1])], rtol=0, atol=TOLERANCE)
    assert torch.equal(after, also)
    for row in range(3):
        torch.testing.assert_close(answered([row])[0][0], together[row], rtol=0, atol=TOLERANCE)


@torch.no_grad()
def test_prompts_are_met_with_normed_queries_that_are_not_rotated() -> None:
    one = DrivenRing(Positions.RELATIVE, RingLayout(6, 3), (4, 4))
    q = torch.randn(1, 16, CONFIG.dim)
    ring = TorchRingOps().enter(batch_of([one.row(0)], layout=one.layout), grid=one.grid, sinks=3)
    expected = sdpa(one.attention.heads(one.attention.norm_q(q))[0], one.text.keys[0], one.text.values[0])
    torch.testing.assert_close(ring.attend_to_prompt(0, q, one.attention)[0], expected.flatten(1))


def test_a_ring_in_one_piece_and_one_in_scattered_pages_answer_alike() -> None:
    whole, scattered = (DrivenRing(Positions.RELATIVE, RingLayout(6, 3), (8, 8)) for _ in range(2))
    scattered.ring.arrange([5, 3, 1, 0, 2, 4])
    assert max(streamed(whole, 9), streamed(scattered, 9)) < TOLERANCE
    batches = [batch_of([one.row(9)], layout=one.layout, mode=one.mode) for one in (whole, scattered)]
    assert [batch.host[0].run for batch in batches] == [1, None]
    assert max(whole.step(9), scattered.step(9)) < TOLERANCE
