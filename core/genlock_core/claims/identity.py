"""Who a worker is: a name and an incarnation, and what it offers when it registers."""

import uuid
from dataclasses import dataclass
from typing import Self

CAPACITY = 1_000
"""A whole worker, in thousandths: if k equal sessions run in time on it, each costs 1000 // k."""


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """A worker process. The name outlives a restart, the incarnation does not; a new one voids the old one's claims."""

    name: str
    incarnation: str

    @classmethod
    def fresh(cls, name: str) -> Self:
        """The identity of a process that starts now."""
        return cls(name, str(uuid.uuid4()))

    def __str__(self) -> str:
        return f"{self.name} ({self.incarnation[:8]})"


@dataclass(frozen=True, slots=True)
class FormatRange:
    """The snapshot formats that a worker can read, both ends included; formats count from 1."""

    oldest: int
    newest: int

    def reads(self, version: int) -> bool:
        """Whether a snapshot of that format can be restored; 0 means that there is no snapshot yet."""
        return version == 0 or self.oldest <= version <= self.newest


@dataclass(frozen=True, slots=True)
class WorkerOffer:
    """What a worker brings when it registers."""

    identity: WorkerIdentity
    pool: str
    model: str
    capacity: int
    """In thousandths of a worker."""
    address: str
    """Of its link server, host:port."""
    formats: FormatRange
    gpu_product: str = ""
    """With `gpus` what `sizing` knows its pool by."""
    gpus: int = 0
    """Those that its engine computes on."""
    engine: str = ""
    """The engine's name; empty from a worker that does not say."""
    halves: bool = False
    """It can leave out every second frame of a session, where that is what is granted."""
