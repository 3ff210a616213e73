"""One live session of the diffusion engine: its rows, its chunks in flight, its place in the VAE's stream.

A chunk enters with `feed`, passes its rows 0..steps-1 (`enter`, the forward is queued, `book`; rows of other chunks and
sessions may run between) and leaves as latents, which the engine decodes. `book` moves the session on by all that the
device's answer cannot change: what it computes stays on the device, and the next rows are queued behind it. `judge`
comes later, with the verdict. Everything that a session's output depends on is here or follows from it; what several
sessions share (weights, prompts that were encoded) never changes.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genlock_worker.engines.algorithm import noise
from genlock_worker.engines.algorithm.blend import PromptBlend, Weights, prompt_digest
from genlock_worker.engines.algorithm.flow import T2V_STEPS, step_list
from genlock_worker.engines.contract import Change, Chunk, StreamSettings
from genlock_worker.engines.diffusion.network.kv_pool import PagedRing
from genlock_worker.engines.diffusion.network.text_pool import TextKv
from genlock_worker.engines.diffusion.network.vae import VaeStream
from genlock_worker.engines.diffusion.streaming.in_flight import DenoisedChunk, at_hand
from genlock_worker.engines.diffusion.streaming.inputs import ChunkInput
from genlock_worker.engines.diffusion.streaming.kept import KeptInput, KeptOutput, KeptPrompt
from genlock_worker.engines.diffusion.streaming.micro_step import QueuedRow
from genlock_worker.engines.diffusion.streaming.positions import frame_index, index_to_sinks, sink_index
from genlock_worker.engines.diffusion.streaming.restore import rebuild
from genlock_worker.engines.diffusion.streaming.row_cache import RowCache, StoredLatent, first_frame, latent_frames
from genlock_worker.engines.diffusion.streaming.row_work import Renoise, RowWork
from genlock_worker.engines.diffusion.streaming.shared import Shared
from genlock_worker.engines.diffusion.streaming.sinks import LeftChunk, PendingSink
from genlock_worker.engines.diffusion.streaming.transfers import upload, used_here
from genlock_worker.engines.diffusion.streaming.unjudged import UnjudgedRow
from genlock_worker.engines.readiness import Needs, may_run

LATENT_STRIDE = 8
"""Pixels per latent pixel, each way."""
PURE_NOISE = noise.NoiseLevel(scale=1.0, timestep=T2V_STEPS[0])
"""What a session without a camera starts every chunk from."""


@dataclass(slots=True)
class DiffusionSession:
    """All state of one session. `settings` is what it was opened with; prompt, steps and noise scale are what the next
    chunk will use."""

    name: str
    settings: StreamSettings
    shared: Shared
    stream: VaeStream
    prompt: str
    """Digest."""
    noise_scale: float
    blend: PromptBlend
    kept_prompts: dict[str, KeptPrompt]
    """By digest, every prompt that the session may still need."""
    rows: list[RowCache] = field(default_factory=list)
    chunk: int = -1
    """The last chunk fed."""
    fed_rows: int = 0
    """Rows of the last chunk fed; 0 before the first."""
    prompts: Weights = ()
    """Prompts of the last chunk fed."""
    text: TextKv | None = None
    """Their keys and values."""
    scale: float | None = None
    """Noise scale of the last chunk."""
    last: NDArray[np.uint8] | None = None
    """The last input frame: the next chunk's motion is measured from it."""
    chunks_in_flight: dict[int, DenoisedChunk] = field(default_factory=dict)
    pending_sink: PendingSink | None = None
    """What is decided for all rows, and not done by all."""
    unjudged: deque[UnjudgedRow] = field(default_factory=deque)
    """Rows that were booked and not judged, the oldest first."""
    failure: str | None = None
    """Why nothing of it can go on: what it has is void, and all that is queued of it."""
    inputs: deque[KeptInput] = field(default_factory=deque)
    outputs: deque[KeptOutput] = field(default_factory=deque)

    @classmethod
    def opened(cls, name: str, settings: StreamSettings, shared: Shared) -> "DiffusionSession":
        """A session that has seen nothing yet. Raises torch.OutOfMemoryError; check the settings first."""
        digest = prompt_digest(settings.prompt)
        session = cls(
            name=name,
            settings=settings,
            shared=shared,
            stream=shared.components.vae.open(),
            prompt=digest,
            noise_scale=settings.noise_scale,
            blend=PromptBlend.of(digest),
            kept_prompts={},
        )
        session._keep_prompt(digest)
        session.grow(session.rows_of(settings.steps))

        return session

    def apply(self, change: Change) -> None:
        """Remember what the next chunk shall use."""
        if change.prompt is not None:
            digest = prompt_digest(change.prompt)
            self._keep_prompt(digest)
            self.prompt = digest

        if change.noise_scale is not None:
            self.noise_scale = change.noise_scale

    def rows_of(self, steps: int) -> int:
        """Rows of a chunk of `steps` steps. Raises ValueError unless 1 <= steps <= 4."""
        return len(step_list(steps, text_only=self.settings.text_only))

    def grow(self, rows: int) -> None:
        """Have at least `rows` rows; new ones are empty. Raises torch.OutOfMemoryError, and then has what it had."""
        new: list[RowCache] = []
        try:
            new += (RowCache(self._empty_ring(), self.shared.options.ring) for _ in range(len(self.rows), rows))
        except torch.OutOfMemoryError:
            _free(new)
            raise
        self.rows += new

    def feed(self, chunk: Chunk, *, steps: int) -> DenoisedChunk:
        """Take a chunk that was checked, to be denoised in `steps` steps; it may be encoded beside what comes next."""
        level = self._level(chunk)

        # Keys and values of the prompts are computed once for each mixture of them.
        self.blend = self.blend.towards(self.prompt)
        prompts, text = self.blend.frame_weights(0, 1), self.text
        changed = prompts != self.prompts
        if changed or text is None:
            text = self.keys_values(prompts)

        # Last: from here on the VAE's stream moves on.
        given = self._first_input(chunk, level)
        in_flight = DenoisedChunk(
            index=chunk.index,
            rows=self.rows_of(steps),
            timesteps=(level.timestep, *step_list(steps, text_only=self.settings.text_only)[1:]),
            steps_before=self.fed_rows or self.rows_of(steps),
            level=level,
            prompts=prompts,
            text=text,
            refreshes=self.shared.options.refresh_on_prompt and changed and len(prompts) == 1 and bool(self.prompts),
            given=given,
        )

        # From here on the session has the chunk.
        self.chunks_in_flight[chunk.index] = in_flight
        self.chunk = chunk.index
        self.fed_rows = in_flight.rows
        self.scale = level.scale
        self.prompts = prompts
        self.text = text
        self.blend = self.blend.next_chunk()

        # The last frame is for the next chunk's motion, the kept ones prime the VAE after a restore.
        if chunk.frames is not None:
            self.last = chunk.frames[-1]
            self.inputs.append(KeptInput.of(chunk.index, chunk.frames, self.shared.jpeg))

        self._forget()
        return in_flight

    def check_row(self, step: int, chunk: int) -> None:
        """Raise ValueError unless the row may run now."""
        in_flight = self.chunks_in_flight.get(chunk)
        before = [earlier for earlier in self.chunks_in_flight.values() if earlier.index < chunk]
        if in_flight is None or not may_run(step, in_flight, before, Needs()):
            raise ValueError(f"row {step} of chunk {chunk} may not run yet")

        # What a chunk does to the sinks was decided by one that has left.
        decides = chunk - self.shared.options.sink_delay_chunks
        if any(earlier.index <= decides for earlier in before):
            raise ValueError(f"row {step} of chunk {chunk} may not run before chunk {decides} has left")
        if any(row.left is not None and row.left.chunk <= decides for row in self.unjudged):
            raise ValueError(f"row {step} of chunk {chunk} may not run before chunk {decides} was collected")

    def enter(self, step: int, chunk: int) -> RowWork:
        """What the device needs to run a row that was checked; puts its ring, and those of new rows, in order.

        Raises EngineFailure for a chunk that could not be encoded.
        """
        in_flight = self.chunks_in_flight[chunk]
        hidden = used_here(in_flight.hidden)
        cache = self._cache(step, chunk)

        # Before its row runs a ring may have to be computed anew, or to be handed to rows that begin with this chunk.
        if in_flight.refreshes:
            self._refresh(cache, in_flight.prompts)
        if chunk > 0 and step == in_flight.steps_before - 1:
            self._hand_over(cache, in_flight)

        options, frames = self.shared.options, latent_frames(chunk)
        mode, layout, newest = options.positions, options.ring, frames[-1]
        sink = self._sink_of(chunk)
        return RowWork(
            session=self.name,
            hidden=hidden,
            timestep=in_flight.timesteps[step],
            ring=cache.ring,
            text=in_flight.text,
            slots=tuple(layout.slot(frame) for frame in frames),
            filled=cache.filled(frames),
            positions=tuple(frame_index(mode, layout, frame) for frame in frames),
            sink_positions=tuple(index_to_sinks(mode, layout, frame, newest) for frame in frames),
            sink=sink,
            sink_position=sink_index(mode, layout, sink or 0, newest),
            renoise=self._renoise(in_flight, step + 1),
        )

    def book(self, step: int, chunk: int, row: QueuedRow) -> Tensor | None:
        """A row was handed to the device: move everything on that does not depend on its verdict.

        Returns the output latents (F, C, h, w) after the chunk's last row; the device may still have to make them.
        """
        in_flight, cache, frames = self.chunks_in_flight[chunk], self._cache(step, chunk), latent_frames(chunk)
        cache.write(
            [
                StoredLatent(step, frame, in_flight.hidden[number], in_flight.timesteps[step], in_flight.prompts)
                for number, frame in enumerate(frames)
            ]
        )

        # The newest frame may become a sink, as was decided when an earlier chunk left.
        sink = self._sink_of(chunk)
        if sink is not None:
            cache.replace_sink(sink, chunk=chunk)

        in_flight.go_on(row.latents)
        if not in_flight.is_booked:
            self.unjudged.append(UnjudgedRow(row, None))
            return None

        # What the first chunk's last pass will have left is what every row's ring starts from.
        if chunk == 0:
            for other in self.rows[1:]:
                other.take_over(self.rows[0])

        self.unjudged.append(UnjudgedRow(row, LeftChunk(chunk, frames, cache.replaced_in)))
        del self.chunks_in_flight[chunk]
        self.outputs.append(KeptOutput(chunk, row.latents))
        self._forget()
        return row.latents

    def judge(self) -> None:
        """The device has come to the oldest row that was booked and not judged.

        Raises ValueError if it is not finite: the session cannot go on from here.
        """
        self.pending_sink = self.unjudged.popleft().decided(self.pending_sink, self.shared.sink_rule)

    def fail(self, reason: str) -> None:
        """It cannot go on: nothing of it is run any more. The first reason stays."""
        self.failure = self.failure or reason

    def _sink_of(self, chunk: int) -> int | None:
        """The sink slot that the newest frame of a chunk takes in every row, None for none."""
        pending = self.pending_sink
        return pending.sink if pending is not None and pending.chunk == chunk else None

    @property
    def is_encoding(self) -> bool:
        """Whether the encoder is at a chunk of it."""
        return any(in_flight.encoding for in_flight in self.chunks_in_flight.values())

    def wait_until_encoded(self) -> None:
        """The encoder is done with all that was fed; whether that went well is not asked."""
        for in_flight in self.chunks_in_flight.values():
            in_flight.given.exception()

    @property
    def fed_steps(self) -> int:
        """The denoising steps of the last chunk fed: its rows but the clean one of a session without a camera."""
        return self.fed_rows - self.rows_of(1) + 1

    def keys_values(self, prompts: Weights) -> TextKv:
        """Cross-attention keys and values of prompts that the session keeps."""
        mine = {digest: self.kept_prompts[digest].embedding for digest, _ in prompts}
        return self.shared.components.prompts.keys_values(prompts, mine)

    def _keep_prompt(self, digest: str) -> None:
        """Keep a prompt's embedding. One that is kept already stays: frames were computed under it."""
        if digest not in self.kept_prompts:
            parts = self.shared.components
            self.kept_prompts[digest] = KeptPrompt(digest, parts.prompts.embedding(digest), parts.dtype)

    def _cache(self, step: int, chunk: int) -> RowCache:
        """The ring that a row runs on: all passes of the first chunk share the first."""
        return self.rows[0 if chunk == 0 else step]

    def _level(self, chunk: Chunk) -> noise.NoiseLevel:
        if chunk.frames is None:
            return PURE_NOISE
        if self.scale is None or self.last is None:
            return noise.first_level(self.noise_scale)
        moved = noise.motion(chunk.frames, self.last)
        return noise.next_level(noise_scale=self.noise_scale, moved=moved, previous=self.scale)

    def _first_input(self, chunk: Chunk, level: noise.NoiseLevel) -> Future[Tensor]:
        """Row 0's input: the chunk's latents mixed with noise; without a camera there is nothing but noise."""
        parts, size = self.shared.components, self.settings
        if chunk.frames is not None:
            item = ChunkInput(chunk.index, chunk.frames, scale=level.scale, seed=size.seed)
            return self.shared.inputs.encode(self.name, self.stream, item)
        area = size.height // LATENT_STRIDE, size.width // LATENT_STRIDE
        shape = (len(latent_frames(chunk.index)), parts.config.transformer.channels, *area)
        eps = noise.draw(seed=size.seed, chunk=chunk.index, step=0, shape=shape)
        return at_hand(upload(eps, parts.device).to(parts.dtype))

    def _renoise(self, in_flight: DenoisedChunk, step: int) -> Renoise | None:
        if step == in_flight.rows:
            return None
        return Renoise(in_flight.timesteps[step], seed=self.settings.seed, chunk=in_flight.index, step=step)

    def _refresh(self, cache: RowCache, prompts: Weights) -> None:
        """Compute a row's ring anew under the prompts that have taken over, unless that was done."""
        if all(stored.prompts == prompts for stored in (*cache.opening, *cache.slots)):
            return
        cache.slots = tuple(stored.under(prompts) for stored in cache.slots)
        cache.opening = tuple(stored.under(prompts) for stored in cache.opening)
        for _ in self.rebuild([cache]):
            pass

    def rebuild(self, caches: Sequence[RowCache]) -> Iterator[None]:
        """Compute the rings of `caches` from their stored inputs, forward by forward; nothing is waited for.

        Raises EngineFailure if there is no memory for it.
        """
        return rebuild(
            caches,
            session=self.name,
            forward=self.shared.forward,
            texts=self.keys_values,
            positions=self.shared.options.positions,
        )

    def _hand_over(self, cache: RowCache, in_flight: DenoisedChunk) -> None:
        """Give the ring of the last row there was to the rows that are new with this chunk, as it is before it."""
        for row in self.rows[in_flight.steps_before : in_flight.rows]:
            if row.newest != first_frame(in_flight.index) - 1:
                row.take_over(cache)

    def _empty_ring(self) -> PagedRing:
        size = self.settings
        tokens = self.shared.components.config.transformer.frame_tokens(size.height, size.width)
        return PagedRing.taken(self.shared.pool, self.shared.options.ring, frame_tokens=tokens)

    def close(self) -> None:
        """Give the pages of its rings back. What is queued may still write them: whoever has them next comes later."""
        _free(self.rows)
        self.rows.clear()

    def _forget(self) -> None:
        """Drop rows, prompts and what the VAE is primed with, as soon as nothing will ask for them again."""
        needed = max([self.fed_rows, *(in_flight.rows for in_flight in self.chunks_in_flight.values())])
        _free(self.rows[needed:])
        del self.rows[needed:]
        for kept in (self.inputs, self.outputs):
            while len(kept) > max(1, self.shared.options.primed_chunks):
                kept.popleft()

        # A prompt is kept while anything that the session has was computed under it, or will be.
        used = {digest for mix in self.used_prompts() for digest, _ in mix}
        used |= {self.prompt, self.blend.target, *(digest for digest, _ in self.blend.start)}
        self.kept_prompts = {digest: kept for digest, kept in self.kept_prompts.items() if digest in used}

    def used_prompts(self) -> set[Weights]:
        """Every mixture of prompts under which something was computed that the session still has."""
        stored = {frame.prompts for cache in self.rows for frame in _all(cache)}
        return stored | {in_flight.prompts for in_flight in self.chunks_in_flight.values()}


def check_settings(settings: StreamSettings) -> None:
    """Raise ValueError for settings that no session can have."""
    step_list(settings.steps, text_only=settings.text_only)
    if settings.width % 16 or settings.height % 16 or min(settings.width, settings.height) < 64:
        raise ValueError(f"sides must be multiples of 16 from 64 on, not {settings.width}x{settings.height}")


def _free(rows: Sequence[RowCache]) -> None:
    for row in rows:
        row.ring.free()


def _all(cache: RowCache) -> tuple[StoredLatent, ...]:
    return (*cache.opening, *cache.slots)
