"""Snapshots as bytes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from genlock_core.media import SourcePosition

Tensors = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a session's next owner needs. `source` is the last source frame that was fed, None for a session without one."""

    session: str
    model: str
    format: int
    epoch: int
    chunk: int
    control_id: str
    attributes: Mapping[str, JsonValue]
    head: Tensors
    blocks: Mapping[str, Tensors]
    source: SourcePosition | None = None


@dataclass(frozen=True, slots=True)
class SnapshotDelta:
    """What to write: `SnapshotStore.write(..., head, blocks, keep)`; hand `digests` to the next `encode_delta`."""

    head: bytes
    blocks: Mapping[str, bytes]
    keep: frozenset[str]
    digests: Mapping[str, str]


def encode_delta(snapshot: Snapshot, *, written: Mapping[str, str]) -> SnapshotDelta:
    """Encode the head and the blocks that are not in `written` (id -> digest of what is stored; {}: a whole snapshot)."""
    raise NotImplementedError


def decode(head: bytes, blocks: Mapping[str, bytes], *, session: str, model: str) -> Snapshot:
    """Raises SnapshotRefused."""
    raise NotImplementedError


def block_digests(head: bytes, *, session: str) -> Mapping[str, str]:
    """The digests of a stored head's blocks: the `written` of a worker that restored it. Raises SnapshotRefused."""
    raise NotImplementedError
