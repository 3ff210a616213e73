"""A chunk on its way through its denoising steps."""

from dataclasses import dataclass

from torch import Tensor

from genlock_worker.engines.algorithm.blend import Weights
from genlock_worker.engines.algorithm.noise import NoiseLevel
from genlock_worker.engines.diffusion.network.text_pool import TextKv
from genlock_worker.engines.diffusion.streaming.transfers import HostCopy
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
    _copy: tuple[Tensor, HostCopy] | None = None
    """Of which `hidden`, and it."""

    @property
    def is_booked(self) -> bool:
        """Whether all of its rows were submitted: the session is past it, whatever the device will say."""
        return self.submitted == self.rows

    def hidden_copy(self) -> HostCopy:
        """The copy of `hidden` on the host, one for all states that have it."""
        if self._copy is None or self._copy[0] is not self.hidden:
            self._copy = self.hidden, HostCopy(self.hidden)
        return self._copy[1]
