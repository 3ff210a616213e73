"""A session as it was at one moment, and the making of its EngineState beside the engine's thread.

On the engine's thread a state is only *taken*: references to what never changes, and a few numbers. It is *made* on a
thread of its own, once the device has come to what was queued until then. What is new in it is copied to pinned memory,
on a stream of its own, all of it with one wait; what an earlier state had copied is there. Then it is hashed and named.
Tensors that are taken are never written to again, and live as long as somebody refers to them: neither the rows that
follow nor the end of the session disturb a state that is being made.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genlock_worker.engines.contract import (
    ChunkState,
    EngineFailure,
    EngineState,
    SinkReplacement,
    StreamSettings,
    chunk_frames,
)
from genlock_worker.engines.diffusion.snapshots import state_facts
from genlock_worker.engines.diffusion.snapshots.state_facts import Blend, RowFacts, StateFacts, WantedState
from genlock_worker.engines.diffusion.streaming.device_queue import Reached
from genlock_worker.engines.diffusion.streaming.in_flight import DenoisedChunk
from genlock_worker.engines.diffusion.streaming.one_thread import AtOnce, OneThread, when_done
from genlock_worker.engines.diffusion.streaming.row_cache import RowCache, SinkDigest, StoredLatent, latent_frames
from genlock_worker.engines.diffusion.streaming.session import DiffusionSession
from genlock_worker.engines.diffusion.streaming.shared import Shared
from genlock_worker.engines.diffusion.streaming.sinks import PendingSink
from genlock_worker.engines.diffusion.streaming.transfers import HostCopy
from genlock_worker.engines.diffusion.streaming.unjudged import UnjudgedRow

UNMADE = (RuntimeError, ValueError, MemoryError, CancelledError, cv2.error)
"""What the making of a state may raise; torch.OutOfMemoryError is one of the first."""


class _Kept(Protocol):
    """What becomes a block."""

    @property
    def name(self) -> str: ...

    @property
    def copies(self) -> Sequence[HostCopy]:
        """What of it must come from the device."""
        ...

    @property
    def block(self) -> Mapping[str, NDArray[np.generic]]: ...


@dataclass(frozen=True, slots=True, eq=False)
class TakenState:
    """A session after exactly what was submitted of it. Nothing here changes."""

    session: str
    chunk: int
    facts: StateFacts
    in_flight: tuple[ChunkState, ...]
    hidden: Mapping[str, HostCopy]
    """The next input of each chunk in flight, by its name."""
    encoded: tuple[Future[Tensor], ...]
    """The inputs that the encoder still has to make of chunks in flight."""
    frames: tuple[StoredLatent, ...]
    """Of all rings; several rows may have one."""
    kept: tuple[_Kept, ...]
    """All else that becomes a block."""
    sinks: tuple[tuple[SinkDigest, tuple[StoredLatent, ...]] | None, ...]
    """By row; None while there is nothing to keep of it."""
    pending_sink: PendingSink | None
    unjudged: tuple[UnjudgedRow, ...]
    shared: Shared

    @classmethod
    def of(cls, session: DiffusionSession) -> "TakenState":
        """What a session is now; on the engine's thread."""
        # While chunk 0 is in flight no ring is worth storing: its last pass is what every row's ring starts from.
        is_blank = 0 in session.chunks_in_flight
        rows = [] if is_blank else session.rows
        facts = StateFacts(
            format=state_facts.FORMAT,
            identity=identity(session.settings, session.shared),
            wanted=WantedState(
                prompt=session.prompt,
                steps=session.fed_steps if session.fed_rows else session.settings.steps,
                noise_scale=session.noise_scale,
            ),
            blend=Blend.of(session.blend),
            prompts=list(session.prompts),
            embeddings=list(session.kept_prompts),
            fed_rows=session.fed_rows,
            scale=session.scale,
            rows=[_row_out(cache, is_blank=is_blank) for cache in session.rows],
            inputs=[one.chunk for one in session.inputs],
            outputs=[one.chunk for one in session.outputs],
        )
        in_flight = session.chunks_in_flight.values()
        return cls(
            session=session.name,
            chunk=session.chunk,
            facts=facts,
            in_flight=tuple(_stored_in_flight(one, session) for one in in_flight),
            hidden={hidden_name(one.index): one.hidden_copy() for one in in_flight},
            encoded=tuple(one.given for one in in_flight if not one.given.done()),
            frames=tuple(stored for cache in rows for stored in (*cache.opening, *cache.slots)),
            kept=(*session.inputs, *session.outputs, *session.kept_prompts.values()),
            sinks=tuple(None if is_blank else (cache.digest, cache.sinks) for cache in session.rows),
            pending_sink=session.pending_sink,
            unjudged=tuple(session.unjudged),
            shared=session.shared,
        )

    def copies(self) -> list[HostCopy]:
        """All that must come from the device."""
        return [*self.hidden.values(), *(copy for one in (*self.frames, *self.kept) for copy in one.copies)]

    def made(self) -> EngineState:
        """The state; only once the device has come to what was queued, and its copies are there.

        Raises ValueError if a row turns out not to be finite.
        """
        pending = self.pending_sink
        for row in self.unjudged:
            pending = row.decided(pending, self.shared.sink_rule)
        blocks: list[_Kept] = [*{stored.name: stored for stored in self.frames}.values(), *self.kept]
        return EngineState(
            chunk=self.chunk,
            in_flight=self.in_flight,
            attributes=self.facts.model_dump(mode="json"),
            head={name: copy.array for name, copy in self.hidden.items()},
            blocks={one.name: one.block for one in blocks},
            sink_replacement=None
            if pending is None
            else SinkReplacement(pending.sink, latent_frames(pending.chunk)[-1]),
            sink_digests=tuple("" if row is None else row[0].of(row[1]) for row in self.sinks),
        )


class StateMaker:
    """Makes states, in the order in which they were taken, on one thread.

    As many wait as the engine loop has chunks that are not shown: it goes on with a session only when the state after
    a chunk is there. `overlap` False: `make` does it before it returns.
    """

    def __init__(self, device: torch.device, *, overlap: bool) -> None:
        self._device = device
        self._executor: Executor = OneThread("states") if overlap else AtOnce()
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def make(self, taken: TakenState, reached: Reached) -> Future[EngineState]:
        """`reached`: the device has come to all that was queued when the state was taken.

        A state that waits for the encoder keeps no other one waiting. The future raises EngineFailure.
        """

        def work() -> EngineState:
            try:
                reached.result()
                self._copy(taken.copies())
                return taken.made()
            except UNMADE as problem:
                raise EngineFailure(taken.session, f"its state cannot be taken: {problem}") from problem

        if not taken.encoded:
            return self._executor.submit(work)

        # One chunk of a session at most is being encoded.
        (encoded,) = taken.encoded
        made: Future[EngineState] = Future()
        when_done(encoded, lambda _: self._executor.submit(work).add_done_callback(partial(_pass_on, made)))
        return made

    def stop(self) -> None:
        """End the thread after what it is at; what waits is forgotten."""
        if isinstance(self._executor, OneThread):
            self._executor.stop()

    def _copy(self, copies: Sequence[HostCopy]) -> None:
        """Have these on the host; waits for them alone, not for what the device has queued since."""
        with self._on_stream():
            for copy in copies:
                copy.queue()
            if self._stream is not None:
                self._stream.synchronize()

    def _on_stream(self) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)


def _pass_on(to: Future[EngineState], done: Future[EngineState]) -> None:
    problem = done.exception()
    if problem is None:
        to.set_result(done.result())
    else:
        to.set_exception(problem)


def identity(settings: StreamSettings, shared: Shared) -> dict[str, Any]:
    """What must be the same on both sides of a snapshot."""
    options = shared.options
    return {
        "model": shared.components.config.name,
        "dtype": str(shared.components.dtype),
        "width": settings.width,
        "height": settings.height,
        "frameRate": settings.frame_rate,
        "seed": settings.seed,
        "textOnly": settings.text_only,
        "slots": options.ring.slots,
        "sinks": options.ring.sinks,
        "positions": options.positions.value,
        "normalised": options.normalise_latents,
    }


def hidden_name(chunk: int) -> str:
    """The name in snapshots of the next input of a chunk in flight."""
    return f"c{chunk}.hidden"


def _row_out(cache: RowCache, *, is_blank: bool) -> RowFacts:
    """While the first chunk runs its next pass overwrites all there is: nothing of the rings is worth keeping."""
    if is_blank:
        return RowFacts(slots=[], opening=[], replaced_in=None)
    return RowFacts(
        slots=[stored.name for stored in cache.slots],
        opening=[stored.name for stored in cache.opening],
        replaced_in=cache.replaced_in,
    )


def _stored_in_flight(in_flight: DenoisedChunk, session: DiffusionSession) -> ChunkState:
    frames = latent_frames(in_flight.index)
    return ChunkState(
        index=in_flight.index,
        steps=in_flight.rows - session.rows_of(1) + 1,
        rows=in_flight.rows,
        done=in_flight.submitted,
        first_frame=frames[0],
        latents=len(frames),
        pictures=chunk_frames(in_flight.index),
        attributes={
            "timesteps": list(in_flight.timesteps),
            "steps_before": in_flight.steps_before,
            "level": [in_flight.level.scale, in_flight.level.timestep],
            "prompts": [list(pair) for pair in in_flight.prompts],
            "refreshes": in_flight.refreshes,
        },
    )
