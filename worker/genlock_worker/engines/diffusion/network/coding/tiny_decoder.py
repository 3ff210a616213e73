"""A small decoder in the place of the VAE's: TAEHV's for Wan 2.1 (`taew2_1`), as a stream with memory.

Written from the architecture of github.com/madebyollin/taehv (MIT): convolutions of pictures, blocks with memory
(`tiny_block`), and two doublings in time. It takes latents as the network gives them and is trained to answer
as the VAE's decoder would, at 10 million parameters in place of 73. The published weights were not run here: what is
tested is that a stream is the whole clip, and that a file must hold just these tensors.

Every latent gives four frames. The first three of a stream come before the clip's beginning and are dropped, so its
frames are those of the VAE: one for the first latent, four for every other.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from genlock_worker.engines.diffusion.network.coding.caches import StagedCaches
from genlock_worker.engines.diffusion.network.coding.coders import TEMPORAL_STRIDE, LatentDecoder
from genlock_worker.engines.diffusion.network.coding.tiny_block import MemBlock, conv, layout_of, memories, run
from genlock_worker.engines.diffusion.weights.checkpoints import WeightsCheckpoint, fit, load_into, shapes

WIDTHS = (256, 128, 64, 64)
"""Channels at 1/8, 1/4, 1/2 of the picture's size, and at its full size."""
_TIMES = (1, 2, 2)
"""Frames that come of one at each doubling of the size."""
_MEMORIES = 3
"""Blocks with memory at each size but the last."""
_LIMIT = 3.0
"""Latents are brought softly into this range, positive and negative."""


class TinyDecoder(LatentDecoder):
    """TAEHV's decoder for latents of 16 channels; its parameters have the published names, `decoder.N...`."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = [_SoftLimit(), conv(channels, WIDTHS[0]), nn.ReLU(inplace=True)]
        for width, wider, times in zip(WIDTHS, WIDTHS[1:], _TIMES, strict=False):
            layers += [MemBlock(width) for _ in range(_MEMORIES)]
            layers += [nn.Upsample(scale_factor=2), TGrow(width, times), conv(width, wider, bias=False)]
        layers += [nn.ReLU(inplace=True), conv(WIDTHS[-1], 3)]
        self.decoder = nn.Sequential(*layers)
        self.cache_count = memories(self.decoder)

    def frames(self, latents: Tensor, caches: StagedCaches, *, first: bool) -> Tensor:
        """As `LatentDecoder.frames`. Latent by latent, so that a stream is the same however it is cut into calls."""
        rows, count = latents.shape[:2]
        layout = layout_of(self)
        x = latents.to(next(self.parameters()).dtype)
        spans = []
        for number in range(count):
            pictures = run(self.decoder, x[:, number].contiguous(memory_format=layout), caches)
            spans.append(torch.unflatten(pictures, 0, (rows, -1)))
        if first:
            spans[0] = spans[0][:, TEMPORAL_STRIDE - 1 :]
        return torch.cat(spans, 1).float()


class TGrow(nn.Module):
    """One frame becomes `times` frames."""

    def __init__(self, width: int, times: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, times * width, 1, bias=False)
        self._times = times

    def forward(self, x: Tensor) -> Tensor:
        """(T, C, h, w) -> (times * T, C, h, w)."""
        grown: Tensor = torch.unflatten(self.conv(x), 1, (self._times, -1)).flatten(0, 1)
        return grown


class _SoftLimit(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / _LIMIT) * _LIMIT


def check(checkpoint: WeightsCheckpoint) -> int:
    """Whether a file is `taew2_1`, from its table alone: how many tensors will be read. Raises WrongCheckpoint."""
    return len(fit(checkpoint, decoder_names, shapes(_without_weights())))


def read(checkpoint: WeightsCheckpoint, *, device: torch.device, dtype: torch.dtype) -> TinyDecoder:
    """The decoder with a file's weights. Raises WrongCheckpoint, which names what is missing and what is too much."""
    decoder = _without_weights()
    load_into(decoder, checkpoint, decoder_names, device=device, dtype=dtype)
    return decoder


def decoder_names(names: Iterable[str]) -> dict[str, str]:
    """The published names are the module's; TAEHV's encoder, which lies in the same file, is left out."""
    return {name: name for name in names if not name.startswith("encoder.")}


def _without_weights() -> TinyDecoder:
    with torch.device("meta"):
        return TinyDecoder()
