"""How near pictures come back from latents: the VAE beside the small networks that can stand in its place.

Published weights are needed: what random numbers give says nothing. Nothing is denoised here, so what is lost is the
coders' own.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genlock_core.errors import GenlockError
from genlock_worker.engines.contract import Frames
from genlock_worker.engines.diffusion.network.coding.coders import TEMPORAL_STRIDE
from genlock_worker.engines.diffusion.weights.model_files import find_parts, model_config, model_folder
from genlock_worker.engines.diffusion.weights.vae_loading import load_vae, parts_of

KINDS = ("vae", "tiny")
PEAK = 255.0
"""Of a channel of a picture."""
SILENT_DB = 100.0
"""What a picture without any difference is given: its ratio would be infinite."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """What one pair of an encoder and a decoder makes of the pictures."""

    encoder: str
    decoder: str
    psnr_db: float | None = None
    """Peak signal-to-noise ratio against the pictures that went in; None: not measured."""
    latents_off: float | None = None
    """Root mean square difference of the latents from the VAE's, over the deviation of those; None for the VAE's
    own, and where the VAE was not measured."""
    reason: str = ""
    """Why it was not measured."""


def reconstructions(
    weights: Path, model: str, pictures: Frames, *, device: torch.device, dtype: torch.dtype
) -> Iterator[Reconstruction]:
    """Every pair of encoder and decoder, as it is measured. `pictures`: RGB (1 + 4k, H, W, 3), a moving scene.

    Raises UnknownModel; torch.OutOfMemoryError.
    """
    config = model_config(model)
    frames = torch.from_numpy(pictures)
    expected: Tensor | None = None
    for encoder, decoder in product(KINDS, KINDS):
        try:
            files = find_parts(model_folder(weights, model), *parts_of(encoder, decoder))
            vae = load_vae(
                config.vae,
                files,
                encoder=encoder,
                decoder=decoder,
                device=device,
                dtype=dtype,
                normalise=True,
                channels_last=True,
            )
        except GenlockError as missing:
            yield Reconstruction(encoder, decoder, reason=str(missing))
            continue

        # Chunk by chunk, as in a stream, and with latents as the network gives them to the decoder.
        stream = vae.open()
        latents = []
        shown = []
        for chunk in torch.split(frames, [1, *[TEMPORAL_STRIDE] * (len(frames) // TEMPORAL_STRIDE)]):
            latents.append(vae.encode(stream, chunk))
            shown.append(vae.decode(stream, latents[-1]).cpu().numpy())
        coded = torch.cat(latents).cpu()
        if encoder == "vae":
            expected = coded
        off = (
            None
            if encoder == "vae" or expected is None
            else float((coded - expected).square().mean().sqrt() / expected.std())
        )
        yield Reconstruction(encoder, decoder, psnr(pictures, np.concatenate(shown)), off)


def psnr(pictures: Frames, others: Frames) -> float:
    """10 log10(255^2 / mean square difference) in dB, over all pictures and channels. Raises ValueError for other
    shapes."""
    if pictures.shape != others.shape:
        raise ValueError(f"pictures of {pictures.shape} and of {others.shape} cannot be compared")
    error = float(np.square(pictures.astype(np.float64) - others).mean())
    return SILENT_DB if not error else 10 * math.log10(PEAK**2 / error)
