"""A chunk on its way through its denoising steps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genlock_worker.engines.algorithm.blend import Weights
from genlock_worker.engines.algorithm.noise import NoiseLevel
from genlock_worker.engines.diffusion.network.text_pool import TextKv
from genlock_worker.engines.diffusion.streaming.transfers import to_host
from genlock_worker.engines.readiness import ChunkInFlight


@dataclass(slots=True, eq=False, kw_only=True)
class DenoisedChunk(ChunkInFlight):
    """A chunk in flight with what it is denoised from; only the session moves it on, once a row was handed over.

    When its rows come back is not noted here: the device has an order.
    """

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
    host_hidden: tuple[int, NDArray[np.generic]] | None = None
    """How many rows had been submitted, and the copy of `hidden` that was made then."""

    @property
    def is_booked(self) -> bool:
        """Whether all of its rows were submitted: the session is past it, whatever the device will say."""
        return self.submitted == self.rows

    def stored_hidden(self) -> NDArray[np.generic]:
        """`hidden` on the host, copied from the device once."""
        if self.host_hidden is None or self.host_hidden[0] != self.submitted:
            self.host_hidden = self.submitted, to_host(self.hidden)
        return self.host_hidden[1]
