"""One live session of the mock engine: its rings, its chunks in flight, and what one row does to them.

A chunk enters with `feed`, passes its rows 0..steps-1 in `run_row` (any rows of other chunks and sessions may run
between) and leaves painted. Stored frames and rings are never mutated, only replaced, so a snapshot is references.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genlock_worker.engines.algorithm import flow, noise
from genlock_worker.engines.algorithm.blend import PromptBlend, Weights, prompt_digest
from genlock_worker.engines.algorithm.ring import V2V_RING
from genlock_worker.engines.contract import Change, Chunk, StreamSettings, chunk_frames
from genlock_worker.engines.mock import latents, paint, text_only
from genlock_worker.engines.mock.effort import PaintEffort
from genlock_worker.engines.mock.latents import Anchor, StoredFrame
from genlock_worker.engines.mock.media import Hand
from genlock_worker.engines.mock.styles import look_for
from genlock_worker.engines.mock.surface import Surface, for_chunk, make_surface
from genlock_worker.engines.mock.textures import Brushes

Pixels = NDArray[np.uint8]
Ring = dict[int, StoredFrame]
"""Slot -> stored frame; replaced, never mutated."""


@dataclass(slots=True)
class PaintedChunk:
    """A chunk between `feed` and its last row; only the session moves it on."""

    index: int
    steps: int
    steps_before: int
    """Steps of the chunk before: rows from there on are new with this chunk and take the last row's ring over."""
    first_frame: int
    """Latent frame counter of its first latent frame."""
    level: noise.NoiseLevel
    blend: PromptBlend
    """The prompts, as they stood before this chunk."""
    coded: tuple[Pixels, ...]
    """Its input frames as JPEG."""
    done: int = 0
    """Rows that have run; the next one is row `done`."""
    hidden: NDArray[np.float16] | None = None
    """What the next row is given, (latent frames, h, w, 3); None before row 0."""
    inherited: Ring | None = None
    """The ring that new rows start from: the last old row's, as it was before this chunk."""
    working: Pixels = field(init=False)
    latent: latents.Latent = field(init=False)

    def __post_init__(self) -> None:
        self.working = latents.expand(self.coded)
        self.latent = latents.latents_of(self.working, 2 if self.index == 0 else 1)

    @property
    def prompts(self) -> Weights:
        """The prompts of the chunk as a whole: those of its last pixel frame."""
        return self.blend.frame_weights(0, 1)


@dataclass(slots=True)
class MockSession:
    """All state of one session. `settings` is what it was opened with; `wanted` holds what the next chunk will use."""

    settings: StreamSettings
    brushes: Brushes
    prompt: str
    noise_scale: float
    blend: PromptBlend
    prompts: dict[str, str]
    """Digest -> text of every prompt that a chunk in flight or the blend still needs."""
    chunk: int = -1
    """The last chunk fed."""
    fed_steps: int = 0
    """Steps of the last chunk fed; 0 before the first."""
    frames: int = 0
    """Latent frames fed so far."""
    scale: float | None = None
    """Noise scale of the last chunk."""
    last: Pixels | None = None
    """The last input frame as JPEG: the next chunk's motion is measured from it."""
    rings: dict[int, Ring] = field(default_factory=dict)
    """By row: what each denoising step has stored."""
    chunks_in_flight: dict[int, PaintedChunk] = field(default_factory=dict)
    surfaces: dict[tuple[str, Anchor], Surface] = field(default_factory=dict)
    backdrop: text_only.Backdrop | None = None

    @classmethod
    def opened(cls, settings: StreamSettings, brushes: Brushes) -> "MockSession":
        """A session that has seen nothing yet. Raises ValueError for settings that cannot be served."""
        check_steps(settings.steps)
        if settings.width % 16 or settings.height % 16 or min(settings.width, settings.height) < 64:
            raise ValueError(f"sides must be multiples of 16 from 64 on, not {settings.width}x{settings.height}")

        digest = prompt_digest(settings.prompt)
        return cls(
            settings=settings,
            brushes=brushes,
            prompt=settings.prompt,
            noise_scale=settings.noise_scale,
            blend=PromptBlend.of(digest),
            prompts={digest: settings.prompt},
        )

    def apply(self, change: Change) -> None:
        """Remember what the next chunk shall use."""
        if change.prompt is not None:
            self.prompt = change.prompt
        if change.noise_scale is not None:
            self.noise_scale = change.noise_scale

    def feed(self, chunk: Chunk, *, steps: int) -> None:
        """Take the next chunk, which `check_frames` has let in, to be denoised in `steps` steps."""
        # The prompt is blended in over several chunks, as the real model's is.
        digest = prompt_digest(self.prompt)
        self.prompts[digest] = self.prompt
        self.blend = self.blend.towards(digest)
        coded = latents.compress(self._scene(chunk.index) if chunk.frames is None else latents.halved(chunk.frames))
        painted = PaintedChunk(
            index=chunk.index,
            steps=steps,
            steps_before=self.fed_steps or steps,
            first_frame=self.frames,
            level=noise.first_level(self.noise_scale),
            blend=self.blend,
            coded=coded,
        )

        # The noise controller: the more the picture moves, the less noise its first step starts from.
        if self.scale is not None and self.last is not None:
            moved = noise.motion(painted.working, latents.expand([self.last])[0])
            painted.level = noise.next_level(noise_scale=self.noise_scale, moved=moved, previous=self.scale)

        self.chunks_in_flight[chunk.index] = painted
        self.chunk = chunk.index
        self.fed_steps = steps
        self.frames = self.frames + len(painted.latent)
        self.scale = painted.level.scale
        self.last = coded[-1]
        self.blend = self.blend.next_chunk()

    def run_row(self, step: int, chunk: int, *, effort: PaintEffort = PaintEffort.FULL) -> Pixels | None:
        """Run one row whose turn it is; the generated chunk (frames, height, width, 3) after its last one.

        `effort` changes that chunk's pictures and nothing else.
        """
        painted = self.chunks_in_flight[chunk]
        held, refined = self._denoise(painted, step)
        painted.done += 1

        if painted.done < painted.steps:
            _, level = latents.step_level(step + 1, painted.level)
            painted.hidden = self._noised(painted, refined, step + 1, level)
            return None

        output = self._paint(painted, {stored.frame: stored for stored in held.values()}, refined, effort)
        del self.chunks_in_flight[chunk]
        self._forget()
        return output

    def sink_digests(self) -> tuple[str, ...]:
        """By row, SHA-256 (hex) over its sink frames, `""` before the first."""
        return tuple(_digest(self._sinks(row)) for row in range(len(self.rings)))

    def _sinks(self, row: int) -> list[StoredFrame]:
        held = self.rings.get(row, {}).values()
        return sorted((s for s in held if s.frame < V2V_RING.sinks), key=lambda s: s.frame)

    def _scene(self, chunk: int) -> list[Pixels]:
        """The frames of a session without a source, at half size; scenes cross-fade as their prompts do."""
        width, height = (side // latents.WORKING_STRIDE for side in (self.settings.width, self.settings.height))
        if self.backdrop is None:
            self.backdrop = text_only.make_backdrop(seed=self.settings.seed, width=width, height=height)

        count = chunk_frames(chunk)
        start = 0 if chunk == 0 else chunk_frames(0) + (chunk - 1) * count
        pictures = []

        for number in range(count):
            mixed: Any = np.zeros((height, width, 3), np.float32)
            for digest, weight in self.blend.frame_weights(number, count):
                seconds = (start + number) / self.settings.frame_rate
                scene = text_only.scene_picture(look_for(self.prompts[digest]), self.backdrop, seconds=seconds)
                mixed = mixed + scene * np.float32(weight)
            pictures.append(np.round(mixed).astype(np.uint8))

        return pictures

    def _noised(self, painted: PaintedChunk, pictures: latents.Latent, step: int, level: float) -> NDArray[np.float16]:
        grain = noise.draw(seed=self.settings.seed, chunk=painted.index, step=step, shape=pictures.shape)
        return latents.noised(pictures, level=level, grain=grain)

    def _denoise(self, painted: PaintedChunk, step: int) -> tuple[Ring, latents.Latent]:
        """Write the row's input into its ring and answer: (the ring, refined latents)."""
        timestep, level = latents.step_level(step, painted.level)
        hidden = painted.hidden if painted.hidden is not None else self._noised(painted, painted.latent, 0, level)
        before = self.rings.get(step, {})

        # Rows that are new with this chunk go on from the ring of the last row of before.
        if step == painted.steps_before - 1 and painted.steps > painted.steps_before:
            painted.inherited = before
        if step >= painted.steps_before and painted.inherited is not None:
            before = painted.inherited

        own = {
            painted.first_frame + i: latents.stored_frame(
                row=step,
                frame=painted.first_frame + i,
                latent=latent,
                timestep=timestep,
                level=level,
                prompts=painted.prompts,
            )
            for i, latent in enumerate(hidden)
        }
        held = self.rings[step] = V2V_RING.written(before, own)

        # Each frame attends to everything that its row's ring holds: sinks, window, itself.
        refined = [
            latents.refine(attended=latents.attend(stored, held), latent=painted.latent[i], timestep=timestep)
            for i, stored in enumerate(own.values())
        ]

        return held, np.stack(refined)

    def _paint(
        self, painted: PaintedChunk, held: dict[int, StoredFrame], refined: latents.Latent, effort: PaintEffort
    ) -> Pixels:
        anchor, flow = latents.anchor_of(held), latents.flow_of(held)
        height, width = painted.working.shape[1:3]
        changes = [
            paint.correction(refined=after, latent=before, anchor=anchor, width=width, height=height)
            for after, before in zip(refined, painted.latent, strict=True)
        ]
        tones = paint.exposure(anchor)
        count = len(painted.working)
        weights = [painted.blend.frame_weights(number, count) for number in range(count)]

        # While a prompt is blended in, a frame is painted on the surfaces of both.
        surfaces = {
            digest: self._surface(digest, anchor)
            for digest in sorted({digest for frame in weights for digest, _ in frame})
        }
        if effort is PaintEffort.FULL:
            surfaces = {digest: for_chunk(surface, self.brushes, flow) for digest, surface in surfaces.items()}

        return np.stack(
            [
                paint.picture(
                    working,
                    change=changes[min(number, len(changes) - 1)],
                    tones=tones,
                    surfaces=[(surfaces[digest], weight) for digest, weight in weights[number]],
                    hand=Hand(steps=painted.steps, strength=paint.strength_of(painted.level.scale)),
                    effort=effort,
                )
                for number, working in enumerate(painted.working)
            ]
        )

    def _surface(self, digest: str, anchor: Anchor) -> Surface:
        """The surface of a prompt, made once and kept while the prompt is in use."""
        key = (digest, anchor)
        if key not in self.surfaces:
            self.surfaces = {k: v for k, v in self.surfaces.items() if k[0] != digest and k[0] in self.prompts}
            size = self.settings
            look = look_for(self.prompts[digest])
            self.surfaces[key] = make_surface(look=look, anchor=anchor, width=size.width, height=size.height)
        return self.surfaces[key]

    def _forget(self) -> None:
        """Drop rows and prompts that nothing will ask for again."""
        rows = max([self.fed_steps, *(painted.steps for painted in self.chunks_in_flight.values())])
        self.rings = {row: held for row, held in self.rings.items() if row < rows}
        used = set(self.blend.digests()).union(*(painted.blend.digests() for painted in self.chunks_in_flight.values()))
        self.prompts = {digest: text for digest, text in self.prompts.items() if digest in used}


def check_steps(steps: int) -> None:
    """Raise ValueError unless 1 <= steps <= 4."""
    if not 1 <= steps <= flow.MAX_STEPS:
        raise ValueError(f"steps must be 1 to {flow.MAX_STEPS}, not {steps}")


def _digest(sinks: Sequence[StoredFrame]) -> str:
    digest = hashlib.sha256()
    for stored in sinks:
        digest.update(f"{stored.frame} {stored.timestep} {stored.level!r} {stored.latent.shape}".encode())
        digest.update(np.ascontiguousarray(stored.latent).tobytes())
    return digest.hexdigest() if sinks else ""
