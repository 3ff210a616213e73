"""How much memory sessions may take, and who has taken how much: a ledger, decided before anything is allocated.

A session's size is known from its settings alone, because rings have fixed shapes. So a session that would not fit is
refused before it is opened, and does not bring down those that are open. The total is stated without what a forward
needs while it runs.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from genlock_worker.engines.algorithm.blend import BLEND_CHUNKS
from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import TransformerConfig
from genlock_worker.engines.diffusion.network.kv import ring_bytes

WORKSPACE_SHARE = 0.15
"""Share of the free GPU memory that is left to activations, the VAE's work and the allocator's waste."""
MIN_WORKSPACE_BYTES = 2 * 1024**3
"""What a forward and a decode at 480x832 need beside what is resident."""
HOST_SHARE = 0.5
"""Share of the machine's memory that sessions on a CPU may take."""
SMALL_BYTES = 8 * 1024**2
"""Stored inputs, rows in flight and the embeddings of a session."""


class DoesNotFit(Exception):
    """A session needs more memory than is free."""

    def __init__(self, needed: int, free: int) -> None:
        self.needed = needed
        self.free = free
        super().__init__(
            f"{_mib(needed)} MiB of memory are needed and {_mib(free)} MiB are free: fewer sessions, fewer steps or a "
            "smaller resolution would fit"
        )


@dataclass(slots=True)
class MemoryBudget:
    """The ledger; moved by `take` and `give` alone."""

    total_bytes: int
    _taken: dict[str, int] = field(default_factory=dict)

    @property
    def free_bytes(self) -> int:
        return self.total_bytes - sum(self._taken.values())

    @property
    def taken(self) -> Mapping[str, int]:
        """Bytes of each session."""
        return dict(self._taken)

    def take(self, session: str, needed: int) -> None:
        """Set what a session has to `needed` bytes. Raises DoesNotFit, and then nothing has changed."""
        free = self.free_bytes + self._taken.get(session, 0)
        if needed > free:
            raise DoesNotFit(needed, free)
        self._taken[session] = needed

    def give(self, session: str) -> None:
        """All of a session's bytes are free again; unknown ones are ignored."""
        self._taken.pop(session, None)


def text_bytes(config: TransformerConfig, *, itemsize: int) -> int:
    """Bytes of one prompt's cross-attention keys and values."""
    return 2 * config.layers * config.text_length * config.dim * itemsize


def session_bytes(
    config: TransformerConfig, layout: RingLayout, *, rows: int, height: int, width: int, itemsize: int, vae_bytes: int
) -> int:
    """Bytes of a session of `rows` rows; `vae_bytes` are those of its VAE caches.

    While a prompt is blended in, every chunk in flight has another mixture of prompts, and the next chunk one more.
    """
    ring = ring_bytes(config, layout, frame_tokens=config.frame_tokens(height, width), itemsize=itemsize)
    texts = min(rows, BLEND_CHUNKS) + 1
    return rows * ring + texts * text_bytes(config, itemsize=itemsize) + vae_bytes + SMALL_BYTES


def free_for_sessions(device: torch.device) -> int:
    """Bytes that sessions may take on a device on which the model is loaded."""
    if device.type != "cuda":
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * HOST_SHARE)
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(0, free - max(MIN_WORKSPACE_BYTES, int(free * WORKSPACE_SHARE)))


def _mib(count: int) -> int:
    return -(-count // 1024**2) if count > 0 else 0
