from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import TINY, Positions
from genlock_worker.engines.diffusion.network.kv_pool import PagedRing
from genlock_worker.engines.diffusion.network.row_batch import Denoised
from genlock_worker.engines.diffusion.network.text_pool import TextKv
from genlock_worker.engines.diffusion.network.transformer import CausalWan
from tests.worker.engines.diffusion import recorded
from tests.worker.engines.diffusion.recorded import CONFIG, FRAME_TOKENS, GRID, LAYOUT
from tests.worker.engines.diffusion.rows import (
    RowInput,
    bare_keys,
    batch_of,
    copy_of,
    empty_ring,
    held,
    moved_to,
    text_pool,
    turned,
    write_over,
)

ROUNDING = 2e-5


@cache
def model() -> CausalWan:
    return recorded.network()


@cache
def text(name: str) -> TextKv:
    return text_pool(CONFIG).put(*model().text_kv(embedding(name)))


def embedding(name: str) -> Tensor:
    return recorded.tensor("tiny_model", f"prompt/{name}")[0]


def latents(frames: int, *, seed: int) -> Tensor:
    return torch.randn(frames, 16, 8, 8, generator=torch.Generator().manual_seed(seed))


def run(rows: Sequence[RowInput], *, mode: Positions = Positions.RELATIVE, layout: RingLayout = LAYOUT) -> Denoised:
    denoised: Denoised = model()(batch_of(rows, layout=layout, mode=mode))
    return denoised


def streamed(frames: int, *, seed: int, mode: Positions = Positions.RELATIVE) -> tuple[PagedRing, list[Tensor]]:
    """A ring after latent frames 0..frames-1 went through it one by one, and the flows that came out."""
    ring = empty_ring(CONFIG, LAYOUT)
    flows = [
        run([RowInput(ring, text("A"), latents(1, seed=seed + frame), frame, 700.0)], mode=mode).flow
        for frame in range(frames)
    ]
    return ring, flows


def four_rows() -> list[RowInput]:
    """Rows of several sessions, steps, prompts and ages, each with a ring of its own."""
    ages = (2, 5, 9, 14)
    return [
        RowInput(streamed(age, seed=100 * age)[0], text("AB"[age % 2]), latents(1, seed=age), age, timestep)
        for age, timestep in zip(ages, (700.0, 500.0, 661.0, 200.0), strict=True)
    ]


@cache
def rows_and_answers() -> tuple[list[RowInput], list[Denoised], list[PagedRing]]:
    """The four rows before they ran; what each gives alone, and its ring after that."""
    rows = four_rows()
    after = [copy_of(row.ring) for row in rows]
    return rows, [run([replace(row, ring=ring)]) for row, ring in zip(rows, after, strict=True)], after


@settings(max_examples=12, deadline=None)
@given(st.permutations(range(4)), st.sets(st.integers(1, 3)))
def test_a_row_gives_the_same_however_rows_are_grouped(order: list[int], cuts: set[int]) -> None:
    rows, alone, after = rows_and_answers()
    ends = [*sorted(cuts), 4]
    for group in (order[start:end] for start, end in zip([0, *ends], ends, strict=False)):
        rings = [copy_of(rows[index].ring) for index in group]
        out = run([replace(rows[index], ring=ring) for index, ring in zip(group, rings, strict=True)])
        for place, index in enumerate(group):
            torch.testing.assert_close(out.flow[place], alone[index].flow[0], rtol=0, atol=ROUNDING)
            torch.testing.assert_close(out.similarity[place], alone[index].similarity[0], rtol=0, atol=ROUNDING)
            for cache_name in ("keys", "values", "means"):
                ours, theirs = (getattr(held(ring), cache_name) for ring in (rings[place], after[index]))
                torch.testing.assert_close(ours, theirs, rtol=0, atol=ROUNDING)


def test_running_a_row_again_gives_the_same_again() -> None:
    row = four_rows()[2]
    first, second = run([row]), run([row])
    assert torch.equal(first.flow, second.flow)
    assert torch.equal(first.similarity, second.similarity)


def test_relative_is_absolute_until_the_ring_is_full_and_not_after() -> None:
    frames = LAYOUT.slots + 1
    (_, relative), (_, absolute) = (
        streamed(frames, seed=1, mode=mode) for mode in (Positions.RELATIVE, Positions.ABSOLUTE)
    )
    for ours, theirs in zip(relative[: LAYOUT.slots], absolute, strict=False):
        assert torch.equal(ours, theirs)
    assert float((relative[-1] - absolute[-1]).abs().max()) > 1e-3


@pytest.mark.parametrize("later", [99_999, 100_000, 100_001, 1_000_000])
def test_a_stream_of_a_week_answers_as_one_of_ten_frames_to_the_same_ring(later: int) -> None:
    frame = 9
    ring, _ = streamed(frame, seed=1)
    old = copy_of(ring)
    for known in LAYOUT.held(frame)[LAYOUT.sinks :]:
        source = slice(LAYOUT.slot(known) * FRAME_TOKENS, (LAYOUT.slot(known) + 1) * FRAME_TOKENS)
        keys, values = held(ring).keys[:, source], held(ring).values[:, source]
        write_over(old, LAYOUT.slot(known + later), keys=turned(keys, later), values=values)
    new = latents(1, seed=50)
    now = run([RowInput(ring, text("A"), new, frame, 700.0)])
    then = run([RowInput(old, text("A"), new, frame + later, 700.0)])
    torch.testing.assert_close(then.flow, now.flow, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(then.similarity, now.similarity, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("mode", Positions)
def test_no_mode_has_a_last_frame(mode: Positions) -> None:
    ring, _ = streamed(9, seed=1)
    out = run([RowInput(ring, text("A"), latents(1, seed=50), 10_000_000, 700.0)], mode=mode)
    assert bool(out.flow.isfinite().all())


def means_of(ring: PagedRing, newest: int) -> Tensor:
    """(L, slots, 2, D): the means of what lies in the filled slots, the keys' without their rotation."""
    frames = LAYOUT.by_slot(newest + 1)
    keys = bare_keys(ring, frames, grid=GRID)
    values = held(ring).values[:, : keys.shape[1]]
    by_slot = [torch.unflatten(lying.flatten(2), 1, (len(frames), -1)).mean(2) for lying in (keys, values)]
    return torch.stack(by_slot, dim=2)


@pytest.mark.parametrize(("first", "frames"), [(2, 1), (9, 1), (0, 2), (9, 2)])
def test_similarity_is_that_of_the_unrotated_means_with_the_sinks_as_they_were(first: int, frames: int) -> None:
    ring, _ = streamed(first, seed=3)
    before = ring.means
    out = run([RowInput(ring, text("A"), latents(frames, seed=60), first, 700.0)])
    newest = means_of(ring, first + frames - 1)[:, LAYOUT.slot(first + frames - 1)]
    for sink in range(LAYOUT.sinks):
        expected = float(torch.cosine_similarity(before[:, sink], newest, dim=-1).mean())
        assert float(out.similarity[0, sink]) == pytest.approx(expected, abs=1e-5)
        assert (expected == 0.0) == (sink >= first), "a slot that was never written is like nothing"
        assert abs(expected) <= 1.0


def test_the_means_are_those_of_what_the_ring_holds() -> None:
    ring, _ = streamed(11, seed=4)
    torch.testing.assert_close(ring.means, means_of(ring, 10))
    rotated = torch.unflatten(held(ring).keys.flatten(2), 1, (LAYOUT.slots, -1)).mean(2)
    assert float((ring.means[:, :, 0] - rotated).abs().max()) > 0.1, "of rotated keys they would be others"


def test_a_frame_writes_its_own_slot_and_no_other() -> None:
    ring, _ = streamed(9, seed=5)
    before, spare = held(ring), ring.spare
    run([RowInput(ring, text("A"), latents(1, seed=60), 9, 700.0)])
    slot, after = LAYOUT.slot(9), held(ring)
    for new, old in ((after.keys, before.keys), (after.values, before.values)):
        changed = (new != old).flatten(2).any(2).any(0).nonzero().flatten()
        assert set((changed // FRAME_TOKENS).tolist()) == {slot}
    assert (after.means != before.means).flatten(2).any(2).any(0).nonzero().flatten().tolist() == [slot]
    assert not bool(ring.pool.keys[:, list(spare)].any())


def test_what_lies_behind_the_filled_slots_does_not_count() -> None:
    clean, dirty = (streamed(3, seed=6)[0] for _ in range(2))
    for slot in range(4, LAYOUT.slots):
        write_over(dirty, slot, keys=float("nan"), values=float("nan"))
    ours, theirs = (run([RowInput(ring, text("A"), latents(1, seed=61), 3, 700.0)]).flow for ring in (dirty, clean))
    assert torch.equal(ours, theirs)
    write_over(dirty, 3, keys=float("nan"), values=float("nan"))
    assert not bool(run([RowInput(dirty, text("A"), latents(1, seed=61), 4, 700.0)]).flow.isfinite().any())


def test_a_ring_without_sinks_has_no_similarities() -> None:
    layout = RingLayout(slots=4, sinks=0)
    network = CausalWan(CONFIG, layout=layout)
    ring = empty_ring(CONFIG, layout)
    out = network(batch_of([RowInput(ring, text("A"), latents(3, seed=1), 0, 1000.0)], layout=layout))
    assert out.flow.shape == (1, 3, 16, 8, 8)
    assert out.similarity.shape == (1, 0)


def narrowed(ring: PagedRing) -> PagedRing:
    """The same in bfloat16."""
    narrow = empty_ring(CONFIG, LAYOUT, dtype=torch.bfloat16)
    for ours, theirs in zip(narrow.slots, ring.slots, strict=True):
        for name in ("keys", "values", "means"):
            to = getattr(narrow.pool, name)
            to[:, list(ours)] = getattr(ring.pool, name)[:, list(theirs)].to(to.dtype)
    return narrow


def test_bfloat16_stays_near_float32() -> None:
    rows, alone, _ = rows_and_answers()
    half = recorded.network().to(torch.bfloat16)
    prompts = {name: text_pool(CONFIG, torch.bfloat16).put(*half.text_kv(embedding(name))) for name in "AB"}
    for row, wide in zip(rows, alone, strict=True):
        narrow = narrowed(row.ring)
        prompt = prompts["AB"[row.first % 2]]
        batch = batch_of(
            [RowInput(narrow, prompt, row.hidden.bfloat16(), row.first, row.timestep)],
            layout=LAYOUT,
            mode=Positions.RELATIVE,
        )
        out: Denoised = half(batch)
        assert out.flow.dtype == torch.float32
        error = float((out.flow - wide.flow).square().mean().sqrt() / wide.flow.square().mean().sqrt())
        assert error < 0.03
        torch.testing.assert_close(out.similarity, wide.similarity, rtol=0, atol=0.03)


def test_nothing_is_read_back_from_the_device() -> None:
    """Tensors without memory have no values to read: a forward that asked for one would fail."""
    rows = [replace(row, timestep=float(index)) for index, row in enumerate(four_rows())]
    batch = batch_of(rows, layout=LAYOUT)
    with torch.device("meta"):
        network = CausalWan(CONFIG, layout=LAYOUT)
    out = network(moved_to(torch.device("meta"), batch))
    assert (out.flow.shape, out.flow.is_meta) == ((4, 1, 16, 8, 8), True)


def test_a_prompts_embedding_must_be_padded() -> None:
    short = recorded.tensor("tiny_model", "prompt/A")[0, :7]
    with pytest.raises(ValueError, match=r"must be \(12, 24\), padded with zeros, not \(7, 24\)"):
        model().text_kv(short)


def test_the_prompt_rules_what_comes_out() -> None:
    row = four_rows()[0]
    other = replace(row, ring=copy_of(row.ring), text=text("B"))
    assert float((run([row]).flow - run([other]).flow).abs().max()) > 1e-3


def test_parameters_have_the_published_names_and_no_others() -> None:
    assert set(CausalWan(CONFIG, layout=LAYOUT).state_dict()) == set(recorded.weights())
    assert not list(CausalWan(TINY, layout=LAYOUT).buffers())


def test_a_picture_that_is_wider_than_high_is_put_together_as_it_was_taken_apart() -> None:
    """With the identity for the patch embedding a token is its patch: 16 channels of 2 x 2 latent pixels."""
    network = recorded.network()
    size, channels = CONFIG.patch, CONFIG.channels
    identity = torch.eye(CONFIG.dim).view(CONFIG.dim, channels, 1, size, size)
    network.load_state_dict(
        {"patch_embedding.weight": identity, "patch_embedding.bias": torch.zeros(CONFIG.dim)}, strict=False
    )
    hidden = torch.arange(2 * 3 * 16 * 4 * 12, dtype=torch.float32).view(2, 3, 16, 4, 12)
    tokens = network._patchify(hidden)
    assert tokens.shape == (2, 3 * 2 * 6, CONFIG.dim)
    # The head gives a patch's pixels with the channels innermost.
    patches = tokens.view(*tokens.shape[:2], channels, size * size).transpose(-1, -2).flatten(-2)
    assert torch.equal(network._unpatchify(patches, (2, 6)), hidden)
