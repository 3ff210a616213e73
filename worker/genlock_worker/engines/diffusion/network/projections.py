"""The projections of an attention, and the norm of its queries and keys."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from genlock_worker.engines.diffusion.config import TransformerConfig


class Attention(nn.Module):
    """The projections of an attention, with queries and keys normed over all heads together."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        dim = config.dim
        self.head_dim = config.head_dim
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.o = nn.Linear(dim, dim)
        self.norm_q = RmsNorm(dim, config.eps)
        self.norm_k = RmsNorm(dim, config.eps)

    def keys_values(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(..., D) -> (..., H, head_dim) each; the keys are normed."""
        return self.heads(self.norm_k(self.k(tokens))), self.heads(self.v(tokens))

    def heads(self, tokens: Tensor) -> Tensor:
        """(..., D) -> (..., H, head_dim)."""
        return torch.unflatten(tokens, -1, (-1, self.head_dim))


class RmsNorm(nn.Module):
    """Root mean square norm with a weight, computed in float32 and rounded once: on a GPU one kernel of PyTorch's."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, tokens: Tensor) -> Tensor:
        return functional.rms_norm(tokens, self.weight.shape, self.weight, self.eps)
