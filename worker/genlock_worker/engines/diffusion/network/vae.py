"""The Wan 2.1 VAE as a stream: frames in, latents out, and back, for many sessions with one set of weights.

Encoder and decoder are called with caches that lie in the sessions' `VaeStream`s, which are all of a session's state in
the VAE. One call moves several sessions on at once, if they are alike: pictures of one size, as many of them, and
equally far into their streams, as the first two latents of a stream are computed otherwise than all that follow.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from numpy.typing import NDArray
from torch import Tensor, nn

from genlock_worker.engines.diffusion.network.coding.caches import Caches, StagedCaches, slot_bytes
from genlock_worker.engines.diffusion.network.coding.coders import (
    SPATIAL_STRIDE,
    TEMPORAL_STRIDE,
    LatentDecoder,
    LatentEncoder,
)
from genlock_worker.engines.diffusion.network.coding.live_bytes import LiveBytes
from genlock_worker.engines.diffusion.network.coding.wan_coders import WanDecoder, WanEncoder, latent_statistics

SETTLED = 2
"""After so many latents a stream's caches have the shapes that they keep."""


@dataclass(slots=True, eq=False)
class VaeStream:
    """One session's state in the VAE: moved on by the VAE's calls alone, forgotten with the session.

    The two directions are independent: one that was never used is at its start. A call that raises moves nothing on.
    """

    encoder: Caches
    decoder: Caches
    area: tuple[int, int] | None = None
    """Latent height and width of the session; None before the first call."""
    encoded: int = 0
    """Latents that the encoder has given."""
    decoded: int = 0
    """Latents that the decoder was given."""
    finite: Tensor | None = field(default=None)
    """Whether the frames decoded last were finite numbers: a bool on the device, to be read with them."""

    @property
    def bytes(self) -> int:
        """Bytes of the caches as they are now."""
        return slot_bytes(self.encoder) + slot_bytes(self.decoder)


@dataclass(frozen=True, slots=True)
class CallBytes:
    """What one call needs while it runs, for each of its rows, beside the streams and the weights."""

    encode: int
    decode: int


class StreamingVae:
    """One VAE shared by all sessions. Without state of its own: its methods may run in several threads at once.

    Takes `model`, `encoder` and `decoder` over (moves them, changes their convolutions). `channels_last` keeps
    activations with the channels together, which is what convolutions and norms over channels want: on a CPU of two
    cores it takes a third of the time. `normalise` gives latents of mean 0 and deviation 1 to the network, whichever
    encoder makes them. `encoder` and `decoder` work in the place of the VAE's own, of which only the statistics of the
    latents are read then.
    """

    def __init__(
        self,
        model: AutoencoderKLWan,
        *,
        device: torch.device,
        dtype: torch.dtype,
        normalise: bool = False,
        channels_last: bool = True,
        encoder: LatentEncoder | None = None,
        decoder: LatentDecoder | None = None,
    ) -> None:
        self.device = device
        self.dtype = dtype
        self._channels = int(model.config["z_dim"])
        self._mean, self._deviation = latent_statistics(model, device)
        self._normalise = normalise
        self._encoder = encoder or WanEncoder(model)
        self._decoder = decoder or WanDecoder(model, mean=self._mean, deviation=self._deviation)
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

    def encode(self, stream: VaeStream, frames: Tensor) -> Tensor:
        """uint8 RGB (T, H, W, 3) on any device -> latents (F, C, H/8, W/8) float32 on the device: of one session.

        As the Wan VAE gives them (not normalised, unless this VAE was made to). The first call takes 1 + 4k frames and
        gives 1 + k latents, later calls take 4k and give k. Raises ValueError for other shapes.
        """
        return self.encode_together([stream], [frames])[0]

    def decode(self, stream: VaeStream, latents: Tensor) -> Tensor:
        """Latents (F, C, h, w) as the network gave them -> uint8 RGB (frames, 8h, 8w, 3) on the device: of one session.

        The first call gives 1 + 4(F-1) frames, later ones 4F. Raises ValueError for other shapes. Whether the picture
        is made of finite numbers is left in `stream.finite`; where it is not, its pixels mean nothing.
        """
        return self.decode_together([stream], [latents])[0]

    @torch.no_grad()
    def encode_together(self, streams: Sequence[VaeStream], frames: Sequence[Tensor]) -> list[Tensor]:
        """`encode` for several sessions in one call, which are alike (`encoding_kind`). Raises ValueError."""
        areas = [_frames_area(each, stream) for each, stream in zip(frames, streams, strict=True)]
        _check_alike(streams, [self.encoding_kind(*pair) for pair in zip(streams, frames, strict=True)])

        caches = StagedCaches([stream.encoder for stream in streams])
        pictures = _batch([each.to(self.device, non_blocking=True) for each in frames])
        latents = self._scaled(self._encoder.latents(pictures, caches, first=not streams[0].encoded))
        rows = list(latents.unbind())
        caches.take_over()

        # From here on nothing can fail.
        for stream, area in zip(streams, areas, strict=True):
            stream.encoded += latents.shape[1]
            stream.area = area
        return rows

    @torch.no_grad()
    def decode_together(self, streams: Sequence[VaeStream], latents: Sequence[Tensor]) -> list[Tensor]:
        """`decode` for several sessions in one call, which are alike (`decoding_kind`). Raises ValueError."""
        areas = [_latents_area(each, stream, self._channels) for each, stream in zip(latents, streams, strict=True)]
        _check_alike(streams, [self.decoding_kind(*pair) for pair in zip(streams, latents, strict=True)])

        caches = StagedCaches([stream.decoder for stream in streams])
        batch = _batch([each.to(self.device, torch.float32) for each in latents])
        frames = self._decoder.frames(batch, caches, first=not streams[0].decoded)
        verdicts = torch.isfinite(frames).flatten(1).all(1).unbind()
        pixels = frames.clamp(0.0, 1.0).mul(255.0).round().to(torch.uint8).permute(0, 1, 3, 4, 2).contiguous()
        rows = list(pixels.unbind())
        caches.take_over()

        # From here on nothing can fail.
        for stream, area, finite in zip(streams, areas, verdicts, strict=True):
            stream.decoded += batch.shape[1]
            stream.area = area
            stream.finite = finite
        return rows

    def encoding_kind(self, stream: VaeStream, frames: Tensor | NDArray[np.uint8]) -> Hashable:
        """Equal for sessions whose frames may be encoded in one call."""
        return tuple(frames.shape), min(stream.encoded, SETTLED)

    def decoding_kind(self, stream: VaeStream, latents: Tensor) -> Hashable:
        """Equal for sessions whose latents may be decoded in one call."""
        return tuple(latents.shape), min(stream.decoded, SETTLED)

    def stream_bytes(self, height: int, width: int) -> int:
        """Bytes of one session's caches at height x width pixels, once it has coded and decoded its second chunk."""
        return self._measured[0] * _area(height, width)

    def call_bytes(self, height: int, width: int) -> CallBytes:
        """What a call needs for each row at height x width pixels, the caches that it stages included.

        Counted by what PyTorch's operators give (`LiveBytes`): the convolutions' own workspace is not in it.
        """
        _, encode, decode = self._measured
        return CallBytes(encode * _area(height, width), decode * _area(height, width))

    @cached_property
    def _measured(self) -> tuple[int, int, int]:
        """Bytes per latent pixel of a stream, and of an encoding and a decoding call at their peaks.

        Seen in a stream of one latent pixel: every tensor grows with the picture's area and with nothing else.
        """
        stream = self.open()
        frames, latents = (
            torch.zeros(TEMPORAL_STRIDE, SPATIAL_STRIDE, SPATIAL_STRIDE, 3, dtype=torch.uint8, device=self.device),
            torch.zeros(1, self._channels, 1, 1, device=self.device),
        )
        self.encode(stream, torch.cat((frames[:1], frames)))
        self.decode(stream, torch.cat((latents, latents)))

        with LiveBytes() as encoding:
            self.encode(stream, frames)
        with LiveBytes() as decoding:
            self.decode(stream, latents)
        return stream.bytes, encoding.peak, decoding.peak

    def _scaled(self, latents: Tensor) -> Tensor:
        """An encoder's latents on the scale that the network is fed."""
        if self._encoder.normalised == self._normalise:
            return latents
        if self._normalise:
            return (latents - self._mean) / self._deviation
        return latents * self._deviation + self._mean


def _batch(rows: Sequence[Tensor]) -> Tensor:
    """(B, ...); of a row that is alone no copy is made."""
    return rows[0].unsqueeze(0) if len(rows) == 1 else torch.stack(list(rows))


def _check_alike(streams: Sequence[VaeStream], kinds: Sequence[Hashable]) -> None:
    if len(set(kinds)) != 1:
        raise ValueError(f"rows of one call are alike, not {', '.join(map(str, kinds)) or 'none'}")
    if len({id(stream) for stream in streams}) < len(streams):
        raise ValueError("a stream is there twice: one call moves it on once")


def _area(height: int, width: int) -> int:
    return (height // SPATIAL_STRIDE) * (width // SPATIAL_STRIDE)


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


def _lay_channels_last(module: nn.Module) -> None:
    """Kernels with the channels last. (`Module.to(memory_format=...)` refuses modules with kernels of both ranks.)"""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in module.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])
