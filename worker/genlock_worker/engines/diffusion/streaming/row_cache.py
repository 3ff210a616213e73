"""One row's ring as the host knows it: which frame each slot holds, and the input that the frame was computed from.

All that a ring's keys and values are a function of lies here, so that a snapshot is these inputs and a restore computes
them again. Frames are never changed, only replaced; the host's record changes together with the ring, never before.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genlock_worker.engines.algorithm.blend import Weights
from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.network.kv_pool import PagedRing
from genlock_worker.engines.diffusion.streaming.transfers import HostCopy

OPENING_FRAMES = 2
"""Latent frames of the first chunk; they attend to each other, so they are only rebuilt together."""


def first_frame(chunk: int) -> int:
    """The latent frame counter of chunk `chunk`'s first latent frame."""
    return 0 if chunk == 0 else chunk + OPENING_FRAMES - 1


def latent_frames(chunk: int) -> range:
    """The latent frame counters of chunk `chunk`."""
    return range(first_frame(chunk), first_frame(chunk + 1))


def chunk_of(frame: int) -> int:
    """The chunk that latent frame `frame` belongs to."""
    return max(0, frame - OPENING_FRAMES + 1)


@dataclass(frozen=True, eq=False)
class StoredLatent:
    """The input of one latent frame in a ring: what its keys and values were computed from. Never changed."""

    row: int
    """The row that computed it; rows that took that row's ring over share it."""
    frame: int
    latent: Tensor
    """x_t as the row was given it, (C, h, w), in the model's dtype."""
    timestep: float
    prompts: Weights
    refreshed: bool = False
    """Whether it was computed once more, under a later prompt than that of its chunk."""

    @property
    def name(self) -> str:
        """Its name in snapshots, for ever: a refreshed one is another than the one before."""
        return f"r{self.row}.f{self.frame}" + (f".p{self.prompts[-1][0][:16]}" if self.refreshed else "")

    @cached_property
    def copies(self) -> Sequence[HostCopy]:
        """What of it must come from the device, once."""
        return (HostCopy(self.latent),)

    @cached_property
    def block(self) -> Mapping[str, NDArray[np.generic]]:
        """It as arrays, once its copies are there."""
        return {
            "latent": self.copies[0].array,
            "frame": np.array(self.frame, np.int64),
            "timestep": np.array(self.timestep, np.float64),
            "prompts": np.frombuffer(b"".join(bytes.fromhex(digest) for digest, _ in self.prompts), np.uint8),
            "weights": np.array([weight for _, weight in self.prompts], np.float64),
        }

    def under(self, prompts: Weights) -> "StoredLatent":
        """The same input under other prompts."""
        return replace(self, prompts=prompts, refreshed=True)


class SinkDigest:
    """Shows that a row's sinks are what they were; hashed once for each set of them."""

    def __init__(self) -> None:
        self._known: tuple[tuple[StoredLatent, ...], str] | None = None

    def of(self, sinks: tuple[StoredLatent, ...]) -> str:
        """SHA-256 (hex) over the stored inputs of these sinks, `""` for none; the same after a restore."""
        if self._known is None or self._known[0] != sinks:
            self._known = sinks, _digest(sinks)
        return self._known[1]


@dataclass(slots=True, eq=False)
class RowCache:
    """A row's ring and what it holds. Moved on by the session after each forward of the row; dies with the row."""

    ring: PagedRing
    layout: RingLayout
    slots: tuple[StoredLatent, ...] = ()
    """What each filled slot holds."""
    opening: tuple[StoredLatent, ...] = ()
    """The first frames, of which sinks are made: kept for ever, since later sinks were computed beside them."""
    replaced_in: int | None = None
    """The chunk in which a sink was replaced last."""
    digest: SinkDigest = field(default_factory=SinkDigest)
    """Of its sinks; asked where states are made."""

    @property
    def newest(self) -> int:
        """The newest frame that was written; -1 before the first."""
        return max((stored.frame for stored in self.slots), default=-1)

    @property
    def sinks(self) -> tuple[StoredLatent, ...]:
        """What the sink slots hold, by slot."""
        return self.slots[: self.layout.sinks]

    def filled(self, new: Sequence[int]) -> int:
        """How many slots are filled, once the frames `new` were written."""
        return len({*range(len(self.slots)), *(self.layout.slot(frame) for frame in new)})

    def write(self, new: Sequence[StoredLatent]) -> None:
        """Note that a forward wrote `new` into the ring."""
        held = dict(enumerate(self.slots))
        first = {stored.frame: stored for stored in self.opening}
        for stored in new:
            held[self.layout.slot(stored.frame)] = stored
            if stored.frame < opening_length(self.layout):
                first[stored.frame] = stored
        self.slots = tuple(held[slot] for slot in range(len(held)))
        self.opening = tuple(first[frame] for frame in range(len(first)))

    def replace_sink(self, sink: int, *, chunk: int) -> None:
        """Take the newest frame, which is chunk `chunk`'s and was written a second time, for sink `sink` as well."""
        newest = self.layout.slot(self.newest)
        self.ring.switch(sink)
        self.slots = (*self.slots[:sink], self.slots[newest], *self.slots[sink + 1 :])
        self.replaced_in = chunk

    def take_over(self, other: "RowCache") -> None:
        """Become a copy of another row's cache, its history included."""
        self.ring.copy_from(other.ring)
        self.slots = other.slots
        self.opening = other.opening
        self.replaced_in = other.replaced_in


def _digest(sinks: Sequence[StoredLatent]) -> str:
    digest = hashlib.sha256()
    for stored in sinks:
        latent = stored.block["latent"]
        digest.update(f"{stored.frame} {float(stored.timestep)} {latent.dtype} {latent.shape}".encode())
        digest.update(np.ascontiguousarray(latent).tobytes())
    return digest.hexdigest() if sinks else ""


def opening_length(layout: RingLayout) -> int:
    """How many of a session's first frames are kept: the sinks, and what was computed in one pass with them."""
    return max(layout.sinks, OPENING_FRAMES) if layout.sinks else 0
