"""Whether a worker is alive and whether it is ready, for probes: facts that the event loop and the engine leave behind.

All of it is read from another thread (`probes`), so that an event loop that is stuck cannot keep its own silence.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from genlock_core.clock import Clock
from genlock_worker.probes.start_up import StartUp

STUCK_S = 15.0
"""An engine or an agent's loop that has not come round for this long is stuck. Its sessions have long moved by then:
this is when it is not expected to come back."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What a worker shows of itself once it serves.

    `progress`: the engine loop's counter. `rounds`: when each of the agent's loops last came round, by its clock.
    `leaving`: why it takes no sessions any more, "" while it does.
    """

    progress: Callable[[], int]
    rounds: Mapping[str, float]
    leaving: Callable[[], str]


class WorkerHealth:
    """Answers for /healthz and /readyz, each "" if all is well. `look` is called all the time, by any thread."""

    def __init__(self, start_up: StartUp, clock: Clock) -> None:
        self.start_up = start_up
        self._clock = clock
        self._serving: Serving | None = None
        self._progress = -1
        self._progressed_s = clock.monotonic()

    def serves(self, serving: Serving) -> None:
        """The start is over: from now on there is something that can be stuck."""
        self._progress = serving.progress()
        self._progressed_s = self._clock.monotonic()
        self._serving = serving

    def look(self) -> None:
        """Note whether the engine has made progress since the last look."""
        if self._serving is not None and (progress := self._serving.progress()) != self._progress:
            self._progress = progress
            self._progressed_s = self._clock.monotonic()

    def ailment(self) -> str:
        """What is stuck. Nothing is before the worker serves: a model may take its time to load."""
        if self._serving is None:
            return ""
        self.look()
        now_s = self._clock.monotonic()
        stuck = [f"the agent's {name}" for name, at_s in self._serving.rounds.items() if now_s - at_s > STUCK_S]
        if now_s - self._progressed_s > STUCK_S:
            stuck.insert(0, "the engine loop")
        return f"stuck for more than {STUCK_S:.0f} s: {', '.join(stuck)}" if stuck else ""

    def ready(self) -> str:
        """The answer of /readyz while all is well: the word, and what came of the start."""
        return ": ".join(["ready", *filter(None, ["; ".join(self.start_up.results)])])

    def unready(self) -> str:
        """Why no session should be sent here. A Redis that is away is no reason: what is here is served on."""
        return self.start_up.awaits or (self._serving.leaving() if self._serving is not None else "starting")
