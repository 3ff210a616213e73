"""The norm of queries and keys."""

import pytest
import torch

from genlock_worker.engines.diffusion.network.projections import RmsNorm


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_it_rounds_once(dtype: torch.dtype) -> None:
    """Computed in float32 with its weight: rounded before that, too, a quarter would differ."""
    norm = RmsNorm(1536, 1e-6)
    torch.nn.init.normal_(norm.weight, mean=1.0, std=0.2, generator=torch.Generator().manual_seed(1))
    norm = norm.to(dtype)
    tokens = (2 * torch.randn(8, 1536, generator=torch.Generator().manual_seed(2))).to(dtype)

    wide = tokens.double()
    exact = wide * (wide.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * norm.weight.double()
    assert (norm(tokens) != exact.to(dtype)).float().mean() < 0.001
