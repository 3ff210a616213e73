from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.engines.diffusion.network.pages import (
    PAGE_TOKENS,
    SCRATCH,
    PageBook,
    PoolFull,
    pages_per_slot,
    runs,
)


@given(st.integers(1, 10_000))
def test_a_frame_takes_the_fewest_whole_pages_that_hold_it(tokens: int) -> None:
    pages = pages_per_slot(tokens)
    assert (pages - 1) * PAGE_TOKENS < tokens <= pages * PAGE_TOKENS


@given(pages=st.integers(1, 40), calls=st.lists(st.integers(-4, 9).filter(bool), max_size=40))
def test_a_page_is_lent_once_and_never_the_scratch_page(pages: int, calls: list[int]) -> None:
    """A number is so many pages taken; a negative one gives back what was taken so many calls ago."""
    book = PageBook(pages)
    lent: list[tuple[int, ...]] = []
    for call in calls:
        if call < 0 and len(lent) >= -call:
            book.give(lent.pop(call))
        elif call > book.free:
            with pytest.raises(PoolFull) as full:
                book.take(call)
            assert (full.value.wanted, full.value.free) == (call, book.free)
        elif call > 0:
            taken = book.take(call)
            assert len(taken) == call
            lent.append(taken)
        out = list(chain.from_iterable(lent))
        assert len(set(out)) == len(out)
        assert SCRATCH not in out
        assert book.free == pages - 1 - len(out)


def test_pages_come_in_runs_where_there_is_one() -> None:
    book = PageBook(10)
    held = [book.take(2) for _ in range(4)]
    book.give(held[0])
    book.give(held[2])
    assert book.take(3) == (1, 2, 5), "there is no run of three"
    book.give((1, 2, 5))
    book.give(held[3])
    assert book.take(5) == (5, 6, 7, 8, 9)


def test_what_a_pool_gains_is_free() -> None:
    book = PageBook(1)
    assert book.free == 0
    book.grow(4)
    assert book.take(3) == (1, 2, 3)


@given(st.lists(st.integers(0, 12), unique=True))
def test_runs_are_the_pages_in_their_order(pages: list[int]) -> None:
    found = list(runs(pages))
    assert [page for part in found for page in range(part.start, part.stop)] == pages
    assert all(one.stop != other.start for one, other in pairwise(found))
