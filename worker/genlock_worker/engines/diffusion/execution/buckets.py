"""For how many rows forwards are captured, and which of them a batch takes. Pure: no tensor lies here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

ROWS: Final = (1, 2, 4, 6, 8, 12, 16)
"""Rows of the forwards that are captured: at most a quarter of a forward's rows is for nothing."""


@dataclass(frozen=True, slots=True, order=True)
class Bucket:
    """A forward of one shape: rows of one latent frame of height x width latent pixels."""

    rows: int
    height: int
    width: int

    @property
    def area(self) -> int:
        """Latent pixels of all rows, by which what a forward works in grows."""
        return self.rows * self.height * self.width


def smallest(rows: int, there: Iterable[int]) -> int | None:
    """The smallest of these numbers of rows that holds `rows`; None where none does.

    More rows than any holds are run as they are: a device is at them for so long that the launches hide behind it,
    while two forwards would read all weights twice.
    """
    return min((held for held in there if held >= rows), default=None)


def largest_first(sizes: Sequence[tuple[int, int]]) -> tuple[Bucket, ...]:
    """The buckets of all sizes (height, width) in the order in which they are captured.

    They share their memory, which so is taken once, by the first of them.
    """
    buckets = {Bucket(rows, height, width) for height, width in sizes for rows in ROWS}
    return tuple(sorted(buckets, key=lambda bucket: (-bucket.area, bucket)))
