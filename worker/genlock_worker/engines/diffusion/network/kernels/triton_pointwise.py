"""`Pointwise` with one kernel for each step."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from genlock_worker.engines.diffusion.network.kernels.pointwise_norm import ADD_NORM, NORM
from genlock_worker.engines.diffusion.network.pointwise import Affine


class TritonPointwise:
    """As `Pointwise`: norms by Triton's kernels, the activation within the product's."""

    def norm(self, tokens: Tensor, by: Affine, eps: float) -> Tensor:
        """As `Pointwise.norm`."""
        normed: Tensor = NORM(tokens, by.gain, by.shift, eps)
        return normed

    def add_norm(
        self, tokens: Tensor, update: Tensor, gate: Tensor | None, by: Affine, eps: float
    ) -> tuple[Tensor, Tensor]:
        """As `Pointwise.add_norm`."""
        updated, normed = ADD_NORM(tokens, update, gate, by.gain, by.shift, eps)
        return updated, normed

    def activated(self, linear: nn.Module, tokens: Tensor) -> Tensor:
        """As `Pointwise.activated`."""
        # cuBLAS adds the bias and applies the activation before it rounds. PyTorch's stand-in on a CPU takes the other
        # GELU, and 8-bit layers multiply with kernels of their own.
        if isinstance(linear, nn.Linear) and tokens.device.type != "cpu":
            # The public functions do not reach this.
            product = torch._addmm_activation(  # noqa: SLF001
                linear.bias, tokens.flatten(0, 1), linear.weight.t(), use_gelu=True
            )
            return torch.unflatten(product, 0, tokens.shape[:2])
        return functional.gelu(linear(tokens), approximate="tanh")
