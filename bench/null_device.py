"""The diffusion engine over a device that computes nothing: what is left is what Python costs.

Everything is the engine's own but three functions that would keep a device busy: the forward, the VAE's encoder and its
decoder answer at once, with zeros. The pictures are small, so that what little is computed does not count.
"""

from dataclasses import replace

import torch
from torch import Tensor

from genlock_core.clock import Clock
from genlock_worker.engines.diffusion.components import Components, load_components
from genlock_worker.engines.diffusion.config import MODELS, StreamOptions
from genlock_worker.engines.diffusion.engine import DiffusionEngine
from genlock_worker.engines.diffusion.network.coding.caches import StagedCaches
from genlock_worker.engines.diffusion.network.coding.coders import (
    SPATIAL_STRIDE,
    TEMPORAL_STRIDE,
    LatentDecoder,
    LatentEncoder,
)
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.engines.diffusion.network.vae import StreamingVae
from genlock_worker.engines.diffusion.options import LoadOptions
from genlock_worker.engines.diffusion.weights import random_vae

CPU = torch.device("cpu")
LIMIT_BYTES = 2**31


class NullEncoder(LatentEncoder):
    """Latents of zeros."""

    cache_count = 0
    normalised = False

    def latents(self, frames: Tensor, caches: StagedCaches, *, first: bool) -> Tensor:  # noqa: ARG002
        """As `LatentEncoder.latents`."""
        rows, count, height, width, _ = frames.shape
        channels = MODELS["tiny"].vae.z_dim
        return torch.zeros(
            rows, -(-count // TEMPORAL_STRIDE), channels, height // SPATIAL_STRIDE, width // SPATIAL_STRIDE
        )


class NullDecoder(LatentDecoder):
    """Black pictures."""

    cache_count = 0

    def frames(self, latents: Tensor, caches: StagedCaches, *, first: bool) -> Tensor:  # noqa: ARG002
        """As `LatentDecoder.frames`."""
        rows, count, _, height, width = latents.shape
        pictures = TEMPORAL_STRIDE * count - (TEMPORAL_STRIDE - 1 if first else 0)
        return torch.zeros(rows, pictures, 3, height * SPATIAL_STRIDE, width * SPATIAL_STRIDE)


def null_forward(batch: RowBatch) -> Denoised:
    """No noise in what was given, and sinks that are like it."""
    rows = len(batch.hidden)
    return Denoised(torch.zeros_like(batch.hidden), torch.ones(rows, StreamOptions().ring.sinks))


def null_engine(clock: Clock) -> DiffusionEngine:
    """An engine of `tiny` that works on the caller's thread alone."""
    return DiffusionEngine(
        _components(),
        options=StreamOptions(),
        forward=null_forward,
        memory_limit_bytes=LIMIT_BYTES,
        clock=clock,
        overlap=False,
    )


def _components() -> Components:
    config = MODELS["tiny"]
    parts = load_components(
        config,
        weights=None,
        device=CPU,
        dtype=torch.float32,
        options=LoadOptions(),
        stream=StreamOptions(),
        progress=lambda _: None,
    )
    vae = StreamingVae(
        random_vae.random_vae(config.vae, seed=1),
        device=CPU,
        dtype=torch.float32,
        encoder=NullEncoder(),
        decoder=NullDecoder(),
    )
    return replace(parts, vae=vae)
