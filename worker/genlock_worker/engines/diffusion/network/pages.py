"""Which pages of a pool are whose. Pure bookkeeping: no tensor lies here.

A page is `PAGE_TOKENS` tokens. One latent frame takes whole pages, so that frames of pictures of every size can lie in
one pool; of the last page of a frame a part may stay unused.
"""

from bisect import insort
from collections import deque
from collections.abc import Iterator, Sequence

import torch

PAGE_TOKENS = 64
"""Tokens of a page (P): keys that a kernel reads as one block, and no more than half lost to a frame's last page."""
SCRATCH = 0
"""The page that is nobody's: rows that only fill a batch write and read it, and unused entries of a table name it."""


def pages_per_slot(frame_tokens: int) -> int:
    """Pages of one latent frame: ceil(frame_tokens / P)."""
    return -(-frame_tokens // PAGE_TOKENS)


class PoolFull(torch.OutOfMemoryError):
    """A pool of fixed size has not as many free pages as are asked for."""

    def __init__(self, wanted: int, free: int) -> None:
        super().__init__(f"{wanted} pages are needed and {free} are free")
        self.wanted = wanted
        self.free = free


class PageBook:
    """The free pages of one pool. `take` is the engine thread's; `give` may come from any thread.

    Pages are handed out in runs where there is one that is long enough, so that a ring can be read as one piece.
    """

    def __init__(self, pages: int) -> None:
        """`pages`: how many there are, the scratch page included."""
        self.pages = pages
        self._free = list(range(SCRATCH + 1, pages))
        """Ascending."""
        self._returned: deque[Sequence[int]] = deque()
        """Given back, and not among the free ones yet."""

    @property
    def free(self) -> int:
        """Free pages."""
        self._drain()
        return len(self._free)

    def grow(self, pages: int) -> None:
        """There are `pages` pages now, no fewer than before."""
        self._free.extend(range(self.pages, pages))
        self.pages = pages

    def take(self, count: int) -> tuple[int, ...]:
        """Pages, one at least, that are the caller's until it gives them back. Raises PoolFull."""
        if count > self.free:
            raise PoolFull(count, len(self._free))
        start = self._run(count)
        taken = tuple(self._free[start : start + count])
        del self._free[start : start + count]
        return taken

    def give(self, pages: Sequence[int]) -> None:
        """Pages are free again."""
        self._returned.append(pages)

    def _run(self, count: int) -> int:
        """Where in the free pages the first run of `count` begins; the beginning where there is none."""
        for start in range(len(self._free) - count + 1):
            if self._free[start + count - 1] - self._free[start] == count - 1:
                return start
        return 0

    def _drain(self) -> None:
        while self._returned:
            for page in self._returned.popleft():
                insort(self._free, page)


def runs(pages: Sequence[int]) -> Iterator[slice]:
    """The pages as slices of pages that follow each other."""
    start = 0
    for end in range(1, len(pages) + 1):
        if end == len(pages) or pages[end] != pages[end - 1] + 1:
            yield slice(pages[start], pages[end - 1] + 1)
            start = end
