"""The VAE's causal convolution, as it pays here: diffusers' weights and caches, without its padding copies.

diffusers pads every input in time and space and then convolves without padding: two copies of each activation. Here the
cached frames are put in front (one copy) and the convolution pads the borders itself. The sums are the same.

On a CPU, ATen gives a 3-d convolution of batch 1 and few channels to its generic kernel (it asks oneDNN only where the
batch is above 1 or the input has many channels); that one takes 204 ms for 8 channels of 4 frames of 256 x 256 on two
threads, oneDNN 13 ms. So oneDNN is asked by name.
"""

import torch
import torch.nn.functional as functional
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from torch import Tensor, nn

_HAS_ONEDNN = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


class CausalConv(nn.Module):
    """Stands in for a `WanCausalConv3d`: same parameters under the same names, same results to rounding."""

    def __init__(self, conv: WanCausalConv3d) -> None:
        super().__init__()
        self.weight = conv.weight
        self.bias = conv.bias
        self._stride = tuple(conv.stride)
        taps, height, width = conv.kernel_size
        self._padding = (0, height // 2, width // 2)
        # A convolution that halves the time is given the frame before by its caller.
        self._history = taps - 1 if self._stride[0] == 1 else 0

    def forward(self, x: Tensor, cache_x: Tensor | None = None) -> Tensor:
        """Convolve (B, C, T, H, W); `cache_x` holds the frames before, those that never were count as zeros."""
        missing = self._history
        if cache_x is not None and missing:
            missing -= cache_x.shape[2]
            x = torch.cat((cache_x, x), 2)
        if missing:
            x = functional.pad(x, (0, 0, 0, 0, missing, 0))
        if _is_onednn(x):
            dense: Tensor = torch.mkldnn_convolution(
                x, self.weight, self.bias, self._padding, self._stride, (1, 1, 1), 1
            )
            return dense
        return functional.conv3d(x, self.weight, self.bias, self._stride, self._padding)


def _is_onednn(x: Tensor) -> bool:
    """Half precisions are left to ATen: oneDNN takes them on few CPUs only."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and _HAS_ONEDNN


def lay_causal_convs(module: nn.Module) -> int:
    """Replace every causal convolution below `module`, in place; returns how many caches a stream of it needs."""
    replaced = 0
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, WanCausalConv3d):
                setattr(parent, name, CausalConv(child))
                replaced += 1
    return replaced
