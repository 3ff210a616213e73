"""What one forward of the transformer is given: rows of any sessions, steps and prompts, as tensors.

All that changes from one micro-step to the next lies in the tensors of a `RowBatch`, never in Python numbers, so that a
forward can be captured in a CUDA graph and replayed: the shapes, the rings and the texts are the graph's key.
"""

from dataclasses import dataclass

from torch import Tensor

from genlock_worker.engines.diffusion.network.kv import Ring, TextKv


@dataclass(frozen=True, slots=True)
class RowBatch:
    """R rows of F latent frames of h x w latent pixels; n = F * fsl tokens per row, fsl tokens per frame.

    Every row writes the keys and values of its F frames into its own ring before it attends to it, at `places`, and
    attends to the first `valid` tokens of it. Two rows of a batch never share a ring.
    """

    hidden: Tensor
    """x_t, (R, F, C, h, w), in the model's dtype."""
    timesteps: Tensor
    """(R,) float64, 0-1000: one for all frames of a row."""
    query_positions: Tensor
    """(R, F) float64: temporal index of each new frame."""
    key_positions: Tensor
    """(R, N) float64: temporal index of what each slot of the ring holds after the write."""
    places: Tensor
    """(R, n) int64: where in the ring each token goes (slot * fsl + token)."""
    slots: Tensor
    """(R, F) int64: the slot of each new frame."""
    rings: tuple[Ring, ...]
    texts: tuple[TextKv, ...]
    valid: tuple[int, ...]
    """Tokens of each ring that are attended to, the new ones included."""

    @property
    def rows(self) -> int:
        return len(self.rings)


@dataclass(frozen=True, slots=True)
class Denoised:
    """What a forward gives, on the device."""

    flow: Tensor
    """v = noise - x0, (R, F, C, h, w), float32."""
    similarity: Tensor
    """(R, S) float32, -1 to 1: each sink's likeness to the row's last new frame, the mean over the layers."""
