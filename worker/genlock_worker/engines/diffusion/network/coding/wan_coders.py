"""The Wan 2.1 VAE's own encoder and decoder, span by span: diffusers' modules with caches that lie outside of them.

diffusers' `encode` and `decode` code whole clips and keep their caches in the model. Here the same spans are computed
whatever the calls are: the first frame alone, then four by four; latents one by one. So streaming is exact.
"""

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from torch import Tensor

from genlock_worker.engines.diffusion.network.coding.caches import StagedCaches
from genlock_worker.engines.diffusion.network.coding.causal_conv import lay_causal_convs
from genlock_worker.engines.diffusion.network.coding.coders import LatentDecoder, LatentEncoder, frame_spans


class WanEncoder(LatentEncoder):
    """The VAE's encoder up to the mean of the posterior."""

    normalised = False

    def __init__(self, model: AutoencoderKLWan) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.quant_conv = model.quant_conv
        self.cache_count = lay_causal_convs(self.encoder)
        lay_causal_convs(self)

    def latents(self, frames: Tensor, caches: StagedCaches, *, first: bool) -> Tensor:
        """As `LatentEncoder.latents`."""
        weight = self.quant_conv.weight
        x = _laid_out((frames.float() / 127.5 - 1.0).to(weight.dtype).permute(0, 4, 1, 2, 3), weight)
        parts = [
            self.encoder(x[:, :, begin:end], feat_cache=caches, feat_idx=[0])
            for begin, end in frame_spans(x.shape[2], first=first)
        ]
        posterior = self.quant_conv(torch.cat(parts, 2)).transpose(1, 2)
        mean: Tensor = posterior[:, :, : posterior.shape[2] // 2].float().contiguous()
        return mean


class WanDecoder(LatentDecoder):
    """The VAE's own decoder, on latents that it brings back to their mean and deviation, (C, 1, 1) float32 each."""

    def __init__(self, model: AutoencoderKLWan, *, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.decoder = model.decoder
        self.post_quant_conv = model.post_quant_conv
        self.cache_count = lay_causal_convs(self.decoder)
        lay_causal_convs(self)
        self._mean = mean
        self._deviation = deviation

    def frames(self, latents: Tensor, caches: StagedCaches, *, first: bool) -> Tensor:
        """As `LatentDecoder.frames`."""
        weight = self.post_quant_conv.weight
        z = latents * self._deviation + self._mean
        z = self.post_quant_conv(_laid_out(z.to(weight.dtype).transpose(1, 2), weight))
        spans = [
            self.decoder(z[:, :, i : i + 1], feat_cache=caches, feat_idx=[0], first_chunk=first and i == 0)
            for i in range(z.shape[2])
        ]

        return torch.cat(spans, 2).transpose(1, 2).float() * 0.5 + 0.5


def latent_statistics(model: AutoencoderKLWan, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the latents' channels, (C, 1, 1) float32 each, in whatever dtype the model computes."""
    mean, deviation = (
        torch.tensor(model.config[name], device=device, dtype=torch.float32).view(-1, 1, 1)
        for name in ("latents_mean", "latents_std")
    )
    return mean, deviation


def _laid_out(x: Tensor, like: Tensor) -> Tensor:
    """Put activations (B, C, T, H, W) into the layout of the kernel that they will meet."""
    last = like.is_contiguous(memory_format=torch.channels_last_3d) and not like.is_contiguous()
    return x.contiguous(memory_format=torch.channels_last_3d if last else torch.contiguous_format)
