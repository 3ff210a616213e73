"""Versions of the snapshot format."""

from collections.abc import Iterable

from genlock_core.claims.identity import FormatRange

FORMAT_1 = 1
READABLE = FormatRange(oldest=FORMAT_1, newest=FORMAT_1)
"""What this version reads and writes; a worker offers it when it registers."""


def writer_format(live: Iterable[FormatRange], *, own: FormatRange = READABLE) -> int:
    """The oldest format that every live worker reads, within what this one writes."""
    raise NotImplementedError
