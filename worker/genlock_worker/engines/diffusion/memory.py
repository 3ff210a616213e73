"""How much memory sessions may take, and who has taken how much: a ledger, decided before anything is allocated.

A session's size is known from its settings alone, because a ring has as many pages as its picture's size says. So a
session that would not fit is refused before it is opened, and does not bring down those that are open. The total is
stated without the workspace, which is for what runs: a forward, and beside it one call of the VAE's encoder and one of
its decoder. Where these two need more at the size of some session than the workspace has, the rest is set aside once
for all sessions.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import TransformerConfig
from genlock_worker.engines.diffusion.network.kv_pool import page_bytes, ring_slots
from genlock_worker.engines.diffusion.network.pages import pages_per_slot
from genlock_worker.engines.diffusion.network.text_pool import text_bytes

WORKSPACE_SHARE = 0.15
"""Share of the free GPU memory that is left to activations, the VAE's work and the allocator's waste."""
MIN_WORKSPACE_BYTES = 2 * 1024**3
"""The workspace is this at least."""
FORWARD_BYTES = 1024**3
"""What of the workspace is left to a forward: activations of some rows, beside what is resident."""
HOST_SHARE = 0.5
"""Share of the machine's memory that sessions on a CPU may take."""
SMALL_BYTES = 8 * 1024**2
"""Stored inputs, rows in flight and the embeddings of a session."""
TYPICAL_ROWS = 2
TYPICAL_HEIGHT = 512
TYPICAL_WIDTH = 512
"""The session by which a GPU's memory is shared out between its pools and what lies outside them: a small one, since
prompts' keys and values are as large for any picture, and the rest follows the picture's area."""


class DoesNotFit(Exception):
    """A session needs more memory than is free."""

    def __init__(self, needed: int, free: int) -> None:
        self.needed = needed
        self.free = free
        super().__init__(
            f"{_mib(needed)} MiB of memory are needed and {_mib(free)} MiB are free: fewer sessions, fewer steps or a "
            "smaller resolution would fit"
        )


class SessionBytes(NamedTuple):
    """Bytes of a session by what they are for; also what there is for all sessions."""

    rings: int
    """Pages of the pool of keys and values."""
    texts: int
    """Slots of the prompts' pool."""
    rest: int
    """The VAE's caches and what is small."""


@dataclass(slots=True)
class MemoryBudget:
    """The ledger; moved by `take` and `give` alone."""

    total_bytes: int
    """What sessions may take together."""
    vae_bytes: int = 0
    """What of the workspace is there for the VAE's calls."""
    parts: SessionBytes | None = None
    """How the total is shared out where the pools have fixed sizes; None where they grow with what is taken."""
    _taken: dict[str, SessionBytes] = field(default_factory=dict)
    _calls: dict[str, int] = field(default_factory=dict)
    """By session, what the VAE's calls need for one row at its size."""

    @property
    def free_bytes(self) -> int:
        return self.total_bytes - sum(map(sum, self._taken.values())) - self._beyond_workspace(self._calls)

    @property
    def taken(self) -> Mapping[str, int]:
        """Bytes of each session."""
        return {session: sum(taken) for session, taken in self._taken.items()}

    def take(self, session: str, needed: SessionBytes, *, call_bytes: int | None = None) -> None:
        """Set what a session has, and what the VAE's calls need for a row of it (None: as it was).

        Raises DoesNotFit, and then nothing has changed.
        """
        calls = dict(self._calls)
        if call_bytes is not None:
            calls[session] = call_bytes
        others = [taken for name, taken in self._taken.items() if name != session]
        others.append(SessionBytes(rings=0, texts=0, rest=self._beyond_workspace(calls)))

        free = self.total_bytes - sum(map(sum, others))
        if sum(needed) > free:
            raise DoesNotFit(sum(needed), free)
        for part, total in enumerate(self.parts or ()):
            left = total - sum(taken[part] for taken in others)
            if needed[part] > left:
                raise DoesNotFit(needed[part], left)
        self._taken[session] = needed
        self._calls = calls

    def give(self, session: str) -> None:
        """All of a session's bytes are free again; unknown ones are ignored."""
        self._taken.pop(session, None)
        self._calls.pop(session, None)

    def _beyond_workspace(self, calls: Mapping[str, int]) -> int:
        """What the largest of the calls needs beyond what is there for them."""
        return max(0, max(calls.values(), default=0) - self.vae_bytes)


def session_bytes(
    config: TransformerConfig, layout: RingLayout, *, rows: int, height: int, width: int, itemsize: int, vae_bytes: int
) -> SessionBytes:
    """Bytes of a session of `rows` rows; `vae_bytes` are those of its VAE caches.

    Where a user types on, every chunk in flight has another mixture of prompts, and the next chunk one more.
    """
    pages = rows * ring_slots(layout) * pages_per_slot(config.frame_tokens(height, width))
    texts = rows + 1
    return SessionBytes(
        rings=pages * page_bytes(config, itemsize=itemsize),
        texts=texts * text_bytes(config, itemsize=itemsize),
        rest=vae_bytes + SMALL_BYTES,
    )


def shared_out(total_bytes: int, typical: SessionBytes) -> SessionBytes:
    """A device's memory in the proportions of a typical session, for pools that cannot grow.

    Sessions with more steps than the typical one run out of rings first, and those with fewer out of the rest.
    """
    whole = sum(typical)
    rings, texts = (total_bytes * part // whole for part in (typical.rings, typical.texts))
    return SessionBytes(rings, texts, total_bytes - rings - texts)


def free_for_sessions(device: torch.device) -> int:
    """Bytes that sessions may take on a device on which the model is loaded."""
    free = _free_bytes(device)
    if device.type != "cuda":
        return int(free * HOST_SHARE)
    return max(0, free - max(MIN_WORKSPACE_BYTES, int(free * WORKSPACE_SHARE)))


def free_for_vae(device: torch.device, *, sessions: int) -> int:
    """Bytes that the VAE's calls may need while they run, where sessions may take so many together."""
    return max(0, _free_bytes(device) - sessions - FORWARD_BYTES)


def _free_bytes(device: torch.device) -> int:
    """What a device has for what comes after the model; of a host all that it has."""
    if device.type != "cuda":
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _mib(count: int) -> int:
    return -(-count // 1024**2) if count > 0 else 0
