"""The versions of the snapshot format: which there are, how each packs its payload, and which one a worker writes.

A new format is one more entry in FORMATS. Its first release still writes the older one as long as a live worker reads
nothing else, so that sessions move both ways during a rollout, and during a rollback too.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from genlock_core.claims.identity import FormatRange
from genlock_core.stream_state import tensors
from genlock_core.stream_state.tensors import Tensors

FORMAT_1 = 1


@dataclass(frozen=True, slots=True)
class PayloadFormat:
    """How one format turns facts (JSON) and arrays into bytes and back; both raise ValueError."""

    pack: Callable[[Mapping[str, object], Tensors], bytes]
    unpack: Callable[[bytes], tuple[dict[str, object], Tensors]]


FORMATS: Mapping[int, PayloadFormat] = MappingProxyType({FORMAT_1: PayloadFormat(tensors.pack, tensors.unpack)})
"""Every format that this version reads and writes; their numbers have no gaps."""

READABLE = FormatRange(oldest=min(FORMATS), newest=max(FORMATS))
"""What a worker of this version offers when it registers."""


def writer_format(live: Iterable[FormatRange], *, own: FormatRange = READABLE) -> int:
    """The oldest format that every live worker reads, or as near to it as a worker of formats `own` can write."""
    wanted = max((worker.oldest for worker in live), default=own.oldest)
    return min(max(wanted, own.oldest), own.newest)
