import gc
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import TransformerConfig
from genlock_worker.engines.diffusion.network.kv_pool import KvPool, PagedRing, page_bytes, ring_slots
from genlock_worker.engines.diffusion.network.pages import PAGE_TOKENS, PoolFull

CONFIG = TransformerConfig(layers=2, heads=2, dim=8, ffn_dim=8)
CPU = torch.device("cpu")
LAYOUT = RingLayout(4, 2)


def pool(pages: int | None = None) -> KvPool:
    return KvPool(CONFIG, device=CPU, dtype=torch.float32, pages=pages)


def ring_in(one: KvPool, *, frame_tokens: int = 70) -> PagedRing:
    return PagedRing.taken(one, LAYOUT, frame_tokens=frame_tokens)


def mark(ring: PagedRing) -> None:
    """Put the number of each page into it."""
    for page in [page for slot in (*ring.slots, ring.spare) for page in slot]:
        for stored in (ring.pool.keys, ring.pool.values, ring.pool.means):
            stored[:, page] = float(page)


def marks(ring: PagedRing) -> list[list[float]]:
    """What lies in the pages of each slot."""
    found = []
    for slot in ring.slots:
        parts = [
            getattr(ring.pool, name)[:, list(slot)].flatten(2).unique(dim=2) for name in ("keys", "values", "means")
        ]
        assert all(part.shape[2] == 1 and torch.equal(part, parts[0]) for part in parts)
        assert torch.equal(parts[0][0], parts[0][1]), "all layers"
        found.append(parts[0][0, :, 0].tolist())
    return found


def test_a_pool_holds_nothing_at_first_and_grows_with_its_rings() -> None:
    one = pool()
    first = one.bytes
    assert len(one.keys[0]) == 1, "the scratch page"
    ring = ring_in(one)
    mark(ring)
    before = marks(ring)
    other = ring_in(one)
    assert one.bytes == first + 2 * 5 * 2 * page_bytes(CONFIG, itemsize=4)
    assert marks(ring) == before
    assert not set(ring.slots) & set(other.slots)
    assert marks(other) == [[0.0, 0.0]] * LAYOUT.slots


def test_a_pool_of_a_fixed_size_never_moves_and_refuses_what_is_too_much() -> None:
    one = pool(pages=25)
    tensors = (one.keys, one.values, one.means)
    rings = [ring_in(one), ring_in(one)]
    with pytest.raises(PoolFull, match="10 pages are needed and 5 are free"):
        ring_in(one)
    assert one.free == 5
    rings[0].free()
    ring_in(one)
    assert all(now is then for now, then in zip((one.keys, one.values, one.means), tensors, strict=True))


@pytest.mark.parametrize("allocation", [1, 2, 3])
def test_a_pool_in_which_memory_ran_out_half_way_serves_a_smaller_ring(
    allocation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = pool()
    ring = ring_in(one)
    mark(ring)
    before, count, zeros = marks(ring), 0, torch.zeros

    def counted(*size: Any, **how: Any) -> Tensor:
        nonlocal count
        count += 1
        if count == allocation:
            raise torch.OutOfMemoryError("no room")
        return zeros(*size, **how)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "zeros", counted)
        with pytest.raises(torch.OutOfMemoryError):
            ring_in(one, frame_tokens=7000)
    smaller = ring_in(one)
    assert one.keys.shape[1] == one.values.shape[1] == one.means.shape[1]
    assert marks(ring) == before
    assert marks(smaller) == [[0.0, 0.0]] * LAYOUT.slots


@pytest.mark.parametrize("layout", [RingLayout(4, 2), RingLayout(4, 0)])
def test_a_ring_has_a_spare_slot_if_it_has_sinks(layout: RingLayout) -> None:
    ring = PagedRing.taken(pool(), layout, frame_tokens=PAGE_TOKENS + 1)
    assert [len(slot) for slot in ring.slots] == [2] * layout.slots
    assert len(ring.spare) == (2 if layout.sinks else 0)
    assert ring_slots(layout) == layout.slots + bool(layout.sinks)


def test_pages_come_back_when_a_ring_is_freed_and_when_it_is_forgotten_but_once() -> None:
    one = pool(pages=20)
    ring = ring_in(one)
    ring.free()
    ring.free()
    assert one.free == 20
    del ring
    gc.collect()
    assert one.free == 20
    forgotten = ring_in(one)
    assert one.free == 10
    del forgotten
    gc.collect()
    assert one.free == 20


def test_pages_are_zeros_when_they_are_lent_whatever_their_last_owner_left() -> None:
    one = pool(pages=10)
    ring = ring_in(one)
    for stored in (one.keys, one.values, one.means):
        stored[:, 1:] = float("nan")
    ring.switch(1)
    ring.free()
    for tokens in (70, 3):
        again = ring_in(one, frame_tokens=tokens)
        pages = [page for slot in (*again.slots, again.spare) for page in slot]
        assert not any(bool(stored[:, pages].any()) for stored in (one.keys, one.values, one.means))
        again.free()


def test_a_switch_gives_the_sink_the_pages_of_the_second_write() -> None:
    ring = ring_in(pool())
    slots, spare = ring.slots, ring.spare
    ring.switch(1)
    assert ring.slots == (slots[0], spare, *slots[2:])
    assert ring.spare == slots[1]
    ring.switch(1)
    assert (ring.slots, ring.spare) == (slots, spare)


@given(
    order=st.permutations(range(LAYOUT.slots)), filled=st.integers(0, LAYOUT.slots), sink=st.none() | st.integers(0, 1)
)
def test_an_arrangement_moves_numbers_in_the_table_alone(order: list[int], filled: int, sink: int | None) -> None:
    ring = ring_in(pool())
    mark(ring)
    if sink is not None:
        ring.switch(sink)
    before = marks(ring)
    order = [slot for slot in order if slot < filled]
    ring.arrange(order)
    assert marks(ring) == [before[slot] for slot in order] + before[filled:]


@given(st.lists(st.integers(0, 1), max_size=4), st.lists(st.integers(0, 1), max_size=4))
def test_a_copy_holds_the_same_slot_by_slot_however_pages_lie(ours: list[int], theirs: list[int]) -> None:
    one = pool()
    source, target = ring_in(one), ring_in(one)
    mark(source)
    for ring, sinks in ((source, theirs), (target, ours)):
        for sink in sinks:
            ring.switch(sink)
    pages = target.slots
    target.copy_from(source)
    assert marks(target) == marks(source)
    assert target.slots == pages


def test_the_means_of_a_ring_are_those_at_the_first_page_of_each_slot() -> None:
    ring = ring_in(pool())
    mark(ring)
    assert ring.means[0, :, 0, 0].tolist() == [float(slot[0]) for slot in ring.slots]
