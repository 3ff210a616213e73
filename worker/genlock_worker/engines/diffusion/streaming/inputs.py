"""Chunks on their way in: encoded and mixed with noise beside the forwards, those of several sessions in one call.

What the device denoises now does not need the next chunk's latents. So the encoder has a thread of its own, and on a
GPU a stream of its own. The encoder's half of every `VaeStream` is touched here alone, a session's chunks in their
order, and one that was handed over is encoded in any case: nothing newer takes its place.
"""

from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genlock_core.clock import Clock
from genlock_worker.engines.algorithm import noise
from genlock_worker.engines.contract import CHUNK_FRAMES, Frames, Row
from genlock_worker.engines.diffusion.network.vae import StreamingVae, VaeStream
from genlock_worker.engines.diffusion.streaming.device_progress import DeviceProgress, DeviceTimer
from genlock_worker.engines.diffusion.streaming.transfers import upload
from genlock_worker.engines.diffusion.streaming.vae_thread import Piece, VaeThread, rows_at_once


@dataclass(frozen=True, slots=True, eq=False)
class ChunkInput:
    """A chunk as it was fed, and the noise that belongs to it."""

    chunk: int
    frames: Frames
    """(T, H, W, 3); must not change any more."""
    scale: float
    """Of the noise, 0 to 1."""
    seed: int


class InputEncoder:
    """Encodes for all sessions of an engine. `encode` and `prime` are called on the engine's thread and do not wait.

    `dtype` is the model's. `overlap` False: they do the work themselves, before they return. `memory_bytes` is what one
    call may need beside what is set aside for the sessions: as many rows run together as that allows, and one in any
    case.
    """

    def __init__(
        self, vae: StreamingVae, *, dtype: torch.dtype, clock: Clock, overlap: bool, memory_bytes: int
    ) -> None:
        self._vae = vae
        self._dtype = dtype
        self._memory_bytes = memory_bytes
        self.timer = DeviceTimer(vae.device, clock)
        """Of the chunks that were encoded."""
        self._progress = DeviceProgress(vae.device)
        self._thread: VaeThread[ChunkInput, Tensor] = VaeThread(
            "encode",
            vae.device,
            past="taken in",
            kind=self._kind,
            most=self._most,
            run=self._encode,
            overlap=overlap,
        )

    @property
    def parts(self) -> int:
        """Calls that the device has finished; may be read on any thread."""
        return self._progress.parts

    def encode(self, session: str, stream: VaeStream, item: ChunkInput) -> Future[Tensor]:
        """Row 0's input, x = s * eps + (1 - s) * z, of a chunk's latents z: (F, C, h, w) in the model's dtype.

        The device has made it when the future is done. The future raises EngineFailure for a chunk that cannot be
        encoded.
        """
        return self._thread.submit(Row(session, 0, item.chunk), stream, item)

    def prime(self, stream: VaeStream, inputs: Sequence[Frames]) -> Future[None]:
        """Encode what was taken in already, so that the stream remembers it; each item counts as a part.

        A stream begins with one frame alone. Where the session's own beginning is gone, the first frame that is left
        stands in for it, so that later frames keep their places in groups of four. The future raises RuntimeError or
        ValueError for frames that give no latents.
        """

        def work() -> None:
            for number, frames in enumerate(inputs):
                begins_late = number == 0 and len(frames) == CHUNK_FRAMES
                self._vae.encode(
                    stream, upload(np.concatenate([frames[:1], frames]) if begins_late else frames, self._vae.device)
                )
                self._progress.queued()
                self._progress.wait()

        return self._thread.alone(work)

    def stop(self) -> None:
        """End the thread after what it is at; what waits is forgotten."""
        self._thread.stop()

    def _kind(self, stream: VaeStream, item: ChunkInput) -> Hashable:
        return self._vae.encoding_kind(stream, item.frames)

    def _most(self, item: ChunkInput) -> int:
        _, height, width, _ = item.frames.shape
        return rows_at_once(self._memory_bytes, self._vae.call_bytes(height, width).encode)

    def _encode(self, pieces: Sequence[Piece[ChunkInput, Tensor]]) -> Sequence[Tensor | Exception]:
        """Waits for the device: nothing that it reads is let go, and no memory used again, while it may still read."""
        with self.timer.piece(len(pieces)):
            frames = [upload(piece.item.frames, self._vae.device) for piece in pieces]
            latents = self._vae.encode_together([piece.stream for piece in pieces], frames)
            made = [self._noised(piece.item, z) for piece, z in zip(pieces, latents, strict=True)]
        try:
            self._progress.queued()
            self._progress.wait()
        except RuntimeError as problem:
            return [problem] * len(pieces)
        return made

    def _noised(self, item: ChunkInput, latents: Tensor) -> Tensor | Exception:
        """Its own failure alone: the streams of all have moved on."""
        try:
            return noised(item, latents, dtype=self._dtype)
        except RuntimeError as problem:  # also where there is no pinned memory
            return problem


def noised(item: ChunkInput, latents: Tensor, *, dtype: torch.dtype) -> Tensor:
    """What a chunk's first row is given, of its latents (F, C, h, w): rounded as it will be used and stored."""
    eps = upload(noise.draw(seed=item.seed, chunk=item.chunk, step=0, shape=tuple(latents.shape)), latents.device)
    return (item.scale * eps + (1.0 - item.scale) * latents).to(dtype)
