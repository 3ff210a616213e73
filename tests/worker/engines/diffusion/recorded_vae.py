"""The reference's recordings of the streaming VAE (`golden/vae_stream.npz`), and the model that they were made with.

Provenance: as `recorded`. What it gives is compared with our encoder and decoder, on any device.
"""

import json
import re

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from torch import Tensor

from genlock_worker.engines.diffusion.network.coding.caches import Caches, StagedCaches
from genlock_worker.engines.diffusion.network.coding.wan_coders import WanDecoder, WanEncoder, latent_statistics
from tests.worker.engines.diffusion import recorded

NAME = "vae_stream"


@torch.no_grad()
def latent_deviation(device: torch.device, dtype: torch.dtype) -> float:
    """The largest difference of the latents, over all calls of the recorded stream."""
    arrays = recorded.arrays(NAME)
    encoder = WanEncoder(recorded_model()).to(device, dtype).eval()
    video = torch.from_numpy(arrays["video"])[0].permute(1, 2, 3, 0).to(device)
    slot: Caches = [None] * encoder.cache_count
    start = 0
    gaps = []
    for call, frames in enumerate(arrays["enc_split"].tolist()):
        # The clip is floating point in [-1, 1]; the encoder takes 0-255.
        part = (video[start : start + frames] + 1.0) * 127.5
        caches = StagedCaches([slot])
        latents = encoder.latents(part[None], caches, first=call == 0)
        caches.take_over()
        gaps.append(recorded.worst(latents.transpose(1, 2).cpu(), arrays[f"enc_chunks/{call}"]))
        start += frames
    return max(gaps)


@torch.no_grad()
def frame_deviation(device: torch.device, dtype: torch.dtype) -> float:
    """The largest difference of the frames, in [0, 1], over all calls of the recorded stream."""
    arrays = recorded.arrays(NAME)
    model = recorded_model()
    mean, deviation = latent_statistics(model, device)
    decoder = WanDecoder(model, mean=mean, deviation=deviation).to(device, dtype).eval()
    parts = [torch.from_numpy(arrays[f"enc_chunks/{call}"]) for call in range(4)]
    latents = torch.cat(parts, 2)[0].transpose(0, 1).to(device)
    slot: Caches = [None] * decoder.cache_count
    start = 0
    gaps = []
    for call, count in enumerate(arrays["dec_split"].tolist()):
        caches = StagedCaches([slot])
        frames = decoder.frames(latents[None, start : start + count], caches, first=call == 0)
        caches.take_over()
        theirs = arrays[f"dec_chunks/{call}"] * 0.5 + 0.5
        gaps.append(recorded.worst(frames.transpose(1, 2).cpu(), theirs))
        start += count
    return max(gaps)


def recorded_model() -> AutoencoderKLWan:
    """The recorded model under the library's names."""
    arrays = recorded.arrays(NAME)
    config = json.loads(str(arrays["config_json"]))
    model: AutoencoderKLWan = AutoencoderKLWan(
        base_dim=config["dim"],
        z_dim=config["z_dim"],
        dim_mult=config["dim_mult"],
        num_res_blocks=config["num_res_blocks"],
        attn_scales=[],
        temperal_downsample=[False, True, True],
        latents_mean=arrays["latent_mean"].tolist(),
        latents_std=(1.0 / arrays["latent_inv_std"]).tolist(),
    )
    weights = {key[2:]: torch.from_numpy(value) for key, value in arrays.items() if key.startswith("w/")}
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
