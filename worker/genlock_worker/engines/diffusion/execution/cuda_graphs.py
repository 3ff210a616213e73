"""Forwards that are replayed as CUDA graphs: one launch in the place of the hundreds that a forward consists of.

A graph replays with every address fixed. The rings and texts that a forward reads in place are therefore part of what
a graph is made for, as are the shapes; everything else of a `RowBatch` is copied into the graph's own input tensors.
`GraphBook` decides which sets of rows get one (pure), `GraphedForward` holds them, `CapturedForward` is one.
"""

import logging
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from itertools import count
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch

logger = logging.getLogger(__name__)

CAPTURE_AFTER = 4
"""A set of rows that came up this often is in steady state; a prompt's blend passes before."""
REST_FORWARDS = 256
"""A graph gives its place to another only after this many forwards without it, or a worker with more sets of rows than
graphs would capture for ever."""
SEEN_PER_GRAPH = 8
"""How many sets without a graph are counted, for each graph that there may be."""

Forward = Callable[[RowBatch], Denoised]
G = TypeVar("G")


@dataclass(frozen=True, slots=True)
class RowSet:
    """What a graph is made for. Rings and texts by their serial numbers; all rings are full, so `valid` is known."""

    shape: tuple[int, ...]
    rings: tuple[int, ...]
    texts: tuple[int, ...]


class GraphBook(Generic[G]):
    """Which sets of rows have a graph, which get one, and which lose theirs. Counts in forwards, not in seconds."""

    def __init__(self, *, capacity: int, after: int = CAPTURE_AFTER, rest: int = REST_FORWARDS) -> None:
        if capacity < 1:
            raise ValueError(f"at least 1 graph must be allowed, not {capacity}")

        self._capacity = capacity
        self._after = after
        self._rest = rest
        self._graphs: OrderedDict[RowSet, G] = OrderedDict()
        """Longest rested first."""
        self._used: dict[RowSet, int] = {}
        """The forward in which each graph was last replayed."""
        self._seen: OrderedDict[RowSet, int] = OrderedDict()
        """How often the sets without a graph came up; longest unseen first."""
        self._forward = 0

    def __len__(self) -> int:
        return len(self._graphs)

    def find(self, rows: RowSet) -> G | None:
        """The graph for the next forward, if there is one; to be asked once per forward."""
        self._forward += 1
        graph = self._graphs.get(rows)
        if graph is not None:
            self._graphs.move_to_end(rows)
            self._used[rows] = self._forward
        return graph

    def is_due(self, rows: RowSet) -> bool:
        """Whether rows without a graph should get one now: they came up often, and there is a place for it."""
        self._seen[rows] = self._seen.pop(rows, 0) + 1
        while len(self._seen) > SEEN_PER_GRAPH * self._capacity:
            self._seen.popitem(last=False)
        return self._seen.get(rows, 0) > self._after and self._has_place()

    def add(self, rows: RowSet, graph: G) -> None:
        """Keep a graph; the one that rested longest goes if it is one too many."""
        self._seen.pop(rows, None)
        if len(self._graphs) >= self._capacity:
            longest, _ = self._graphs.popitem(last=False)
            del self._used[longest]
        self._graphs[rows] = graph
        self._used[rows] = self._forward

    def forget(self, serial: int) -> None:
        """A ring or a text is gone: no graph that reads it may be replayed."""
        for rows in [rows for rows in self._graphs if serial in rows.rings or serial in rows.texts]:
            del self._graphs[rows], self._used[rows]
        for rows in [rows for rows in self._seen if serial in rows.rings or serial in rows.texts]:
            del self._seen[rows]

    def _has_place(self) -> bool:
        if len(self._graphs) < self._capacity:
            return True
        longest = next(iter(self._graphs))
        return self._forward - self._used[longest] >= self._rest


class Serials:
    """A number for every living tensor that is asked for, never given twice: an address is used again, a serial not.

    Holds no tensor alive. A tensor may die on any thread; what died is told when `take_gone` is called.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._gone: deque[tuple[int, int]] = deque()
        self._next = count()

    def of(self, thing: object) -> int:
        address = id(thing)
        known = self._known.get(address)
        if known is not None and known[0]() is thing:
            return known[1]
        serial, gone = next(self._next), self._gone
        self._known[address] = weakref.ref(thing, lambda _: gone.append((address, serial))), serial
        return serial

    def take_gone(self) -> list[int]:
        """The serials of those that died since the last call."""
        serials = []
        while self._gone:
            address, serial = self._gone.popleft()
            if address in self._known and self._known[address][1] == serial:
                del self._known[address]
            serials.append(serial)
        return serials


class Captured(Protocol):
    """A forward that can be replayed for another batch of the same rows."""

    def replay(self, batch: RowBatch) -> Denoised: ...


Capture = Callable[[Forward, RowBatch, Any], Captured]
"""(forward, batch, memory pool) -> the captured forward."""


class CapturedForward:
    """One CUDA graph with its input tensors. It does not keep rings and texts alive: who replays it must."""

    def __init__(self, forward: Forward, batch: RowBatch, pool: Any) -> None:
        # The inputs lie outside the pool that the graphs share, where no other graph's replay writes.
        self._inputs = {name: getattr(batch, name).clone() for name in _COPIED}
        self._graph = torch.cuda.CUDAGraph()
        # Other threads (a prompt being encoded) may allocate meanwhile: only this one is held to the rules of capture.
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self._output = forward(replace(batch, **self._inputs))

    def replay(self, batch: RowBatch) -> Denoised:
        """Run the forward; the results are copies, since the next replay of any graph overwrites the pool."""
        for name, tensor in self._inputs.items():
            tensor.copy_(getattr(batch, name), non_blocking=True)
        self._graph.replay()
        return Denoised(flow=self._output.flow.clone(), similarity=self._output.similarity.clone())


_COPIED = tuple(field.name for field in fields(RowBatch) if field.type is Tensor)
"""The tensors of a batch that change from one micro-step to the next."""


class GraphedForward:
    """A forward that replays the sets of rows that come up again and again, and runs all others as they are.

    The same pool of memory serves all graphs. A capture that fails (no memory, an operation that cannot be captured)
    is the last one: what was captured before stays in use.
    """

    def __init__(
        self,
        forward: Forward,
        *,
        max_graphs: int,
        capture: Capture = CapturedForward,
        new_pool: Callable[[], Any] = torch.cuda.graph_pool_handle,
    ) -> None:
        self._forward = forward
        self._capture = capture
        self._new_pool = new_pool
        self._book: GraphBook[Captured] = GraphBook(capacity=max_graphs)
        self._serials = Serials()
        self._pool: Any = None
        self._captures = True

    @property
    def graphs(self) -> int:
        """How many there are."""
        return len(self._book)

    def __call__(self, batch: RowBatch) -> Denoised:
        for serial in self._serials.take_gone():
            self._book.forget(serial)
        if not _rings_are_full(batch):
            return self._forward(batch)
        rows = self._row_set(batch)
        graph = self._book.find(rows)
        if graph is None and self._captures and self._book.is_due(rows):
            graph = self._captured(rows, batch)
        return self._forward(batch) if graph is None else graph.replay(batch)

    def _row_set(self, batch: RowBatch) -> RowSet:
        return RowSet(
            shape=tuple(batch.hidden.shape),
            rings=tuple(self._serials.of(ring.keys) for ring in batch.rings),
            texts=tuple(self._serials.of(text.keys) for text in batch.texts),
        )

    def _captured(self, rows: RowSet, batch: RowBatch) -> Captured | None:
        if not self._book:  # a pool whose graphs are all gone cannot be captured into again
            self._pool = self._new_pool()

        try:
            graph = self._capture(self._forward, batch, self._pool)
        except RuntimeError as error:  # torch.OutOfMemoryError is one, too
            self._captures = False
            logger.warning("no more CUDA graphs are captured: %s", error)
            return None

        self._book.add(rows, graph)
        return graph


def _rings_are_full(batch: RowBatch) -> bool:
    """While rings fill every chunk has other lengths, so nothing comes up again."""
    return all(valid == ring.keys.shape[1] for valid, ring in zip(batch.valid, batch.rings, strict=True))
