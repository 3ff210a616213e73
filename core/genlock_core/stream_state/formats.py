"""The versions of the snapshot format: which there are, how each packs its payload, and which one a worker writes.

A new format is one more entry in FORMATS, and an old one is read for ever. A worker writes the newest format that all
live workers read. So an old worker that comes back during a rollback is written for from then on, and what the older
format cannot say stays off until the last worker that reads nothing else has gone.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from genlock_core.claims.identity import FormatRange
from genlock_core.stream_state import tensors
from genlock_core.stream_state.tensors import Tensors

FORMAT_1 = 1
FORMAT_2 = 2
"""What is in flight stands in it once, with the frames of each chunk, and there is a digest of each row's sinks. Its
blocks are those of format 1: a change between the two writes a head, and no block again."""


@dataclass(frozen=True, slots=True)
class PayloadFormat:
    """How one format turns facts (JSON) and arrays into bytes and back; both raise ValueError."""

    pack: Callable[[Mapping[str, object], Tensors], bytes]
    unpack: Callable[[bytes], tuple[dict[str, object], Tensors]]

    blocks: int
    """The number that its blocks bear: that of the oldest format which has the same blocks."""


FORMATS: Mapping[int, PayloadFormat] = MappingProxyType(
    {
        FORMAT_1: PayloadFormat(tensors.pack, tensors.unpack, blocks=FORMAT_1),
        FORMAT_2: PayloadFormat(tensors.pack, tensors.unpack, blocks=FORMAT_1),
    }
)
"""Every format that this version reads and writes; their numbers have no gaps."""

READABLE = FormatRange(oldest=min(FORMATS), newest=max(FORMATS))
"""What a worker of this version offers when it registers."""


def writer_format(live: Iterable[FormatRange], *, own: FormatRange = READABLE) -> int:
    """The newest format that every live worker reads, or as near to it as a worker of formats `own` can write.

    Where nobody is known to live it is the oldest, which everybody reads who may come.
    """
    wanted = min((worker.newest for worker in live), default=own.oldest)
    return min(max(wanted, own.oldest), own.newest)
