"""The streaming VAE against the reference's recordings (golden/vae_stream.npz, see its README for their provenance)."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from torch import Tensor

from genlock_worker.engines.diffusion.network.vae import StreamingVae, WanDecoder, WanEncoder

GOLDEN = Path(__file__).parent / "golden" / "vae_stream.npz"
TOLERANCE = 1e-4
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    with np.load(GOLDEN, allow_pickle=False) as arrays:
        return dict(arrays)


def recorded_model(recorded: dict[str, Any]) -> AutoencoderKLWan:
    config = json.loads(str(recorded["config_json"]))
    model: AutoencoderKLWan = AutoencoderKLWan(
        base_dim=config["dim"],
        z_dim=config["z_dim"],
        dim_mult=config["dim_mult"],
        num_res_blocks=config["num_res_blocks"],
        attn_scales=[],
        temperal_downsample=[False, True, True],
        latents_mean=recorded["latent_mean"].tolist(),
        latents_std=(1.0 / recorded["latent_inv_std"]).tolist(),
    )
    weights = {key[2:]: torch.from_numpy(value) for key, value in recorded.items() if key.startswith("w/")}
    places = up_places(weights)
    model.load_state_dict({library_name(key, places): value for key, value in weights.items()}, strict=True)
    return model


def up_places(weights: dict[str, Tensor]) -> dict[str, str]:
    """Where the decoder's flat list of blocks lies in the library: residual blocks, then a resampler, per level."""
    layers = {int(key.split(".")[2]): key for key in weights if key.startswith("decoder.upsamples.")}
    resamplers = {int(key.split(".")[2]) for key in weights if ".resample." in key and key.startswith("decoder.")}
    places, level, block = {}, 0, 0
    for layer in sorted(layers):
        if layer in resamplers:
            places[f"decoder.upsamples.{layer}"] = f"decoder.up_blocks.{level}.upsamplers.0"
            level, block = level + 1, 0
        else:
            places[f"decoder.upsamples.{layer}"] = f"decoder.up_blocks.{level}.resnets.{block}"
            block += 1
    return places


def library_name(key: str, places: dict[str, str]) -> str:
    """The golden README's key map: the original Wan names to diffusers'."""
    found = re.match(r"decoder\.upsamples\.\d+", key)
    if found:
        key = places[found[0]] + key[found.end() :]
    key = re.sub(r"^conv1\.", "quant_conv.", key)
    key = re.sub(r"^conv2\.", "post_quant_conv.", key)
    key = re.sub(r"^(encoder|decoder)\.conv1\.", r"\1.conv_in.", key)
    key = re.sub(r"\.downsamples\.", ".down_blocks.", key)
    for ours, theirs in (
        (".middle.0.", ".mid_block.resnets.0."),
        (".middle.1.", ".mid_block.attentions.0."),
        (".middle.2.", ".mid_block.resnets.1."),
        (".head.0.gamma", ".norm_out.gamma"),
        (".head.2.", ".conv_out."),
        (".residual.0.", ".norm1."),
        (".residual.2.", ".conv1."),
        (".residual.3.", ".norm2."),
        (".residual.6.", ".conv2."),
        (".shortcut.", ".conv_shortcut."),
    ):
        key = key.replace(ours, theirs)
    return key


def worst(ours: Tensor, theirs: Any) -> float:
    return float((ours - torch.from_numpy(theirs)).abs().max())


def test_latents_are_those_of_the_reference(recorded: dict[str, Any]) -> None:
    encoder = WanEncoder(recorded_model(recorded), device=CPU, normalise=False).eval()
    video = torch.from_numpy(recorded["video"])[0].permute(1, 2, 3, 0)
    caches: list[Tensor | None] = [None] * encoder.cache_count
    start = 0
    with torch.no_grad():
        for call, frames in enumerate(recorded["enc_split"].tolist()):
            # The clip is floating point in [-1, 1]; the encoder takes 0-255.
            part = (video[start : start + frames] + 1.0) * 127.5
            latents = encoder.latents(part, caches, first=call == 0)
            assert worst(latents.transpose(0, 1)[None], recorded[f"enc_chunks/{call}"]) < TOLERANCE
            start += frames


def test_frames_are_those_of_the_reference(recorded: dict[str, Any]) -> None:
    decoder = WanDecoder(recorded_model(recorded), device=CPU).eval()
    latents = torch.cat([torch.from_numpy(recorded[f"enc_chunks/{call}"]) for call in range(4)], 2)[0].transpose(0, 1)
    caches: list[Tensor | None] = [None] * decoder.cache_count
    start = 0
    with torch.no_grad():
        for call, count in enumerate(recorded["dec_split"].tolist()):
            frames = decoder.frames(latents[start : start + count], caches, first=call == 0)
            theirs = recorded[f"dec_chunks/{call}"] * 0.5 + 0.5
            assert worst(frames.transpose(0, 1)[None], theirs) < TOLERANCE
            start += count


@pytest.mark.parametrize("channels_last", [False, True])
def test_pixels_are_those_of_the_reference_to_one_level(recorded: dict[str, Any], *, channels_last: bool) -> None:
    vae = StreamingVae(recorded_model(recorded), device=CPU, dtype=torch.float32, channels_last=channels_last)
    stream = vae.open()
    for call in range(4):
        latents = torch.from_numpy(recorded[f"enc_chunks/{call}"])[0].transpose(0, 1)
        pixels = vae.decode(stream, latents)
        theirs = ((recorded[f"dec_chunks/{call}"][0].clip(-1, 1) * 0.5 + 0.5) * 255).round().transpose(1, 2, 3, 0)
        assert worst(pixels.float(), theirs) <= 1.0
        assert stream.finite is not None
        assert bool(stream.finite)
