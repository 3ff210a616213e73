"""A chunk on its way through its denoising steps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genlock_worker.engines.algorithm.blend import Weights
from genlock_worker.engines.algorithm.noise import NoiseLevel
from genlock_worker.engines.diffusion.network.kv import TextKv
from genlock_worker.engines.diffusion.streaming.transfers import to_host


@dataclass(slots=True)
class ChunkInFlight:
    """A chunk between `feed` and its last row; only the session moves it on."""

    index: int
    timesteps: tuple[float, ...]
    """One per row; the first is the noise controller's."""
    steps_before: int
    """Rows of the chunk before: rows from there on are new with this chunk and take the last row's ring over."""
    level: NoiseLevel
    prompts: Weights
    text: TextKv
    refreshes: bool
    """Whether its rows compute their rings anew under its prompt before they run."""
    hidden: Tensor
    """What the next row is given, (F, C, h, w) in the model's dtype."""
    done: int = 0
    """Rows that have run; the next one is row `done`."""
    host_hidden: tuple[int, NDArray[np.generic]] | None = None
    """`done` and the copy of `hidden` that was made then."""

    @property
    def steps(self) -> int:
        """Its rows: the denoising steps, and the clean row of a session without a camera."""
        return len(self.timesteps)

    def stored_hidden(self) -> NDArray[np.generic]:
        """`hidden` on the host, copied from the device once."""
        if self.host_hidden is None or self.host_hidden[0] != self.done:
            self.host_hidden = self.done, to_host(self.hidden)
        return self.host_hidden[1]
