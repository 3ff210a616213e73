"""The pool in which keys and values of all rows of all sessions lie, and the ring of one row in it.

There is one pool for an engine. A forward reads it through tables of pages, so that what is different from one
micro-step to the next is numbers in tensors, never an address.

Keys are stored rotated, once, when they are written; the means by which sinks are compared are of keys before that.
"""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import TransformerConfig
from genlock_worker.engines.diffusion.network.pages import PAGE_TOKENS, PageBook, pages_per_slot, runs


class KvPool:
    """Keys, values and means of every row. Without `pages` it grows with its sessions, and then its tensors change.

    `keys` and `values` (L, pages, P, H, head_dim), `means` (L, pages, 2, D) float32: the mean un-rotated key and the
    mean value of a slot's tokens, at the slot's first page. Page 0 is the scratch page (`pages.SCRATCH`).

    Every page is zeros when it is handed out, and only tokens of frames are ever written: what lies behind them in a
    frame's last page stays zero. So numbers that are not finite never outlive the session that they came from.
    """

    def __init__(
        self,
        config: TransformerConfig,
        *,
        device: torch.device,
        dtype: torch.dtype,
        pages: int | None = None,
    ) -> None:
        """`pages` for sessions, all there from the start and never more: for a device whose kernels hold addresses.

        Raises torch.OutOfMemoryError.
        """
        self.config = config
        self.device = device
        self.dtype = dtype
        self._grows = pages is None
        self._book = PageBook(1 + (pages or 0))
        self.keys = self._empty(self._book.pages)
        self.values = self._empty(self._book.pages)
        self.means = self._empty_means(self._book.pages)

    @property
    def bytes(self) -> int:
        """Bytes of its tensors now."""
        return self.keys.nbytes + self.values.nbytes + self.means.nbytes

    @property
    def free(self) -> int:
        """Pages that nobody has."""
        return self._book.free

    def take(self, count: int) -> tuple[int, ...]:
        """So many pages, zeroed. Raises torch.OutOfMemoryError (`PoolFull` where the pool has a fixed size)."""
        missing = count - self._book.free
        if self._grows and missing > 0:
            self._grow(missing)
        taken = self._book.take(count)
        for part in runs(taken):
            for cache in (self.keys, self.values, self.means):
                cache[:, part].zero_()
        return taken

    def give(self, pages: Sequence[int]) -> None:
        """Take pages back; on any thread. Work that was queued before may still read and write them."""
        self._book.give(pages)

    def copy(self, source: Sequence[int], target: Sequence[int]) -> None:
        """Copy pages onto as many others, none of which is among the sources."""
        done = 0
        for part in runs(target):
            count = part.stop - part.start
            begin = part.start
            for piece in runs(source[done : done + count]):
                end = begin + piece.stop - piece.start
                for cache in (self.keys, self.values, self.means):
                    cache[:, begin:end].copy_(cache[:, piece])
                begin = end
            done += count

    def _grow(self, missing: int) -> None:
        # One after the other, so that no more than one is there twice. Where memory ran out between them the last time,
        # the keys have grown already, and the rest follows them.
        pages = max(self._book.pages + missing, self.keys.shape[1])
        if self.keys.shape[1] < pages:
            self.keys = _enlarged(self.keys, self._empty(pages))
        self.values = _enlarged(self.values, self._empty(pages))
        self.means = _enlarged(self.means, self._empty_means(pages))
        self._book.grow(pages)

    def _empty(self, pages: int) -> Tensor:
        config = self.config
        shape = (config.layers, pages, PAGE_TOKENS, config.heads, config.head_dim)
        return torch.zeros(shape, device=self.device, dtype=self.dtype)

    def _empty_means(self, pages: int) -> Tensor:
        return torch.zeros(self.config.layers, pages, 2, self.config.dim, device=self.device)


def _enlarged(old: Tensor, new: Tensor) -> Tensor:
    new[:, : old.shape[1]].copy_(old)
    return new


@dataclass(slots=True, eq=False, weakref_slot=True)
class PagedRing:
    """One row's self-attention cache: which pages are its slots'. Only its owner, the row's record, moves it.

    Its pages are its own from `taken` until `free`, or until nothing refers to it any more.
    """

    pool: KvPool
    frame_tokens: int
    slots: tuple[tuple[int, ...], ...]
    """The pages of slot j."""
    spare: tuple[int, ...]
    """Pages of one slot more, where a frame that becomes a sink is written a second time; none without sinks."""
    _free: "weakref.finalize[[Sequence[int]], PagedRing] | None" = field(default=None, init=False, repr=False)

    @classmethod
    def taken(cls, pool: KvPool, layout: RingLayout, *, frame_tokens: int) -> "PagedRing":
        """An empty ring. Raises torch.OutOfMemoryError."""
        count = pages_per_slot(frame_tokens)
        pages = pool.take(ring_slots(layout) * count)
        slots = [pages[start : start + count] for start in range(0, len(pages), count)]
        ring = cls(pool, frame_tokens, tuple(slots[: layout.slots]), sum(slots[layout.slots :], ()))
        ring._free = weakref.finalize(ring, pool.give, pages)
        return ring

    @property
    def means(self) -> Tensor:
        """(L, N, 2, D) float32: mean un-rotated key and mean value of each slot's tokens; a copy."""
        return self.pool.means[:, [slot[0] for slot in self.slots]]

    def switch(self, sink: int) -> None:
        """The frame that was written a second time is the sink in slot `sink` from now on."""
        left = self.slots[sink]
        self.slots = (*self.slots[:sink], self.spare, *self.slots[sink + 1 :])
        self.spare = left

    def arrange(self, order: Sequence[int]) -> None:
        """Let slot j be what slot `order[j]` is now; slots behind them stay. Nothing is copied."""
        self.slots = (*(self.slots[slot] for slot in order), *self.slots[len(order) :])

    def copy_from(self, other: "PagedRing") -> None:
        """Hold what another ring of the same shape holds."""
        self.pool.copy(_all(other.slots), _all(self.slots))

    def free(self) -> None:
        """Give its pages back; the ring is not to be used any more."""
        if self._free is not None:
            self._free()


def ring_slots(layout: RingLayout) -> int:
    """Slots that a row takes of the pool: those of its ring and, if it has sinks, a spare one."""
    return layout.slots + (1 if layout.sinks else 0)


def page_bytes(config: TransformerConfig, *, itemsize: int) -> int:
    """Bytes of one page in all layers: 2 (K, V) * L * P * D * itemsize, and its means."""
    return 2 * config.layers * config.dim * (PAGE_TOKENS * itemsize + 4)


def _all(slots: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(page for slot in slots for page in slot)
