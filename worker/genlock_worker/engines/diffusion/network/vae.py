"""The Wan 2.1 VAE as a stream: frames in, latents out, and back, for many sessions with one set of weights.

diffusers' `encode` and `decode` code whole clips and keep their caches in the model. Here its encoder and decoder are
called span by span with caches that lie in the session's `VaeStream`, which is all of a session's state. Streaming is
exact: the same spans are computed whatever the calls (the first frame alone, then four by four; latents one by one).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from torch import Tensor, nn

from genlock_worker.engines.diffusion.network.causal_conv import lay_causal_convs

SPATIAL_STRIDE = 8
"""Pixels per latent pixel, each way."""
TEMPORAL_STRIDE = 4
"""Frames per latent frame, but for the first latent frame of a stream, which is one frame."""

Caches = list[Tensor | None]
"""One entry per module that remembers frames, in the order in which they are met; None before the first call."""


@dataclass(slots=True, eq=False)
class VaeStream:
    """One session's state in the VAE: moved on by `encode` and `decode` alone, forgotten with the session.

    The two directions are independent: one that was never used is at its start. A call that raises moves nothing on.
    """

    encoder: Caches
    decoder: Caches
    area: tuple[int, int] | None = None
    """Latent height and width of the session; None before the first call."""
    encoded: bool = False
    """Whether the encoder has seen the first frames."""
    decoded: bool = False
    """Whether the decoder has seen the first latents."""
    finite: Tensor | None = field(default=None)
    """Whether the frames decoded last were finite numbers: a bool on the device, to be read with them."""

    @property
    def bytes(self) -> int:
        """Bytes of the caches as they are now."""
        return sum(cache.nbytes for cache in (*self.encoder, *self.decoder) if isinstance(cache, Tensor))


class LatentDecoder(nn.Module):
    """From latents to frames, with all memory in the caches it is given."""

    cache_count: int
    """How many caches a stream needs."""

    def frames(self, latents: Tensor, caches: Caches, *, first: bool) -> Tensor:
        """(F, C, h, w) float32 as the network gave them -> (frames, 3, H, W) in [0, 1], not clamped; moves `caches` on.

        `first`: the first latent is the first of its stream and gives 1 frame; every other gives 4.
        """
        raise NotImplementedError


class WanDecoder(LatentDecoder):
    """The VAE's own decoder, on latents that it brings back to their mean and deviation."""

    def __init__(self, model: AutoencoderKLWan, *, device: torch.device) -> None:
        super().__init__()
        self.decoder = model.decoder
        self.post_quant_conv = model.post_quant_conv
        self.cache_count = lay_causal_convs(self.decoder)
        lay_causal_convs(self)
        mean, deviation = _statistics(model, device)
        self._mean = mean
        self._deviation = deviation

    def frames(self, latents: Tensor, caches: Caches, *, first: bool) -> Tensor:
        """As `LatentDecoder.frames`."""
        weight = self.post_quant_conv.weight
        z = latents * self._deviation + self._mean
        z = _laid_out(z.to(weight.dtype).transpose(0, 1).unsqueeze(0), weight)
        z = self.post_quant_conv(z)
        spans = [
            self.decoder(z[:, :, i : i + 1], feat_cache=caches, feat_idx=[0], first_chunk=first and i == 0)
            for i in range(z.shape[2])
        ]

        return torch.cat(spans, 2)[0].transpose(0, 1).float() * 0.5 + 0.5


class WanEncoder(nn.Module):
    """The VAE's encoder up to the mean of the posterior."""

    def __init__(self, model: AutoencoderKLWan, *, device: torch.device, normalise: bool) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.quant_conv = model.quant_conv
        self.cache_count = lay_causal_convs(self.encoder)
        lay_causal_convs(self)
        self._normalise = normalise
        mean, deviation = _statistics(model, device)
        self._mean = mean
        self._deviation = deviation

    def latents(self, frames: Tensor, caches: Caches, *, first: bool) -> Tensor:
        """(T, H, W, 3) uint8 -> (F, C, h, w) float32; moves `caches` on. `first`: the first frame is coded alone."""
        weight = self.quant_conv.weight
        x = _laid_out((frames.float() / 127.5 - 1.0).to(weight.dtype).permute(3, 0, 1, 2).unsqueeze(0), weight)
        parts = [
            self.encoder(x[:, :, begin:end], feat_cache=caches, feat_idx=[0])
            for begin, end in _spans(x.shape[2], first=first)
        ]
        posterior = self.quant_conv(torch.cat(parts, 2))[0].transpose(0, 1)
        mean: Tensor = posterior[:, : posterior.shape[1] // 2].float().contiguous()
        if self._normalise:
            mean = (mean - self._mean) / self._deviation

        return mean


class StreamingVae:
    """One VAE shared by all sessions. Without state of its own: its methods may run in several threads at once.

    Takes `model` and `decoder` over (moves them, changes their convolutions). `channels_last` keeps activations with
    the channels together, which is what convolutions and norms over channels want: on a CPU of two cores it takes a
    third of the time. `normalise` gives latents of mean 0 and deviation 1 to the network. `decoder` decodes in the
    place of the VAE's own.
    """

    def __init__(
        self,
        model: AutoencoderKLWan,
        *,
        device: torch.device,
        dtype: torch.dtype,
        normalise: bool = False,
        channels_last: bool = True,
        decoder: LatentDecoder | None = None,
    ) -> None:
        self.device = device
        self.dtype = dtype
        self._channels = int(model.config["z_dim"])
        self._encoder = WanEncoder(model, device=device, normalise=normalise)
        self._decoder = decoder or WanDecoder(model, device=device)
        for half in (self._encoder, self._decoder):
            half.eval().requires_grad_(requires_grad=False).to(device, dtype)
            if channels_last:
                _lay_channels_last(half)

    @property
    def resident_bytes(self) -> int:
        """Bytes of the weights on the device."""
        return sum(p.nbytes for half in (self._encoder, self._decoder) for p in half.parameters())

    def open(self) -> VaeStream:
        """A session that has seen nothing."""
        return VaeStream([None] * self._encoder.cache_count, [None] * self._decoder.cache_count)

    @torch.no_grad()
    def encode(self, stream: VaeStream, frames: Tensor) -> Tensor:
        """uint8 RGB (T, H, W, 3) on any device -> latents (F, C, H/8, W/8) float32 on the device.

        The posterior's mean, as the VAE gives it (not normalised, unless the VAE was made to). The first call takes
        1 + 4k frames and gives 1 + k latents, later calls take 4k and give k. Raises ValueError for other shapes.
        """
        area = _frames_area(frames, stream)
        caches = list(stream.encoder)
        latents = self._encoder.latents(frames.to(self.device, non_blocking=True), caches, first=not stream.encoded)
        stream.encoder = caches
        stream.encoded = True
        stream.area = area
        return latents

    @torch.no_grad()
    def decode(self, stream: VaeStream, latents: Tensor) -> Tensor:
        """Latents (F, C, h, w) as the network gave them -> uint8 RGB (frames, 8h, 8w, 3) on the device.

        The first call gives 1 + 4(F-1) frames, later ones 4F. Raises ValueError for other shapes. Whether the picture
        is made of finite numbers is left in `stream.finite`; where it is not, its pixels mean nothing.
        """
        area = _latents_area(latents, stream, self._channels)
        caches = list(stream.decoder)
        frames = self._decoder.frames(latents.to(self.device, torch.float32), caches, first=not stream.decoded)
        finite = torch.isfinite(frames).all()
        pixels = frames.clamp(0.0, 1.0).mul(255.0).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        stream.decoder = caches
        stream.decoded = True
        stream.area = area
        stream.finite = finite

        return pixels

    def stream_bytes(self, height: int, width: int) -> int:
        """Bytes of one session's caches at height x width pixels, once it has coded and decoded its second chunk."""
        return self._bytes_per_latent_pixel * (height // SPATIAL_STRIDE) * (width // SPATIAL_STRIDE)

    @cached_property
    def _bytes_per_latent_pixel(self) -> int:
        """Seen in a stream of one latent pixel: every cache grows with the picture's area and with nothing else."""
        stream = self.open()
        for frames, latents in ((1 + TEMPORAL_STRIDE, 2), (TEMPORAL_STRIDE, 1)):
            self.encode(stream, torch.zeros(frames, SPATIAL_STRIDE, SPATIAL_STRIDE, 3, dtype=torch.uint8))
            self.decode(stream, torch.zeros(latents, self._channels, 1, 1))
        return stream.bytes


def _spans(frames: int, *, first: bool) -> Sequence[tuple[int, int]]:
    """Which frames go through the encoder together."""
    alone = 1 if first else 0
    groups = [(begin, begin + TEMPORAL_STRIDE) for begin in range(alone, frames, TEMPORAL_STRIDE)]
    return [(0, 1), *groups] if first else groups


def _frames_area(frames: Tensor, stream: VaeStream) -> tuple[int, int]:
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(f"frames are uint8 (T, H, W, 3), not {frames.dtype} {tuple(frames.shape)}")

    count, height, width, _ = frames.shape
    alone = 0 if stream.encoded else 1
    if count <= 0 or count % TEMPORAL_STRIDE != alone:
        wanted = "4k" if stream.encoded else "1 + 4k, as the first of their stream,"
        raise ValueError(f"{count} frames cannot be coded: {wanted} frames are")
    if height % SPATIAL_STRIDE or width % SPATIAL_STRIDE:
        raise ValueError(f"sides must be multiples of {SPATIAL_STRIDE}, not {width}x{height}")

    return _same_area(stream, (height // SPATIAL_STRIDE, width // SPATIAL_STRIDE))


def _latents_area(latents: Tensor, stream: VaeStream, channels: int) -> tuple[int, int]:
    if latents.ndim != 4 or latents.shape[1] != channels or not latents.shape[0]:
        raise ValueError(f"latents are (F, {channels}, h, w), not {tuple(latents.shape)}")
    return _same_area(stream, (latents.shape[2], latents.shape[3]))


def _same_area(stream: VaeStream, area: tuple[int, int]) -> tuple[int, int]:
    if stream.area not in (None, area):
        raise ValueError(f"a stream of latents of {stream.area} is given {area}: open another for another resolution")
    return area


def _statistics(model: AutoencoderKLWan, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the latents' channels, (C, 1, 1) float32 each, in whatever dtype the model computes."""
    mean, deviation = (
        torch.tensor(model.config[name], device=device, dtype=torch.float32).view(-1, 1, 1)
        for name in ("latents_mean", "latents_std")
    )
    return mean, deviation


def _lay_channels_last(module: nn.Module) -> None:
    """Kernels with the channels last. (`Module.to(memory_format=...)` refuses modules with kernels of both ranks.)"""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in module.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])


def _laid_out(x: Tensor, like: Tensor) -> Tensor:
    """Put activations (B, C, T, H, W) into the layout of the kernel that they will meet."""
    last = like.is_contiguous(memory_format=torch.channels_last_3d) and not like.is_contiguous()
    return x.contiguous(memory_format=torch.channels_last_3d if last else torch.contiguous_format)
