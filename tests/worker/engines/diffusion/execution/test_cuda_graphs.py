import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from genlock_worker.engines.algorithm.ring import V2V_RING
from genlock_worker.engines.diffusion.config import TINY
from genlock_worker.engines.diffusion.execution.cuda_graphs import GraphBook, GraphedForward, RowSet, Serials
from genlock_worker.engines.diffusion.network.kv import Ring, TextKv
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch

SHAPE = (1, 1, 16, 4, 4)
FULL = V2V_RING.slots * 4
"""Tokens of a ring of 2x2 tokens a frame."""


def rows(*rings: int, text: int = 100) -> RowSet:
    return RowSet(shape=SHAPE, rings=rings, texts=(text,) * len(rings))


def come_up(book: GraphBook[str], row_set: RowSet) -> str:
    """One forward of these rows, as GraphedForward does it: what happened."""
    if book.find(row_set) is not None:
        return "replay"
    if not book.is_due(row_set):
        return "eager"
    book.add(row_set, "graph")
    return "capture"


def test_rows_get_a_graph_once_they_came_up_often() -> None:
    book: GraphBook[str] = GraphBook(capacity=2, after=3)
    assert [come_up(book, rows(1)) for _ in range(6)] == ["eager"] * 3 + ["capture"] + ["replay"] * 2


def test_other_texts_or_shapes_are_other_rows() -> None:
    book: GraphBook[str] = GraphBook(capacity=8, after=1)
    wide = RowSet(shape=(1, 1, 16, 4, 8), rings=(1,), texts=(100,))
    for row_set in (rows(1), rows(1, text=101), rows(1, 2), rows(2, 1), wide):
        assert [come_up(book, row_set) for _ in range(3)] == ["eager", "capture", "replay"]


def test_a_graph_in_use_keeps_its_place() -> None:
    book: GraphBook[str] = GraphBook(capacity=1, after=1, rest=10)
    for _ in range(3):
        come_up(book, rows(1))
    assert [come_up(book, rows(ring)) for ring in (2, 1) * 20] == ["eager", "replay"] * 20


def test_a_graph_that_rested_gives_way() -> None:
    book: GraphBook[str] = GraphBook(capacity=1, after=1, rest=10)
    come_up(book, rows(1))
    come_up(book, rows(1))
    outcomes = [come_up(book, rows(2)) for _ in range(12)]
    assert outcomes.index("capture") >= 9
    assert book.find(rows(1)) is None


def test_no_graph_of_a_ring_or_a_text_that_is_gone_is_kept() -> None:
    book: GraphBook[str] = GraphBook(capacity=4, after=0)
    for row_set in (rows(1, 2), rows(2, 3), rows(3, 4, text=101)):
        come_up(book, row_set)
    book.forget(2)
    assert [book.find(row_set) for row_set in (rows(1, 2), rows(2, 3), rows(3, 4, text=101))] == [None, None, "graph"]
    book.forget(101)
    assert len(book) == 0


def test_at_least_one_graph_must_be_allowed() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        GraphBook[str](capacity=0)


@given(
    capacity=st.integers(1, 3),
    after=st.integers(0, 3),
    rest=st.integers(1, 8),
    events=st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=120),
)
def test_graphs_are_bounded_and_never_those_of_what_is_gone(
    *, capacity: int, after: int, rest: int, events: list[tuple[bool, int]]
) -> None:
    book: GraphBook[str] = GraphBook(capacity=capacity, after=after, rest=rest)
    held: set[int] = set()
    seen = dict.fromkeys(range(6), 0)
    for is_end, ring in events:
        if is_end:
            book.forget(ring)
            held.discard(ring)
            seen[ring] = 0
            continue
        seen[ring] += 1
        outcome = come_up(book, rows(ring))
        if outcome == "replay":
            assert ring in held
        if outcome == "capture":
            assert seen[ring] > after
            held.add(ring)
        assert len(book) <= capacity


class Thing:
    pass


def test_serials_are_never_given_twice_though_addresses_are() -> None:
    serials, given_out, gone = Serials(), set(), 0
    for _ in range(50):
        thing = Thing()
        assert serials.of(thing) == serials.of(thing)
        assert serials.of(thing) not in given_out
        given_out.add(serials.of(thing))
        del thing
        gone += len(serials.take_gone())
    assert gone == 50


class FakeGraph:
    """Answers with the number of its capture in the flow; holds what it was captured for weakly, as a graph does."""

    def __init__(self, number: int, batch: RowBatch) -> None:
        self.number = number
        self.ring = weakref.ref(batch.rings[0].keys)

    def replay(self, batch: RowBatch) -> Denoised:
        assert self.ring() is batch.rings[0].keys, "replayed for another ring than it was captured for"
        return answer(float(self.number), batch)


def answer(value: float, batch: RowBatch) -> Denoised:
    return Denoised(flow=torch.full_like(batch.hidden, value), similarity=torch.zeros(batch.rows, 3))


def eager(batch: RowBatch) -> Denoised:
    return answer(0.0, batch)


class Captures:
    def __init__(self, *, error: Exception | None = None) -> None:
        self.pools: list[Any] = []
        self.error = error

    def __call__(self, forward: Callable[[RowBatch], Denoised], batch: RowBatch, pool: Any) -> FakeGraph:
        if self.error is not None:
            raise self.error
        self.pools.append(pool)
        return FakeGraph(len(self.pools), batch)


def graphed(captures: Captures, *, max_graphs: int = 4) -> GraphedForward:
    return GraphedForward(eager, max_graphs=max_graphs, capture=captures, new_pool=object)


def ring() -> Ring:
    return Ring.empty(TINY, V2V_RING, frame_tokens=4, device=torch.device("cpu"), dtype=torch.float32)


def batch(*rings: Ring, text: TextKv, valid: int = FULL) -> RowBatch:
    count = len(rings)
    places = torch.arange(4).repeat(count, 1)
    numbers: Tensor = torch.zeros(count, 1, dtype=torch.float64)
    return RowBatch(
        hidden=torch.zeros(count, 1, 16, 4, 4),
        timesteps=numbers[:, 0],
        query_positions=numbers,
        key_positions=torch.zeros(count, V2V_RING.slots, dtype=torch.float64),
        places=places,
        slots=torch.zeros(count, 1, dtype=torch.int64),
        rings=rings,
        texts=(text,) * count,
        valid=(valid,) * count,
    )


def text() -> TextKv:
    shape = (TINY.layers, TINY.text_length, TINY.heads, TINY.head_dim)
    return TextKv(torch.zeros(shape), torch.zeros(shape))


def outcome(forward: GraphedForward, one: RowBatch) -> int:
    """0: ran as it is; otherwise the number of the graph."""
    return int(forward(one).flow.flatten()[0])


def test_steady_rows_are_replayed_and_filling_rings_are_not() -> None:
    captures = Captures()
    forward, one, prompt = graphed(captures), ring(), text()
    assert [outcome(forward, batch(one, text=prompt, valid=FULL - 4)) for _ in range(9)] == [0] * 9
    assert [outcome(forward, batch(one, text=prompt)) for _ in range(7)] == [0, 0, 0, 0, 1, 1, 1]
    assert outcome(forward, batch(one, text=text())) == 0, "a new prompt has other keys and values"


def test_the_graphs_of_a_closed_session_are_dropped() -> None:
    captures = Captures()
    forward, first, second, prompt = graphed(captures), ring(), ring(), text()
    for _ in range(6):
        outcome(forward, batch(first, text=prompt))
        outcome(forward, batch(second, text=prompt))
    assert forward.graphs == 2
    del first
    gc.collect()
    assert outcome(forward, batch(second, text=prompt)) == 2
    assert forward.graphs == 1


def test_graphs_share_a_pool_until_all_of_them_are_gone() -> None:
    captures = Captures()
    forward, prompt = graphed(captures), text()
    first, second = ring(), ring()
    for _ in range(6):
        outcome(forward, batch(first, text=prompt))
        outcome(forward, batch(second, text=prompt))
    del first, second
    gc.collect()
    third = ring()
    for _ in range(6):
        outcome(forward, batch(third, text=prompt))
    assert captures.pools[0] is captures.pools[1]
    assert captures.pools[2] is not captures.pools[0]


def test_a_capture_that_fails_is_the_last_and_the_rows_run_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    captures = Captures(error=torch.OutOfMemoryError("out of memory"))
    forward, one, prompt = graphed(captures), ring(), text()
    assert [outcome(forward, batch(one, text=prompt)) for _ in range(12)] == [0] * 12
    assert [record.getMessage() for record in caplog.records] == ["no more CUDA graphs are captured: out of memory"]
