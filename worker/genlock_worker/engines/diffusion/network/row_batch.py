"""What one forward of the transformer is given: rows of any sessions, steps and prompts, as tensors.

All that changes from one micro-step to the next lies in the tensors of a `RowBatch`; the pools that they point into are
the engine's for ever. So a forward can be captured in a CUDA graph once for each shape, and replayed for any rows.
"""

from dataclasses import dataclass

from torch import Tensor

from genlock_worker.engines.diffusion.network.kv_pool import KvPool
from genlock_worker.engines.diffusion.network.text_pool import TextPool


@dataclass(frozen=True, slots=True)
class RowOnHost:
    """What the host knows of a row beside the tensors: for kernels that are called row by row, with sizes and slices.

    Kernels that read everything through the tensors do not look at it.
    """

    filled: int
    """Filled slots of its ring after the write (0..N)."""
    run: int | None
    """The first page of its filled slots where these follow each other without a gap and are full, else None."""
    turned: bool
    """Whether its queries stand elsewhere for the sinks than for the window: `sink_positions` != `positions`."""
    doubled: bool
    """Whether its last new frame is written a second time, to `spare`."""
    text: int
    """The slot of its prompt in the text pool."""


@dataclass(frozen=True, slots=True)
class RowBatch:
    """R rows of F latent frames of h x w latent pixels; n = F * fsl tokens per row, fsl tokens per frame, in
    `pages_per_slot` = ceil(fsl / P) pages.

    Every row writes the keys and values of its F frames into its own ring before it attends to it, at `written`, and
    attends to the first `filled` slots of its `table`. Two rows of a batch never share a page but page 0.
    """

    hidden: Tensor
    """x_t, (R, F, C, h, w), in the model's dtype."""
    timesteps: Tensor
    """(R,) float64, 0-1000: one for all frames of a row."""
    positions: Tensor
    """(R, F) float64: temporal index under which each new frame's key is written, and of its query to the window."""
    sink_positions: Tensor
    """(R, F) float64: temporal index of each new frame's query to the sinks."""
    table: Tensor
    """(R, N * pages_per_slot) int32: pages of the filled slots after the write, sinks first; 0 behind them."""
    filled: Tensor
    """(R,) int32: filled slots after the write."""
    written: Tensor
    """(R, F, pages_per_slot) int32: pages of each new frame."""
    spare: Tensor
    """(R, pages_per_slot) int32: pages of the second write of the last new frame; 0 where there is none."""
    spare_positions: Tensor
    """(R,) float64: temporal index under which the second write's key is stored."""
    texts: Tensor
    """(R,) int32: slots of the text pool."""
    pool: KvPool
    text_pool: TextPool
    host: tuple[RowOnHost, ...]

    @property
    def rows(self) -> int:
        return len(self.host)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Filled slots of each row, on the host."""
        return tuple(row.filled for row in self.host)


@dataclass(frozen=True, slots=True)
class Denoised:
    """What a forward gives, on the device."""

    flow: Tensor
    """v = noise - x0, (R, F, C, h, w), float32."""
    similarity: Tensor
    """(R, S) float32, -1 to 1: each sink's likeness to the row's last new frame, the mean over the layers."""
