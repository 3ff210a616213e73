"""Linear layers with 8-bit floating point weights (e4m3): half the memory to read, twice the arithmetic per second.

Weights are scaled per output channel once, activations per token on the fly; both products are undone by the matrix
multiplication itself (`torch._scaled_mm`). Needs a card that multiplies e4m3 (compute capability 8.9: Ada, Hopper and
later); elsewhere it is refused, because converting weights back on every use would be slower than not to quantise.
"""

import torch
from torch import Tensor, nn

from genlock_core.errors import GenlockError

E4M3_MAX = 448.0
"""The largest number of the format."""
SMALLEST_SCALE = 1e-12
"""A channel of zeros is divided by this instead of by zero."""
CAPABILITY = (8, 9)
LEAST_FEATURES = 1024
"""Layers with fewer inputs or outputs stay as they are: too small to gain, and where precision is needed most."""
_ALIGNMENT = 16
"""Both sides of a matrix must be multiples of this for the hardware."""


class Fp8Unsupported(GenlockError):
    """The device cannot multiply 8-bit floats."""


def require_fp8(device: torch.device) -> None:
    """Raise Fp8Unsupported, naming the capability, unless the device multiplies e4m3 matrices."""
    needed = ".".join(map(str, CAPABILITY))
    if device.type != "cuda":
        raise Fp8Unsupported(
            f"FP8 weights need an NVIDIA GPU of compute capability {needed} or later, the device is {device.type}; "
            "leave FP8 off"
        )
    found = torch.cuda.get_device_capability(device)
    if found < CAPABILITY:
        raise Fp8Unsupported(
            f"FP8 weights need compute capability {needed} or later, {torch.cuda.get_device_name(device)} has "
            f"{found[0]}.{found[1]}; leave FP8 off"
        )


def quantise(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(values, scales) of a matrix: e4m3 of the same shape (m, n), and float32 (m, 1), one per row.

    `values * scales` differs from the input by at most 1/16 of each number, or 2^-10 scales where that is more (e4m3
    has 3 bits of mantissa, and its smallest step is 2^-9).
    """
    scales = (rows.abs().amax(dim=1, keepdim=True).float() / E4M3_MAX).clamp(min=SMALLEST_SCALE)
    return (rows.float() / scales).clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn), scales


class Fp8Linear(nn.Module):
    """`nn.Linear` with e4m3 weights: (..., in) in any float type to (..., out) in the same, computed to bfloat16."""

    values: Tensor
    """(out, in) e4m3."""
    scales: Tensor
    """(1, out) float32."""
    bias: Tensor | None
    """(out,) bfloat16."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        values, scales = quantise(linear.weight.detach())
        self.register_buffer("values", values)
        self.register_buffer("scales", scales.t().contiguous())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().to(torch.bfloat16))

    def forward(self, x: Tensor) -> Tensor:
        tokens, token_scales = quantise(x.flatten(end_dim=-2))
        product = torch._scaled_mm(  # noqa: SLF001 (the stable name, nn.functional.scaled_mm, is newer than torch 2.7)
            tokens,
            self.values.t(),  # the hardware wants the second matrix by columns, which this is
            scale_a=token_scales,
            scale_b=self.scales,
            bias=self.bias,
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )
        return product.view(*x.shape[:-1], -1).to(x.dtype)


def use_fp8(model: nn.Module, *, least_features: int = LEAST_FEATURES) -> int:
    """Replace the big linear layers of `model`, in place; returns how many bytes that saved.

    The model must be on its device. Raises Fp8Unsupported.
    """
    require_fp8(next(model.parameters()).device)
    saved = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and _is_big(child, least_features):
                replacement = Fp8Linear(child)
                saved += child.weight.nbytes - replacement.values.nbytes - replacement.scales.nbytes
                setattr(parent, name, replacement)
    return saved


def _is_big(linear: nn.Linear, least: int) -> bool:
    sides = (linear.in_features, linear.out_features)
    return min(sides) >= least and all(side % _ALIGNMENT == 0 for side in sides)
