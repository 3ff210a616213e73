"""The exact choice of one option for each of several groups, so that their sum of value is the most that fits.

The multiple-choice knapsack by dynamic programming over the capacity (Kellerer, Pferschy, Pisinger: Knapsack Problems,
section 11.5). Whole numbers only: sums in any order are the same, so a plan does not depend on the order of its input.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

MOST_VALUE: Final = 2**56
"""Of all groups together, either way."""
MOST_OPTIONS: Final = 32
"""Of a group."""
_NOTHING_FITS: Final = -(2**57)
"""Stays below `-MOST_VALUE` whatever is added to it."""
_PICK_BITS: Final = 5
"""Below each value stands which option it came from: the greater of two numbers brings its option along."""


class Weighed(NamedTuple):
    """One option of a group."""

    cost: int
    """Not negative."""
    value: int


class Knapsack:
    """What fits into a capacity, best for every part of it; groups are put in one after another.

    Each group takes one pass over the capacity for each of its options: 20 groups of 12 options and a capacity of 1,000
    are 240 passes over 1,000 numbers.
    """

    def __init__(self, capacity: int) -> None:
        self._best = np.zeros(capacity + 1, dtype=np.int64)
        """By cost: the most value that all groups have together for no more than this."""
        self._picks: list[np.ndarray] = []
        """Of each group, by cost of it and all groups before: the option that was taken."""
        self._costs: list[list[int]] = []

    @property
    def value(self) -> int | None:
        """The most that one option of each group is worth; None if they do not fit together."""
        return self._told(int(self._best[-1]))

    def put(self, options: Sequence[Weighed]) -> None:
        """One more group, of `MOST_OPTIONS` at most. Of options that are worth the same the first one is taken."""
        before = self._best << _PICK_BITS
        best = np.full_like(before, _NOTHING_FITS * MOST_OPTIONS)
        with_it = np.empty_like(before)
        for index, (cost, value) in enumerate(options):
            rest = len(before) - cost
            if rest > 0:
                np.add(before[:rest], (value << _PICK_BITS) + MOST_OPTIONS - 1 - index, out=with_it[:rest])
                np.maximum(best[cost:], with_it[:rest], out=best[cost:])

        self._best = best >> _PICK_BITS
        self._picks.append((MOST_OPTIONS - 1 - (best & (MOST_OPTIONS - 1))).astype(np.int8))
        self._costs.append([cost for cost, _ in options])

    def value_with(self, options: Sequence[Weighed]) -> int | None:
        """What `value` would be with this group; nothing is put in."""
        room = len(self._best) - 1
        found = [int(self._best[room - cost]) + value for cost, value in options if cost <= room]
        return self._told(max(found, default=_NOTHING_FITS))

    def picks(self) -> list[int]:
        """The option of each group, in the order in which they were put in. Raises ValueError if nothing fits."""
        if self.value is None:
            raise ValueError("the groups do not fit together")
        room = len(self._best) - 1
        found: list[int] = []
        for picks, costs in zip(reversed(self._picks), reversed(self._costs), strict=True):
            taken = int(picks[room])
            found.append(taken)
            room -= costs[taken]
        return found[::-1]

    @staticmethod
    def _told(value: int) -> int | None:
        return value if value > -MOST_VALUE else None
