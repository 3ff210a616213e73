"""Streams through the diffusion engine for its tests: the `tiny` model in float32 on the CPU, small pictures.

Where a test is not about the VAE, `BlockVae` stands in for it: most of the tiny model's time is the VAE's.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from genlock_core.clock import Clock, ManualClock
from genlock_worker.engines.contract import Change, Chunk, EngineState, Frames, Row, StreamSettings, chunk_frames
from genlock_worker.engines.diffusion.components import Components, load_components
from genlock_worker.engines.diffusion.config import MODELS, StreamOptions
from genlock_worker.engines.diffusion.engine import DEPTH, DiffusionEngine
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.engines.diffusion.network.vae import CallBytes, StreamingVae, VaeStream
from genlock_worker.engines.diffusion.options import LoadOptions
from genlock_worker.engines.diffusion.streaming.device_queue import DeviceQueue
from genlock_worker.engines.diffusion.streaming.micro_step import Forward
from genlock_worker.engines.diffusion.streaming.row_cache import RowCache
from tests.worker.engines.driven import Driven

WIDTH, HEIGHT = 64, 64
PROMPT = "a watercolour city at dusk"
LIMIT_BYTES = 1024**3


@cache
def components() -> Components:
    """The tiny model; sessions change nothing of it, so all engines of a test run may share it."""
    return loaded()


def loaded() -> Components:
    """The tiny model, for an engine that shares no pool of prompts with others."""
    torch.set_num_threads(1)
    return load_components(
        MODELS["tiny"],
        weights=None,
        device=torch.device("cpu"),
        dtype=torch.float32,
        options=LoadOptions(),
        stream=StreamOptions(),
        progress=lambda _: None,
    )


class BlockVae(StreamingVae):
    """Means of 8 x 8 pixels and back, without weights or memory; refuses what the real one refuses of a stream."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.dtype = torch.float32
        self._mix = torch.linspace(-2.0, 2.0, 48).sin().view(16, 3)

    def open(self) -> VaeStream:
        return VaeStream([], [])

    def encode(self, stream: VaeStream, frames: Tensor) -> Tensor:
        if len(frames) % 4 != (0 if stream.encoded else 1):
            raise ValueError(f"{len(frames)} frames cannot be coded here")
        alone = len(frames) % 4
        groups = [frames[:alone]] * alone + list(torch.split(frames[alone:], 4))
        stream.encoded = True
        small = torch.stack([functional.avg_pool2d(_planes(group), 8).mean(0) for group in groups])
        return torch.einsum("cp,fphw->fchw", self._mix, small)

    def decode(self, stream: VaeStream, latents: Tensor) -> Tensor:
        alone = 0 if stream.decoded else 1
        counts = torch.tensor([4] * len(latents))
        counts[:alone] = 1
        stream.decoded = True
        stream.finite = latents.isfinite().all()
        planes = torch.einsum("cp,fchw->fphw", self._mix, latents) / 16
        frames = functional.interpolate(planes.nan_to_num(), scale_factor=8).repeat_interleave(counts, 0)
        return ((frames.clamp(-1, 1) + 1) * 127.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def encode_together(self, streams: Sequence[VaeStream], frames: Sequence[Tensor]) -> list[Tensor]:
        return [self.encode(*pair) for pair in zip(streams, frames, strict=True)]

    def decode_together(self, streams: Sequence[VaeStream], latents: Sequence[Tensor]) -> list[Tensor]:
        return [self.decode(*pair) for pair in zip(streams, latents, strict=True)]

    def stream_bytes(self, height: int, width: int) -> int:
        return 0

    def call_bytes(self, height: int, width: int) -> CallBytes:
        return CallBytes(0, 0)


def _planes(frames: Tensor) -> Tensor:
    return frames.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def diffusion_engine(
    *,
    options: StreamOptions | None = None,
    forward: Forward | None = None,
    limit_bytes: int | None = LIMIT_BYTES,
    vae: StreamingVae | None = None,
    parts: Components | None = None,
    overlap: bool = True,
    clock: Clock | None = None,
    depth: int = DEPTH,
    queue: DeviceQueue | None = None,
) -> DiffusionEngine:
    """An engine of its own, with sinks that stay unless `options` say otherwise."""
    parts = parts or components()
    parts = parts if vae is None else replace(parts, vae=vae)
    return DiffusionEngine(
        parts,
        options=options or StreamOptions(sink_threshold=None),
        forward=forward or parts.transformer,
        memory_limit_bytes=limit_bytes,
        clock=clock or ManualClock(),
        overlap=overlap,
        depth=depth,
        queue=queue,
    )


def engine(
    *,
    options: StreamOptions | None = None,
    forward: Forward | None = None,
    limit_bytes: int | None = LIMIT_BYTES,
    vae: StreamingVae | None = None,
    parts: Components | None = None,
    overlap: bool = True,
    clock: Clock | None = None,
) -> Driven:
    """The same, driven one batch at a time."""
    made = diffusion_engine(
        options=options,
        forward=forward,
        limit_bytes=limit_bytes,
        vae=vae,
        parts=parts,
        overlap=overlap,
        clock=clock,
    )
    return Driven(made)


def settings(prompt: str = PROMPT, **changes: object) -> StreamSettings:
    plain = StreamSettings(prompt=prompt, steps=2, width=WIDTH, height=HEIGHT, frame_rate=16, seed=7, noise_scale=0.7)
    return replace(plain, **changes)  # type: ignore[arg-type]


@cache
def chunk(index: int, *, scene: int = 0, width: int = WIDTH, height: int = HEIGHT) -> Chunk:
    """Coloured waves that drift; another `scene` has other waves."""
    count = chunk_frames(index)
    start = 0 if index == 0 else chunk_frames(0) + (index - 1) * count
    y, x = np.mgrid[0:height, 0:width] / 64.0
    frames = []
    for number in range(start, start + count):
        phase = 0.15 * number
        waves = [np.sin((3 + band + 2 * scene) * x + (2 + scene) * y + phase * (band + 1)) for band in range(3)]
        frames.append(np.stack(waves, axis=-1) * 100 + 128)
    return Chunk(index, np.clip(np.stack(frames), 0, 255).astype(np.uint8))


def play(
    one: Driven,
    session: str,
    chunks: Sequence[int],
    *,
    scene: int = 0,
    text_only: bool = False,
    changes: Mapping[int, Change] | None = None,
) -> list[Frames]:
    """Feed and run chunk after chunk, row after row; returns the outputs."""
    outputs = []
    for index in chunks:
        one.apply(session, (changes or {}).get(index, Change()))
        steps = one.feed(session, Chunk(index, None) if text_only else chunk(index, scene=scene))
        for step in range(steps):
            output = one.run([Row(session, step, index)])[0].output
        assert output is not None
        outputs.append(output)
    return outputs


@dataclass
class StreamBatch:
    """A session run as a stream batch: a chunk is fed and then one row of every chunk in flight is run."""

    one: Driven
    session: str
    fed: int = 0
    chunks_in_flight: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Chunk -> (rows, rows that have run)."""
    outputs: dict[int, Frames] = field(default_factory=dict)

    def begin(self, source: Chunk) -> None:
        self.chunks_in_flight[source.index] = self.one.feed(self.session, source), 0
        self.fed = source.index + 1

    def ready(self) -> list[Row]:
        """At most one row of each chunk, as the worker's lanes give them."""
        rows, before = [], None
        for index, (steps, done) in self.chunks_in_flight.items():
            is_last = done == steps - 1
            if before is None or (before[0] > 0 and not is_last and before[1] > done):
                rows.append(Row(self.session, done, index))
            before = index, done
        return rows

    def run(self, rows: Sequence[Row]) -> None:
        self.note({result.row: result.output for result in self.one.run(rows)})

    def note(self, results: Mapping[Row, Frames | None]) -> None:
        for row, output in results.items():
            steps, done = self.chunks_in_flight[row.chunk]
            assert done == row.step
            self.chunks_in_flight[row.chunk] = steps, done + 1
            if done + 1 == steps:
                assert output is not None
                del self.chunks_in_flight[row.chunk]
                self.outputs[row.chunk] = output

    def round(self, source: Chunk) -> None:
        """Feed a chunk as soon as may be, and run one row of each chunk in flight."""
        while 0 in self.chunks_in_flight:
            self.run(self.ready())
        self.begin(source)
        self.run(self.ready())

    def on(self, other: Driven) -> "StreamBatch":
        """The same place in the stream on another engine, where it is open already, without outputs."""
        other.apply(self.session, Change(steps=self.one.wanted_steps(self.session)))
        return StreamBatch(other, self.session, self.fed, dict(self.chunks_in_flight))


def stored(state: EngineState) -> EngineState:
    """The state as it is after a way through JSON and bytes; its arrays are read-only."""

    def copies(arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        return {k: np.frombuffer(v.tobytes(), v.dtype).reshape(v.shape) for k, v in arrays.items()}

    return replace(
        state,
        in_flight=tuple(
            replace(one, attributes=json.loads(json.dumps(dict(one.attributes)))) for one in state.in_flight
        ),
        attributes=json.loads(json.dumps(dict(state.attributes))),
        head=copies(state.head),
        blocks={name: copies(arrays) for name, arrays in state.blocks.items()},
    )


def caches(one: Driven | DiffusionEngine, session: str) -> list[RowCache]:
    """The rings of a session with what they hold."""
    rows: list[RowCache] = one._session(session).rows
    return rows


def difference(a: Frames, b: Frames) -> float:
    """Mean absolute difference in levels of 0-255."""
    return float(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean())


@dataclass
class Poison:
    """A forward that answers NaN for the rows whose noise level is in `timesteps`, as often as `times` says."""

    timesteps: set[float]
    times: int = 1
    value: float = float("nan")
    rows: int = 0
    """How many it was given."""

    def __call__(self, batch: RowBatch) -> Denoised:
        self.rows += batch.rows
        answer: Denoised = components().transformer(batch)
        flow = answer.flow.clone()
        for row, timestep in enumerate(batch.timesteps.tolist()):
            if self.times > 0 and timestep in self.timesteps:
                flow[row] = self.value
                self.times -= 1
        return replace(answer, flow=flow)


class Cramped:
    """A forward with memory for `rows` rows."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.tried = list[int]()

    def __call__(self, batch: RowBatch) -> Denoised:
        self.tried.append(batch.rows)
        if batch.rows > self.rows:
            raise torch.OutOfMemoryError("no room")
        answer: Denoised = components().transformer(batch)
        return answer
