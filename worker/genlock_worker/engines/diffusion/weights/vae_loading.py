"""The VAE put together: its own halves from a checkpoint, the small ones in their place, or random numbers.

A half that has another in its place is not kept; where both have, the VAE's own file is not needed at all.
"""

from collections.abc import Mapping

import torch

from genlock_worker.engines.diffusion.config import VaeConfig
from genlock_worker.engines.diffusion.network.coding import tiny_decoder, tiny_encoder
from genlock_worker.engines.diffusion.network.coding.tiny_decoder import TinyDecoder
from genlock_worker.engines.diffusion.network.coding.tiny_encoder import TinyEncoder
from genlock_worker.engines.diffusion.network.vae import StreamingVae
from genlock_worker.engines.diffusion.weights import random_vae, random_weights, skeletons
from genlock_worker.engines.diffusion.weights.checkpoints import load_into, open_checkpoint
from genlock_worker.engines.diffusion.weights.key_names import vae_names
from genlock_worker.engines.diffusion.weights.model_files import ModelPart, PartFiles

Files = Mapping[ModelPart, PartFiles]
"""The parts that have files; empty where all is made of random numbers."""


def parts_of(encoder: str, decoder: str) -> tuple[ModelPart, ...]:
    """The parts that such a VAE is read from; `vae` or `tiny` each."""
    return (
        *((ModelPart.VAE,) if "vae" in (encoder, decoder) else ()),
        *((ModelPart.TINY_VAE,) if "tiny" in (encoder, decoder) else ()),
    )


def load_vae(
    config: VaeConfig,
    files: Files,
    *,
    encoder: str,
    decoder: str,
    device: torch.device,
    dtype: torch.dtype,
    normalise: bool,
    channels_last: bool,
) -> StreamingVae:
    """A VAE with these halves, `vae` or `tiny` each. Raises WrongCheckpoint; torch.OutOfMemoryError."""
    model = skeletons.vae(config)
    if not files:
        model = random_vae.random_vae(config, random_weights.SEED)
    elif ModelPart.VAE in parts_of(encoder, decoder):
        load_into(model, open_checkpoint(files[ModelPart.VAE].files), vae_names, device=device, dtype=dtype)

    return StreamingVae(
        model,
        device=device,
        dtype=dtype,
        normalise=normalise,
        channels_last=channels_last,
        encoder=_tiny_encoder(config, files, device, dtype) if encoder == "tiny" else None,
        decoder=_tiny_decoder(config, files, device, dtype) if decoder == "tiny" else None,
    )


def _tiny_encoder(config: VaeConfig, files: Files, device: torch.device, dtype: torch.dtype) -> TinyEncoder:
    if files:
        return tiny_encoder.read(open_checkpoint(files[ModelPart.TINY_VAE].files), device=device, dtype=dtype)
    encoder = skeletons.tiny_encoder(config)
    random_weights.fill(encoder, device=device, dtype=dtype)
    return encoder


def _tiny_decoder(config: VaeConfig, files: Files, device: torch.device, dtype: torch.dtype) -> TinyDecoder:
    if files:
        return tiny_decoder.read(open_checkpoint(files[ModelPart.TINY_VAE].files), device=device, dtype=dtype)
    decoder = skeletons.tiny_decoder(config)
    random_weights.fill(decoder, device=device, dtype=dtype)
    return decoder
