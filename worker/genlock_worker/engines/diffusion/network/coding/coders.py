"""What codes pictures into latents and latents into pictures: the VAE's halves, or small networks in their place.

A coder has weights and no memory. What it remembers of a stream lies in the caches that it is given.
"""

from torch import Tensor, nn

from genlock_worker.engines.diffusion.network.coding.caches import StagedCaches

SPATIAL_STRIDE = 8
"""Pixels per latent pixel, each way."""
TEMPORAL_STRIDE = 4
"""Frames per latent frame, but for the first latent frame of a stream, which is one frame."""


class LatentEncoder(nn.Module):
    """From frames to latents."""

    cache_count: int
    """How many caches a stream needs."""
    normalised: bool
    """Whether its latents have mean 0 and deviation 1, channel by channel; else they are as the Wan VAE gives them."""

    def latents(self, frames: Tensor, caches: StagedCaches, *, first: bool) -> Tensor:
        """uint8 (B, T, H, W, 3) -> float32 (B, F, C, h, w); moves `caches` on.

        `first`: the first frame is the first of its stream and is coded alone.
        """
        raise NotImplementedError


class LatentDecoder(nn.Module):
    """From latents to frames."""

    cache_count: int
    """How many caches a stream needs."""

    def frames(self, latents: Tensor, caches: StagedCaches, *, first: bool) -> Tensor:
        """float32 (B, F, C, h, w) as the network gave them -> (B, frames, 3, H, W) in [0, 1], not clamped; moves
        `caches` on.

        `first`: the first latent is the first of its stream and gives 1 frame; every other gives 4.
        """
        raise NotImplementedError


def frame_spans(frames: int, *, first: bool) -> list[tuple[int, int]]:
    """Which frames of a call are coded into one latent together: (begin, end) each."""
    alone = 1 if first else 0
    groups = [(begin, begin + TEMPORAL_STRIDE) for begin in range(alone, frames, TEMPORAL_STRIDE)]
    return [(0, 1), *groups] if first else groups
