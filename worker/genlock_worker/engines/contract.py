"""What the rows know of a model: sessions are opened and fed, batches of rows are submitted, their results collected.

Everything but `prepare` and `progress` is called on one thread, the engine loop's, and none of it waits for a device
that works beside that thread. A device has an order: what is submitted of one session is computed in the order in which
it was submitted, its chunks, its changes, its snapshots and its end included. Across sessions results come in any
order.

All state of a session lives in the engine under its name and ends with `close`. A name stands for one opening, its
*generation*: a session that is opened again has another name, so that nothing that is still under way can be taken for
it. Sessions share no state, so a session's output never depends on which others run beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from genlock_core.spec.session import Resolution
from genlock_worker.engines.readiness import Needs

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
    """What users change, from the next chunk on; None leaves the field as it is.

    An engine looks at prompt and noise scale. Steps come with each chunk (`Engine.feed`), and a session that is to
    begin anew is closed and opened.
    """

    prompt: str | None = None
    steps: int | None = None
    noise_scale: float | None = None
    reset: str | None = None
    """Begin anew, by whose request."""


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


def _done() -> Future[None]:
    done: Future[None] = Future()
    done.set_result(None)
    return done


@dataclass(frozen=True, slots=True)
class Fed:
    """What an engine makes of a chunk that it was fed."""

    steps: int
    """The denoising steps that the chunk runs: those asked for, or fewer where memory is short."""
    rows: int
    """One for each step, and what the engine needs beside them."""
    encoded: Future[None] = field(default_factory=_done)
    """Done when its first row may be submitted; never fails. Of engines that encode beside the rows (`Needs.encoded`),
    else done at once."""


@dataclass(frozen=True, slots=True)
class DeviceSeconds:
    """How long devices worked, by kind. What runs at once on two of them counts twice: these are no wall times."""

    rows: float = 0.0
    encode: float = 0.0
    """Of the chunks that were taken in since the batch before."""
    decode: float = 0.0
    """Of the chunks whose pictures were finished since the batch before."""

    @property
    def total(self) -> float:
        return self.rows + self.encode + self.decode


@dataclass(frozen=True, slots=True)
class RowResult:
    """What a row gave: its own verdict, whatever became of the rows beside it."""

    row: Row
    failure: str | None = None
    """Why the session cannot go on from here: its answer is not finite, its memory ran out."""
    likeness: tuple[float, ...] = ()
    """How like each sink is to the row's newest frame, 1 for alike; empty where nobody compares."""
    pictures: Future[Frames] | None = None
    """After its chunk's last row: the generated chunk (frames, height, width, 3), which may still be being decoded.

    Those of one session are done in order. Raises EngineFailure if it cannot be shown.
    """

    @property
    def output(self) -> Frames | None:
        """Waits for the pictures; None before the chunk's last row, and for a chunk that cannot be shown."""
        if self.pictures is None or isinstance(self.pictures.exception(), EngineFailure):
            return None
        return self.pictures.result()


@dataclass(frozen=True, slots=True)
class BatchResult:
    """A batch that is no longer under way."""

    number: int
    rows: tuple[RowResult, ...] = ()
    """In the order in which they were submitted; none where the batch was lost."""
    seconds: DeviceSeconds = DeviceSeconds()
    encoded: int = 0
    """Chunks whose encoding is in `seconds`."""
    decoded: int = 0
    """Chunks whose decoding is in `seconds`."""
    lost: str | None = None
    """Why there are no results: a fault of the device, of which any of its sessions may be the cause."""


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """A restoration has ended."""

    session: str
    failure: str | None = None
    """Why the session is not open: its state is damaged, is not of these settings, or does not fit."""


Collected = BatchResult | RestoreResult


@dataclass(frozen=True, slots=True)
class ChunkState:
    """A chunk that was in flight when a state was taken: the one place where a checkpoint says so."""

    index: int
    steps: int
    """Its denoising steps."""
    rows: int
    """One for each step, and what the engine runs beside them."""
    done: int
    """Rows that had run."""
    first_frame: int
    """The counter of its first latent frame."""
    latents: int
    """Latent frames."""
    pictures: int
    """Pixel frames."""
    attributes: Mapping[str, object]
    """What the engine must know of it beside that (JSON values)."""


@dataclass(frozen=True, slots=True)
class SinkReplacement:
    """Decided for all rows of a session, and not done by all: a sink gives its place to a newer frame."""

    sink: int
    """The sink's slot."""
    frame: int
    """The counter of the latent frame; each row makes it a sink when it writes it."""


@dataclass(frozen=True, slots=True)
class EngineState:
    """All of a session's state at a chunk boundary, in the parts in which it is stored.

    `blocks` are immutable once written and named for ever (for example `r1.f12`: row 1, latent frame 12), so that a
    snapshot writes only those that are new; `head` and `attributes` (JSON values) are small and written each time.
    """

    chunk: int
    """The last chunk that was fed; the next one to feed is `chunk + 1`."""
    in_flight: tuple[ChunkState, ...]
    """Oldest first."""
    attributes: Mapping[str, object]
    head: Mapping[str, NDArray[np.generic]]
    blocks: Mapping[str, Mapping[str, NDArray[np.generic]]] = field(default_factory=dict)
    sink_digests: tuple[str, ...] = ()
    """By row: SHA-256 (hex) over its sink frames, `""` for a row without any. Shows that sinks survived."""
    sink_replacement: SinkReplacement | None = None
    """None where nothing is decided, and of engines that replace no sinks."""

    @property
    def sink_digest(self) -> str:
        """That of row 0, which every session has for its whole life; `""` before its first sink."""
        return self.sink_digests[0] if self.sink_digests else ""


class EngineFailure(Exception):
    """An engine cannot do what it was asked for a session; names the session, which alone is concerned."""

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


@dataclass(frozen=True, slots=True)
class CapturedGraphs:
    """Forwards that were laid down once, to be repeated with one launch each."""

    count: int = 0
    bytes: int = 0
    """What they have taken of the device's memory."""
    lacks: tuple[str, ...] = ()
    """What there was no memory for, in words: it is run as if there were no graphs."""


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
    def depth(self) -> int:
        """How many batches may be under way at once."""
        ...

    @property
    def needs(self) -> Needs:
        """How far a row's predecessors must have come before the row may be submitted."""
        ...

    @property
    def progress(self) -> int:
        """How many parts of the work devices have finished; never falls, and may be read on any thread.

        A part is as long as one forward at most: a batch, a chunk that was encoded or decoded, a piece of a
        restoration. It counts only once the device has done it, so the count stands still if the device hangs. Of
        several devices that have work the slowest one counts.
        """
        ...

    @property
    def warms_each_size(self) -> bool:
        """Whether a session of a size that was not there before waits for what a later one finds done."""
        ...

    def capture_graphs(self, sizes: Sequence[Resolution], tell: Callable[[str], None]) -> CapturedGraphs:
        """Lay down what it can repeat with one launch, for sessions of these sizes; `tell` is told each before it is.

        Called once, before the first user comes; an engine without such a thing does nothing. Raises what its device
        raises, but for memory that runs out.
        """
        ...

    @property
    def strained(self) -> bool:
        """Whether the machine is too busy for the engine, which makes pictures plainer to keep its pace."""
        ...

    @property
    def memory(self) -> EngineMemory | None:
        """How its memory is shared out now; None for an engine that admits any number of sessions."""
        ...

    def session_memory(self, session: str) -> int | None:
        """Bytes of the device that are set aside for an open session; None for an engine that does not count them."""
        ...

    def call_when_ready(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever there is something to collect; on any thread, and more often than needed."""
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
        """Start a session from a snapshot: a series of parts between which others' batches are computed.

        A RestoreResult is collected at its end; until then nothing may be submitted of the session but `close`. Prompt
        and noise scale are those of the snapshot; apply what was changed since. Raises ValueError if the session is
        open already.
        """
        ...

    def close(self, session: str) -> None:
        """Forget a session, of which nothing is told from now on; unknown ones are ignored.

        Its memory is free once every batch that names it was collected.
        """
        ...

    def apply(self, session: str, change: Change) -> None:
        """Change prompt or noise scale from the next chunk on; those in flight keep theirs."""
        ...

    def feed(self, session: str, chunk: Chunk, *, steps: int) -> Fed:
        """Hand over the next input chunk, to be denoised in `steps` steps. Raises EngineFailure, ValueError.

        It is taken in whatever comes after it, and is in every state that is taken from now on. At most one chunk of a
        session may be on its way to its first row. What goes wrong later is the failure of that row.
        """
        ...

    def submit(self, number: int, rows: Sequence[Row]) -> None:
        """Hand over a batch under a number of the caller's; at most `depth` may be under way.

        Raises EngineFailure for the session whose row may not run; nothing was submitted then.
        """
        ...

    def collect(self) -> Sequence[Collected]:
        """What has ended since the last call, in the order in which it ended; never waits for a device."""
        ...

    def snapshot(self, session: str) -> Future[EngineState]:
        """The session's state after exactly what was submitted of it so far; cheap (references to immutable arrays).

        It counts only if every row that was submitted before turns out well. Fails with EngineFailure.
        """
        ...

    def stop(self) -> None:
        """End every thread; nothing can be asked of it afterwards. A device that hangs is left behind."""
        ...
