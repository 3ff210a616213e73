"""Pools that share a number of GPUs: each gets its floor first, the rest goes by weight.

Whole workers are given out one by one, each to the pool that has the fewest GPUs for its weight and still wants one. So
shares are as even as whole workers allow, and what one pool does not want goes to the others.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolWish:
    """What a pool would like to have. Raises ValueError for what no pool is."""

    pool: str
    product: str
    """Of its GPUs."""
    gpus: int
    """Of one worker."""
    floor: int
    """Workers that it gets before others get more than theirs."""
    wish: int
    """Workers that it asks for."""
    weight: int = 1

    def __post_init__(self) -> None:
        if self.gpus < 1 or self.weight < 1 or self.floor < 0 or self.wish < 0:
            raise ValueError(f"{self} is no wish: it has GPUs and a weight of at least 1, floor and wish of at least 0")


_Goal: TypeAlias = Callable[[PoolWish], int]


def shares(wishes: Iterable[PoolWish], budget: Mapping[str, int]) -> dict[str, int]:
    """How many workers each pool may have, by its name; pools of products without a budget are left out.

    Together they use no more GPUs of a product than `budget` says. Where that is less than the floors take, the floors
    are shared by weight.
    """
    by_product: dict[str, list[PoolWish]] = {}
    for wish in wishes:
        by_product.setdefault(wish.product, []).append(wish)

    given: dict[str, int] = {}
    for product, gpus in budget.items():
        given |= _share(by_product.get(product, []), gpus)
    return given


def _share(wishes: list[PoolWish], gpus: int) -> dict[str, int]:
    given = {wish.pool: 0 for wish in wishes}
    left = gpus
    for goal in (_floor_of, _wish_of):
        for wish in _in_turn(wishes, given, goal):
            if wish.gpus <= left:
                given[wish.pool] += 1
                left -= wish.gpus
    return given


def _in_turn(wishes: list[PoolWish], given: Mapping[str, int], goal: _Goal) -> Iterator[PoolWish]:
    """Whose turn it is to get a worker, until each has its goal. It goes by what `given` says at that moment."""
    # The one with the fewest GPUs for its weight comes first; names decide between equals, so that plans repeat.
    turns = [(given[wish.pool] * wish.gpus / wish.weight, wish.pool, wish) for wish in wishes]
    turns = [turn for turn in turns if given[turn[1]] < goal(turn[2])]
    heapq.heapify(turns)
    while turns:
        _, pool, wish = heapq.heappop(turns)
        before = given[pool]
        yield wish
        # Who got none has found no room for its kind of worker, and finds none later.
        if before < given[pool] < goal(wish):
            heapq.heappush(turns, (given[pool] * wish.gpus / wish.weight, pool, wish))


def _floor_of(wish: PoolWish) -> int:
    return min(wish.floor, wish.wish)


def _wish_of(wish: PoolWish) -> int:
    return wish.wish
