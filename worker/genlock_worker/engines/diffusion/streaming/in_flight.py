"""A chunk on its way through its denoising steps."""

from concurrent.futures import Future
from dataclasses import dataclass

from torch import Tensor

from genlock_worker.engines.algorithm.blend import Weights
from genlock_worker.engines.algorithm.noise import NoiseLevel
from genlock_worker.engines.contract import EngineFailure
from genlock_worker.engines.diffusion.network.text_pool import TextKv
from genlock_worker.engines.diffusion.streaming.one_thread import when_done
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
    given: Future[Tensor]
    """What the next row is given, (F, C, h, w) in the model's dtype. It may still be in the making before the first
    row; raises EngineFailure if that has failed."""
    _copy: tuple[Future[Tensor], HostCopy] | None = None
    """Of which `given`, and it."""

    @property
    def hidden(self) -> Tensor:
        """What the next row is given, once it is there. Raises EngineFailure if it could not be made."""
        problem = self.given.exception()
        if isinstance(problem, EngineFailure):
            # Another one: what is raised refers to who raises it, and what lies in the future stays there.
            raise EngineFailure(problem.session, problem.reason)
        return self.given.result()

    def taken_in(self) -> Future[None]:
        """What it is given is awaited from here on: it counts as being encoded until the future is done."""
        taken: Future[None] = Future()

        def note(_: Future[Tensor]) -> None:
            self.encoding = False
            taken.set_result(None)

        self.encoding = True
        when_done(self.given, note)
        return taken

    def go_on(self, latents: Tensor) -> None:
        """A row was submitted, and makes `latents` for the next one."""
        self.submitted += 1
        self.given = at_hand(latents)

    @property
    def is_booked(self) -> bool:
        """Whether all of its rows were submitted: the session is past it, whatever the device will say."""
        return self.submitted == self.rows

    def hidden_copy(self) -> HostCopy:
        """The copy of what is given on the host, one for all states that have it."""
        if self._copy is None or self._copy[0] is not self.given:
            self._copy = self.given, HostCopy(self.given)
        return self._copy[1]


def at_hand(latents: Tensor) -> Future[Tensor]:
    """What nobody has to wait for."""
    given: Future[Tensor] = Future()
    given.set_result(latents)
    return given
