"""A recorded stream as an engine can play it, and what stands in for the parts that were not recorded."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genlock_worker.engines.algorithm import noise
from genlock_worker.engines.contract import Chunk
from genlock_worker.engines.diffusion.network.vae import CallBytes, StreamingVae, VaeStream
from genlock_worker.engines.diffusion.streaming.session import DiffusionSession
from tests.worker.engines.diffusion import recorded

RECORDINGS = ("batch_1step", "batch_2step")
SIDE = 64
"""Pixels: latents of 8 x 8."""


class Recording:
    """One recorded stream: a call runs one row of each chunk in flight. `number` is the seed of its session."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.arrays = recorded.arrays(name)
        meta = recorded.json_of(name, "meta_json")
        self.steps: int = meta["n_steps"]
        self.calls: int = meta["n_calls"]
        self.prompt: str = meta["prompt"]
        self.kept_rings: list[int] = self.arrays["kv/calls"].tolist()
        """The calls after which the rings were recorded."""
        self._first_step = int(meta["denoising_step_list"][0])

    def draw(self, chunk: int, step: int) -> NDArray[np.float32]:
        """What stands for the noise of (chunk, step): the mixed input for step 0, the recorded draw after that."""
        if chunk == 0:
            found = self.arrays["prepare/noise"][0] if step == 0 else self.arrays["prepare/randn"][step - 1]
        elif step == 0:
            found = self.arrays["calls/noise"][chunk - 1, 0]
        else:
            call = chunk - 1 + step - 1
            # The recording ends while chunks are in flight.
            last = call >= self.calls
            found = np.zeros((1, 16, 8, 8)) if last else self.arrays["calls/randn"][call, step - 1, 0]
        return np.asarray(found, np.float32)

    def level(self, chunk: int) -> noise.NoiseLevel:
        """All noise: the recorded input is mixed already."""
        step = self._first_step if chunk == 0 else int(self.arrays["calls/current_step"][chunk - 1])
        return noise.NoiseLevel(scale=1.0, timestep=step)


@contextmanager
def injected(known: Mapping[int, Recording]) -> Iterator[None]:
    """Draws and noise levels come from the recording whose number is the session's seed."""

    def draw(*, seed: int, chunk: int, step: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        found = known[seed].draw(chunk, step)
        if found.shape != tuple(shape):
            raise ValueError(f"{known[seed].name}: step {step} of chunk {chunk} wants {shape}, not {found.shape}")
        return found

    def level(session: DiffusionSession, chunk: Chunk) -> noise.NoiseLevel:
        return known[session.settings.seed].level(chunk.index)

    with patch.object(noise, "draw", draw), patch.object(DiffusionSession, "_level", level):
        yield


class NotingVae(StreamingVae):
    """Zeros in, black out; notes what it is to decode."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.dtype = torch.float32
        self.decoded: list[Tensor] = []

    def open(self) -> VaeStream:
        return VaeStream([], [])

    def encode(self, stream: VaeStream, frames: Tensor) -> Tensor:
        stream.encoded = True
        return torch.zeros((len(frames) + 3) // 4, 16, 8, 8, device=self.device)

    def decode(self, stream: VaeStream, latents: Tensor) -> Tensor:
        stream.finite = latents.isfinite().all()
        self.decoded.append(latents.detach().float().cpu().clone())
        count = 4 * len(latents) - (0 if stream.decoded else 3)
        stream.decoded = True
        return torch.zeros(count, SIDE, SIDE, 3, dtype=torch.uint8, device=self.device)

    def encode_together(self, streams: Sequence[VaeStream], frames: Sequence[Tensor]) -> list[Tensor]:
        return [self.encode(*pair) for pair in zip(streams, frames, strict=True)]

    def decode_together(self, streams: Sequence[VaeStream], latents: Sequence[Tensor]) -> list[Tensor]:
        return [self.decode(*pair) for pair in zip(streams, latents, strict=True)]

    def stream_bytes(self, height: int, width: int) -> int:  # noqa: ARG002  # it has no weights
        return 0

    def call_bytes(self, height: int, width: int) -> CallBytes:  # noqa: ARG002  # it has no weights
        return CallBytes(0, 0)


class RecordedPrompts:
    """The recorded embeddings, by the prompts' names."""

    resident_bytes = 0

    def encode(self, prompt: str) -> Tensor:
        return recorded.tensor("tiny_model", f"prompt/{prompt}")[0]
