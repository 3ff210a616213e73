"""A small encoder in the place of the VAE's: TAEHV's for Wan 2.1 (`taew2_1`), as a stream with memory.

Written from the architecture of github.com/madebyollin/taehv (MIT): convolutions of pictures, halvings in size of which
two halve the time as well, and blocks with memory (`tiny_block`). Its latents are those that a diffusion model is
trained on: of mean 0 and deviation 1, which the VAE's own are not.

Four frames make a latent. The first latent of a stream is that of one frame alone, here as in the VAE: it is taken for
a still of four frames, so that every later latent is made of the four frames that the VAE makes it of, and no frame is
waited for. TAEHV's own program takes frames four by four from the first on, and repeats a clip's last one: a live
stream cannot know what comes next. How near the published weights come to the VAE's latents in this order was not
measured (`genlock models psnr` does).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from genlock_worker.engines.diffusion.network.coding.caches import StagedCaches
from genlock_worker.engines.diffusion.network.coding.coders import TEMPORAL_STRIDE, LatentEncoder, frame_spans
from genlock_worker.engines.diffusion.network.coding.tiny_block import MemBlock, conv, layout_of, memories, run
from genlock_worker.engines.diffusion.weights.checkpoints import WeightsCheckpoint, fit, load_into, shapes

WIDTH = 64
"""Channels at every size."""
_TIMES = (2, 2, 1)
"""Frames that become one at each halving of the size."""
_MEMORIES = 3
"""Blocks with memory at each smaller size."""


class TinyEncoder(LatentEncoder):
    """TAEHV's encoder for latents of 16 channels; its parameters have the published names, `encoder.N...`."""

    normalised = True

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv(3, WIDTH), nn.ReLU(inplace=True)]
        for times in _TIMES:
            layers += [TPool(WIDTH, times), conv(WIDTH, WIDTH, bias=False, stride=2)]
            layers += [MemBlock(WIDTH) for _ in range(_MEMORIES)]
        layers += [conv(WIDTH, channels)]
        self.encoder = nn.Sequential(*layers)
        self.cache_count = memories(self.encoder)

    def latents(self, frames: Tensor, caches: StagedCaches, *, first: bool) -> Tensor:
        """As `LatentEncoder.latents`. Latent by latent, so that a stream is the same however it is cut into calls."""
        x = (frames.float() / 255.0).to(next(self.parameters()).dtype).permute(0, 1, 4, 2, 3)
        layout = layout_of(self)
        parts = []
        for begin, end in frame_spans(x.shape[1], first=first):
            span = x[:, begin:end]
            if end - begin < TEMPORAL_STRIDE:
                span = span.expand(-1, TEMPORAL_STRIDE, -1, -1, -1)
            parts.append(run(self.encoder, span.flatten(0, 1).contiguous(memory_format=layout), caches))
        return torch.stack(parts, 1).float()


class TPool(nn.Module):
    """`times` frames become one frame."""

    def __init__(self, width: int, times: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(times * width, width, 1, bias=False)
        self._times = times

    def forward(self, x: Tensor) -> Tensor:
        """(times * T, C, h, w) -> (T, C, h, w); of the frames that become one the earliest has the first channels."""
        together = torch.cat([x[number :: self._times] for number in range(self._times)], 1) if self._times > 1 else x
        pooled: Tensor = self.conv(together)
        return pooled


def check(checkpoint: WeightsCheckpoint) -> int:
    """Whether a file is `taew2_1`, from its table alone: how many tensors will be read. Raises WrongCheckpoint."""
    return len(fit(checkpoint, encoder_names, shapes(_without_weights())))


def read(checkpoint: WeightsCheckpoint, *, device: torch.device, dtype: torch.dtype) -> TinyEncoder:
    """The encoder with a file's weights. Raises WrongCheckpoint, which names what is missing and what is too much."""
    encoder = _without_weights()
    load_into(encoder, checkpoint, encoder_names, device=device, dtype=dtype)
    return encoder


def encoder_names(names: Iterable[str]) -> dict[str, str]:
    """The published names are the module's; TAEHV's decoder, which lies in the same file, is left out."""
    return {name: name for name in names if not name.startswith("decoder.")}


def _without_weights() -> TinyEncoder:
    with torch.device("meta"):
        return TinyEncoder()
