"""The mock engine: the Engine protocol with a painter in the model's place and a model's timing.

It needs no GPU and no weights, yet everything that the system promises of a stream (sinks, window, rows in flight,
prompt changes, exact snapshots) is real in it and visible in its pictures.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from genlock_core.clock import Clock
from genlock_worker.engines.contract import (
    Change,
    Chunk,
    EngineFailure,
    EngineMemory,
    EngineState,
    Row,
    RowResult,
    StreamSettings,
    chunk_frames,
)
from genlock_worker.engines.mock import state as states
from genlock_worker.engines.mock.session import MockSession
from genlock_worker.engines.mock.textures import Brushes, make_brushes
from genlock_worker.engines.mock.timing import StepTiming

logger = logging.getLogger(__name__)


class MockEngine:
    """An Engine that paints on the CPU. Not thread-safe: all calls but `prepare` come from the engine thread.

    `wait` blocks for the given seconds; with the system clock that is `time.sleep`, with a manual one its `advance`.
    `devices`: how many it stands for; the timing is theirs together.
    `brushes` never change, so engines of one process may share them; left out, the engine makes its own (0.1 s).
    OpenCV is held to one thread (for the whole process), so that one engine takes one core.
    """

    def __init__(
        self,
        model: str,
        timing: StepTiming,
        clock: Clock,
        wait: Callable[[float], None],
        *,
        devices: int = 1,
        brushes: Brushes | None = None,
    ) -> None:
        self._model = model
        self._devices = devices
        self._timing = timing
        self._clock = clock
        self._wait = wait
        self._brushes = brushes or make_brushes()
        self._sessions: dict[str, MockSession] = {}
        self._rows_painted = 0
        cv2.setNumThreads(1)

    @property
    def model(self) -> str:
        """The name of the ModelProfile whose timing it follows."""
        return self._model

    @property
    def devices(self) -> int:
        """As many as it was told to stand for."""
        return self._devices

    @property
    def most_rows(self) -> int | None:
        """None: rows are painted one after the other."""
        return None

    @property
    def progress(self) -> int:
        """Rows that were painted."""
        return self._rows_painted

    @property
    def memory(self) -> EngineMemory | None:
        """None: it admits whoever comes."""
        return None

    def session_memory(self, session: str) -> int | None:
        """None: nobody counts."""
        self._session(session)
        return None

    def prepare(self, prompt: str) -> None:
        """Nothing: a style is made of its prompt's digest in no time."""

    def open(self, session: str, settings: StreamSettings) -> None:
        """Start a session from nothing. Raises ValueError if it is open already or cannot be served."""
        self._check_free(session)
        self._sessions[session] = MockSession.opened(settings, self._brushes)

    def restore(self, session: str, settings: StreamSettings, state: EngineState) -> None:
        """Start a session from a snapshot; its next output is the one that the snapshot's session would have given.

        Prompt, steps and noise scale are those of the snapshot; apply what was changed since. Raises EngineFailure if
        the state is damaged or does not belong to these settings, ValueError if the session is open already.
        """
        self._check_free(session)
        try:
            restored = states.from_state(state, settings, self._brushes, model=self._model)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, cv2.error) as problem:
            raise EngineFailure(session, f"the snapshot cannot be restored: {problem}") from problem
        self._sessions[session] = restored
        logger.info("session restored", extra={"session": session, "chunk": state.chunk})

    def close(self, session: str) -> None:
        """Forget a session; unknown ones are ignored."""
        self._sessions.pop(session, None)

    def apply(self, session: str, change: Change) -> None:
        """Change prompt, steps or noise scale from the next chunk on."""
        self._session(session).apply(change)

    def feed(self, session: str, chunk: Chunk) -> int:
        """Take the next chunk, in order; returns the denoising steps that it will run."""
        return self._session(session).feed(chunk)

    def steps_in_use(self, session: str) -> int:
        """The denoising steps of the last chunk fed."""
        return self._session(session).fed_steps

    def run(self, rows: Sequence[Row]) -> Sequence[RowResult]:
        """Run rows one after the other, then wait until the hardware it stands for would have been done."""
        # All rows are checked before one is run: a row that cannot be run leaves every session as it was.
        for row in rows:
            try:
                self._session(row.session).check_row(row.step, row.chunk)
            except ValueError as mistake:
                raise EngineFailure(row.session, str(mistake)) from mistake

        started = self._clock.monotonic()
        results = []
        for row in rows:
            results.append(RowResult.shown(row, self._session(row.session).run_row(row.step, row.chunk)))
            self._rows_painted += 1

        # Painting takes less than the GPU that it stands for; the rest of that time is waited for.
        left = self._simulated_s(rows) - (self._clock.monotonic() - started)
        if left > 0:
            self._wait(left)
        return results

    def snapshot(self, session: str) -> EngineState:
        """The session's state now: references to arrays that are never written to again."""
        return states.to_state(self._session(session), model=self._model)

    def sink_digest(self, session: str) -> str:
        """SHA-256 (hex) over the sink frames of row 0 (a change of steps leaves it as it is), `""` before the first."""
        sinks = self._session(session).sinks()
        digest = hashlib.sha256()
        for stored in sinks:
            digest.update(f"{stored.frame} {stored.timestep} {stored.level!r} {stored.latent.shape}".encode())
            digest.update(np.ascontiguousarray(stored.latent).tobytes())
        return digest.hexdigest() if sinks else ""

    def _session(self, session: str) -> MockSession:
        try:
            return self._sessions[session]
        except KeyError:
            raise ValueError(f"session {session} is not open") from None

    def _check_free(self, session: str) -> None:
        if session in self._sessions:
            raise ValueError(f"session {session} is open already")

    def _simulated_s(self, rows: Sequence[Row]) -> float:
        """The largest shape among the rows decides: a forward is as long as its longest member."""
        shapes = {(self._sessions[row.session].settings, chunk_frames(row.chunk)) for row in rows}
        return max(
            (
                self._timing.seconds(rows=len(rows), width=one.width, height=one.height, frames=frames)
                for one, frames in shapes
            ),
            default=0.0,
        )
