"""The one thing that the scheduler knows of a model: open a session, feed it chunks, run rows, snapshot, restore.

Everything but `prepare`, `progress` and `model` is called on the engine thread alone. All state of a session lives in
the engine under its name and ends with `close`. Sessions share no state, so a session's output never depends on which
others run beside it.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FIRST_CHUNK_FRAMES = 5
"""Pixel frames of a session's first chunk: 2 latent frames (the VAE codes its first frame alone)."""
CHUNK_FRAMES = 4
"""Pixel frames of every later chunk: 1 latent frame."""

Frames = NDArray[np.uint8]
"""RGB pictures, shape (frames, height, width, 3)."""


def chunk_frames(index: int) -> int:
    """Pixel frames of chunk `index`, counted from the start of the stream (0 is the first chunk)."""
    return FIRST_CHUNK_FRAMES if index == 0 else CHUNK_FRAMES


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What an engine must know to open a session."""

    prompt: str
    steps: int
    width: int
    height: int
    frame_rate: int
    seed: int
    noise_scale: float
    text_only: bool = False
    """True for a source of type `none`: chunks carry no frames."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change that takes effect with the next chunk fed; None leaves the field as it is."""

    prompt: str | None = None
    steps: int | None = None
    noise_scale: float | None = None
    reset: str | None = None
    """Begin anew, by whose request: the loop closes and opens the session. No engine is told of it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One input chunk. `frames` has `chunk_frames(index)` pictures, or is None for a text-only session."""

    index: int
    frames: Frames | None


@dataclass(frozen=True, slots=True)
class Row:
    """One denoising step of one chunk of one session: the unit of batching. `step` counts from 0."""

    session: str
    step: int
    chunk: int


@dataclass(frozen=True, slots=True)
class BatchShape:
    """Rows run in one forward only if these are equal."""

    model: str
    width: int
    height: int
    frames: int
    """Pixel frames of the chunk (5 or 4)."""


@dataclass(frozen=True, slots=True)
class RowResult:
    """What a row gave."""

    row: Row
    pictures: Future[Frames] | None = None
    """After its chunk's last row: the generated chunk (frames, height, width, 3), which may still be being decoded.

    Those of one session are done in order, on a thread of the engine's. Raises EngineFailure if it cannot be shown.
    """

    @classmethod
    def shown(cls, row: Row, frames: Frames | None) -> "RowResult":
        """A result whose pictures, if it has any, are there."""
        if frames is None:
            return cls(row)
        pictures: Future[Frames] = Future()
        pictures.set_result(frames)
        return cls(row, pictures)

    @property
    def output(self) -> Frames | None:
        """Waits for the pictures; None before the chunk's last row, and for a chunk that cannot be shown."""
        if self.pictures is None or isinstance(self.pictures.exception(), EngineFailure):
            return None
        return self.pictures.result()


@dataclass(frozen=True, slots=True)
class EngineState:
    """All of a session's state at a chunk boundary, in the parts in which it is stored.

    `blocks` are immutable once written and named for ever (for example `r1.f12`: row 1, latent frame 12), so that a
    snapshot writes only those that are new; `head` and `attributes` (JSON values) are small and written each time.
    """

    chunk: int
    """The last chunk that was fed; the next one to feed is `chunk + 1`."""
    attributes: Mapping[str, object]
    head: Mapping[str, NDArray[np.generic]]
    blocks: Mapping[str, Mapping[str, NDArray[np.generic]]] = field(default_factory=dict)


class EngineFailure(Exception):
    """A row could not be computed (NaN, out of memory); names the session, which alone is reset."""

    def __init__(self, session: str, reason: str) -> None:
        self.session = session
        self.reason = reason
        super().__init__(f"{session}: {reason}")


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """The memory of the device that an engine runs on, in bytes."""

    resident_bytes: int
    """The model's, without any session."""
    taken_bytes: int
    """Set aside for the sessions that are open."""
    free_bytes: int
    """What further sessions, or more steps, may still take."""


class Engine(Protocol):
    """A model that is resident on this worker."""

    @property
    def model(self) -> str:
        """The name of the ModelProfile it runs, for example `wan2.1-1.3b`."""
        ...

    @property
    def devices(self) -> int:
        """On how many devices it computes."""
        ...

    @property
    def most_rows(self) -> int | None:
        """How many rows one forward may have; None: as many as there is memory for."""
        ...

    @property
    def progress(self) -> int:
        """How many parts of its calls are finished; never falls, and may be read on any thread.

        A call that takes long (a restore, rows that have to be run in halves) is made of parts, each as long as one
        forward at most; a chunk that is decoded beside the calls is one, too. A part counts only once the device has
        done it, so the count stands still if the device hangs.
        """
        ...

    @property
    def memory(self) -> EngineMemory | None:
        """How its memory is shared out now; None for an engine that admits any number of sessions."""
        ...

    def session_memory(self, session: str) -> int | None:
        """Bytes of the device that are set aside for an open session; None for an engine that does not count them."""
        ...

    def prepare(self, prompt: str) -> None:
        """Compute what a prompt needs before `open` or `apply` may name it; at once if that is known already.

        Called on any thread, beside the other methods; may take seconds. What a snapshot names it brings itself.
        Raises any error: the prompt cannot be used then.
        """
        ...

    def open(self, session: str, settings: StreamSettings) -> None:
        """Start a session from nothing. Raises EngineFailure if it does not fit, ValueError if it is open already."""
        ...

    def restore(self, session: str, settings: StreamSettings, state: EngineState) -> None:
        """Start a session from a snapshot. Raises EngineFailure if the state does not belong to these settings."""
        ...

    def close(self, session: str) -> None:
        """Forget a session; unknown ones are ignored."""
        ...

    def apply(self, session: str, change: Change) -> None:
        """Change prompt, steps or noise scale from the next chunk on; those in flight keep theirs."""
        ...

    def feed(self, session: str, chunk: Chunk) -> int:
        """Take an input chunk, in order; returns how many rows it will run: one for each denoising step, and what
        the engine needs beside them."""
        ...

    def steps_in_use(self, session: str) -> int:
        """The denoising steps of the last chunk fed: fewer than requested where memory is short."""
        ...

    def run(self, rows: Sequence[Row]) -> Sequence[RowResult]:
        """One micro-step: all rows in one forward, results in the order of `rows`.

        Row (s, i) of chunk c may be run once (s, i-1, c) and (s, i, c-1) are done. Blocks until the forward is done;
        pictures may come later.
        Raises EngineFailure for the session whose row cannot be run; then no row of another session has been run. After
        any other error every session of the rows is reset.
        """
        ...

    def snapshot(self, session: str) -> EngineState:
        """The session's state now; cheap (references to immutable arrays), called after a chunk was fed or finished."""
        ...

    def sink_digest(self, session: str) -> str:
        """SHA-256 (hex) over the session's sink frames, `""` while there are none: shows that sinks survived."""
        ...
