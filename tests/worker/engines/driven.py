"""An engine under test, driven one batch at a time; whatever is not a step is asked of the engine itself."""

from typing import Any

from genlock_worker.engines.contract import Chunk, Engine
from genlock_worker.engines.stepwise import Stepwise


class Driven(Stepwise):
    """Remembers beside that the denoising steps that each session's last chunk was given."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.given_steps: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def feed(self, session: str, chunk: Chunk) -> int:
        fed = self.taken_in(session, chunk, steps=self._steps.get(session, 1))
        self.given_steps[session] = fed.steps
        return fed.rows

    def steps_in_use(self, session: str) -> int:
        return self.given_steps[session]

    def wanted_steps(self, session: str) -> int:
        """The denoising steps that the session's next chunk is to have."""
        return self._steps[session]
