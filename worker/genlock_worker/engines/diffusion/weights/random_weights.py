"""Random weights of a fixed seed: for `tiny`, which has no others, and for measuring speed without any files.

The scales keep activations of order one through any number of layers: kernels have deviation 1 / sqrt(fan in), norms
start at one, and what is added to the residual stream is damped by the modulation, as in a trained network.
"""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

SEED = 20_251_110
"""The seed of a model without files."""

TRANSFORMER_FACTORS: Mapping[str, float] = {
    "head.head.weight": 0.5,  # the flow, beside latents of deviation 1-3
    "cross_attn.o.weight": 4.0,  # a prompt is few tokens among many of padding, and shall be seen
}
"""Factors on the deviation of kernels, by the end of their names."""

_BIAS_DEVIATION = 0.02


def text_factors(head_dim: int) -> dict[str, float]:
    """For a UMT5 encoder, whose attention is not scaled: the queries are (as in T5's own initialisation)."""
    return {"SelfAttention.q.weight": head_dim**-0.5}


@torch.no_grad()
def fill(
    module: nn.Module,
    *,
    device: torch.device,
    dtype: torch.dtype,
    seed: int = SEED,
    factors: Mapping[str, float] | None = None,
    without: Iterable[str] = (),
) -> None:
    """Give a module that was built on `meta` random weights, drawn on the device: the same for a seed and device type.

    `without`: names that the caller ties to others. Raises torch.OutOfMemoryError.
    """
    generator = torch.Generator(device).manual_seed(seed)
    left_out = set(without)
    module.requires_grad_(requires_grad=False).eval()
    state: dict[str, Tensor] = {}

    for name, parameter in module.state_dict().items():
        if name not in left_out:
            mean, deviation = _distribution(name, tuple(parameter.shape), factors or {})
            drawn = torch.empty(parameter.shape, device=device, dtype=dtype)
            state[name] = drawn.normal_(mean, deviation, generator=generator) if deviation else drawn.fill_(mean)

    module.load_state_dict(state, strict=False, assign=True)


def _distribution(name: str, shape: tuple[int, ...], factors: Mapping[str, float]) -> tuple[float, float]:
    """(mean, deviation) of a parameter."""
    if name.endswith("bias"):
        return 0.0, _BIAS_DEVIATION
    if name.endswith("gamma") or len(shape) == 1:
        return 1.0, 0.0
    if name.endswith("modulation"):
        return 0.0, shape[-1] ** -0.5
    if name.endswith(("shared.weight", "embed_tokens.weight")):
        return 0.0, 1.0
    factor = math.prod(factor for end, factor in factors.items() if name.endswith(end))
    return 0.0, factor * math.prod(shape[1:]) ** -0.5
