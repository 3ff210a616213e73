"""What both of TAEHV's halves are made of: residual blocks on pictures that see their own input of one frame ago.

Written from the architecture of github.com/madebyollin/taehv (MIT). Rows of a batch are pictures of several streams,
(B * T, C, h, w), the T frames of a stream behind each other.
"""

import torch
from torch import Tensor, nn

from genlock_worker.engines.diffusion.network.coding.caches import StagedCaches


class MemBlock(nn.Module):
    """A residual block that sees its input and that of one frame ago."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            conv(2 * width, width),
            nn.ReLU(inplace=True),
            conv(width, width),
            nn.ReLU(inplace=True),
            conv(width, width),
        )

    def remember(self, x: Tensor, last: Tensor | None, *, rows: int) -> tuple[Tensor, Tensor]:
        """(B * T, C, h, w) and each row's frame before (B, C, h, w), None for zeros -> the same shape, and the frames
        to remember."""
        frames = torch.unflatten(x, 0, (rows, -1))

        # Filled in place, which keeps the layout of the activations.
        past = torch.empty_like(x)
        before = torch.unflatten(past, 0, (rows, -1))
        before[:, 1:] = frames[:, :-1]
        if last is None:
            before[:, 0].zero_()
        else:
            before[:, 0] = last

        return torch.relu(self.conv(torch.cat((x, past), 1)) + x), frames[:, -1].clone()


def conv(channels: int, width: int, *, bias: bool = True, stride: int = 1) -> nn.Conv2d:
    """The convolution of pictures that TAEHV uses throughout."""
    return nn.Conv2d(channels, width, 3, padding=1, bias=bias, stride=stride)


def run(layers: nn.Sequential, x: Tensor, caches: StagedCaches) -> Tensor:
    """All layers on the frames of one latent: (B * T, C, h, w) -> what the last one makes of them."""
    memory = 0
    for layer in layers:
        if isinstance(layer, MemBlock):
            last = caches[memory]
            x, caches[memory] = layer.remember(x, last if isinstance(last, Tensor) else None, rows=caches.rows)
            memory += 1
        else:
            x = layer(x)
    return x


def memories(layers: nn.Sequential) -> int:
    """How many frames a stream of them remembers."""
    return sum(isinstance(layer, MemBlock) for layer in layers)


def layout_of(module: nn.Module) -> torch.memory_format:
    """The layout of its kernels, which its activations should have."""
    weight = next(module.parameters())
    last = weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format
