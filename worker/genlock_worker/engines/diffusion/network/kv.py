"""The two caches that attention reads: a row's ring of latent frames, and a prompt's cross-attention keys and values.

A ring is allocated once with its full shape and written in place. Its keys are stored without rotation: the rotary
embedding is applied when they are read, with the temporal index that the frame has by then.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import TransformerConfig


@dataclass(frozen=True, slots=True, eq=False)
class Ring:
    """One row's self-attention cache: `keys` and `values`, each (L, N * fsl, H, head_dim)."""

    keys: Tensor
    values: Tensor
    means: Tensor
    """(L, N, 2, D) float32: mean key and value of each slot's tokens, by which sinks are compared with new frames."""

    @classmethod
    def empty(
        cls,
        config: TransformerConfig,
        layout: RingLayout,
        *,
        frame_tokens: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> "Ring":
        """Zeros. Raises torch.OutOfMemoryError."""
        shape = (config.layers, layout.slots * frame_tokens, config.heads, config.head_dim)
        means = torch.zeros(config.layers, layout.slots, 2, config.dim, device=device)
        keys, values = (torch.zeros(shape, device=device, dtype=dtype) for _ in range(2))
        return cls(keys, values, means)

    def copy_from(self, other: "Ring") -> None:
        """Become a copy of another ring of the same shape, in place."""
        self.keys.copy_(other.keys)
        self.values.copy_(other.values)
        self.means.copy_(other.means)

    def copy_slot(self, source: int, target: int) -> None:
        """Put what slot `source` holds into slot `target` too, in place."""
        fsl = self.keys.shape[1] // self.means.shape[1]
        for cache in (self.keys, self.values):
            cache[:, target * fsl : (target + 1) * fsl].copy_(cache[:, source * fsl : (source + 1) * fsl])
        self.means[:, target].copy_(self.means[:, source])

    @property
    def bytes(self) -> int:
        return 2 * self.keys.nbytes + self.means.nbytes


def ring_bytes(config: TransformerConfig, layout: RingLayout, *, frame_tokens: int, itemsize: int) -> int:
    """Bytes of one row's ring: 2 (K, V) * L * N * fsl * D * itemsize, and the means."""
    slots = config.layers * layout.slots * config.dim
    return 2 * slots * frame_tokens * itemsize + 2 * slots * 4


@dataclass(frozen=True, slots=True, eq=False)
class TextKv:
    """Cross-attention keys (normed, not rotated) and values of a prompt or a blend: (L, text_length, H, head_dim)."""

    keys: Tensor
    values: Tensor

    @property
    def bytes(self) -> int:
        return 2 * self.keys.nbytes
