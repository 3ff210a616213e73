"""The modules of a model without their weights, on `meta`: what a checkpoint must fit, and what it is loaded into."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from transformers import UMT5Config, UMT5EncoderModel

from genlock_worker.engines.algorithm.ring import V2V_RING, RingLayout
from genlock_worker.engines.diffusion.config import DiffusionConfig, TextConfig, TransformerConfig, VaeConfig
from genlock_worker.engines.diffusion.network.coding.tiny_decoder import TinyDecoder
from genlock_worker.engines.diffusion.network.coding.tiny_encoder import TinyEncoder
from genlock_worker.engines.diffusion.network.pointwise import Pointwise
from genlock_worker.engines.diffusion.network.ring_ops import RingOps
from genlock_worker.engines.diffusion.network.transformer import CausalWan
from genlock_worker.engines.diffusion.weights.checkpoints import shapes
from genlock_worker.engines.diffusion.weights.key_names import (
    TIED_EMBEDDING,
    Rename,
    text_names,
    transformer_names,
    vae_names,
)
from genlock_worker.engines.diffusion.weights.model_files import ModelPart
from genlock_worker.engines.diffusion.weights.random_vae import empty_vae

_RELATIVE_BUCKETS, _MAX_DISTANCE = 32, 128
"""Of UMT5's relative positions."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the checkpoint of a part must hold, and how its names are read."""

    shapes: Mapping[str, tuple[int, ...]]
    rename: Rename


def transformer(
    config: TransformerConfig,
    *,
    layout: RingLayout = V2V_RING,
    ops: RingOps | None = None,
    pointwise: Pointwise | None = None,
) -> CausalWan:
    """The causal Wan, without weights."""
    with torch.device("meta"):
        return CausalWan(config, layout=layout, ops=ops, pointwise=pointwise)


def vae(config: VaeConfig) -> AutoencoderKLWan:
    """The VAE, without weights."""
    with torch.device("meta"):
        return empty_vae(config)


def tiny_decoder(config: VaeConfig) -> TinyDecoder:
    """The small decoder for the VAE's latents, without weights."""
    with torch.device("meta"):
        return TinyDecoder(config.z_dim)


def tiny_encoder(config: VaeConfig) -> TinyEncoder:
    """The small encoder that makes the VAE's latents, without weights."""
    with torch.device("meta"):
        return TinyEncoder(config.z_dim)


def text_encoder(config: TextConfig) -> UMT5EncoderModel:
    """The UMT5 encoder, without weights."""
    sizes = UMT5Config(
        vocab_size=config.vocab,
        d_model=config.dim,
        d_kv=config.head_dim,
        d_ff=config.ffn_dim,
        num_layers=config.layers,
        num_heads=config.heads,
        relative_attention_num_buckets=_RELATIVE_BUCKETS,
        relative_attention_max_distance=_MAX_DISTANCE,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
    )
    with torch.device("meta"):
        return UMT5EncoderModel(sizes)


def expected(part: ModelPart, config: DiffusionConfig) -> Expected:
    """What a part's checkpoint must hold. Raises KeyError for a part that has no fixed tensors."""
    if part is ModelPart.TRANSFORMER:
        return Expected(shapes(transformer(config.transformer)), transformer_names)
    if part is ModelPart.VAE:
        return Expected(shapes(vae(config.vae)), vae_names)
    if part is ModelPart.TEXT_ENCODER:
        return Expected(shapes(text_encoder(config.text), without={TIED_EMBEDDING}), text_names)
    raise KeyError(part)
