"""Attention backends: one function type, chosen by name.

A call serves one row: its queries against the part of its ring that is filled (or its prompt), read where it lies. No
mask is ever needed: every query sees every key, so FlexAttention would only compile a kernel for what the plain ones
do, and is left out.
"""

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from genlock_core.errors import GenlockError

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(queries (n, H, d), keys (m, H, d), values (m, H, d)) -> (n, H, d); scaled by d^-1/2. Any strides but the last's."""

BACKENDS = ("auto", "sdpa", "flash2", "flash3")
_HOPPER = (9, 0)


class AttentionMissing(GenlockError):
    """An attention backend was asked for by name that this machine does not have."""


def sdpa(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """PyTorch's own: on a GPU it runs a flash or cuDNN kernel, on a CPU it works in every dtype."""
    q, k, v = (heads.transpose(0, 1).unsqueeze(0) for heads in (queries, keys, values))
    return functional.scaled_dot_product_attention(q, k, v).squeeze(0).transpose(0, 1)


def choose(name: str, *, device: torch.device, dtype: torch.dtype) -> Attend:
    """The backend called `name`, one of `BACKENDS`, for tensors of this device and dtype.

    `auto` takes FlashAttention 3 on a Hopper GPU that has it, else PyTorch's, whose kernels for half precision are
    FlashAttention 2 or faster. Raises AttentionMissing for a backend that is not installed or does not run here,
    ValueError for a name that is none.
    """
    if name not in BACKENDS:
        raise ValueError(f"there is no attention backend called {name!r}; use one of: {', '.join(BACKENDS)}")
    if name == "sdpa":
        return sdpa
    if name == "auto":
        try:
            return _flash3(device, dtype)
        except AttentionMissing:
            return sdpa
    return _flash2(device, dtype) if name == "flash2" else _flash3(device, dtype)


def _flash2(device: torch.device, dtype: torch.dtype) -> Attend:
    """FlashAttention 2 (package `flash-attn`)."""
    _check_half("flash2", device, dtype)
    return _one_row(_imported("flash2", "flash_attn"))


def _flash3(device: torch.device, dtype: torch.dtype) -> Attend:
    """FlashAttention 3 (`flash_attn_interface`, built from the `hopper` folder of flash-attention)."""
    _check_half("flash3", device, dtype)
    capability = torch.cuda.get_device_capability(device)
    if capability != _HOPPER:
        raise AttentionMissing(f"attention backend flash3 needs a Hopper GPU, not compute capability {capability}")
    return _one_row(_imported("flash3", "flash_attn_interface"))


def _check_half(name: str, device: torch.device, dtype: torch.dtype) -> None:
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        raise AttentionMissing(
            f"attention backend {name} runs on CUDA in bfloat16 or float16, not on {device.type} in {dtype}; "
            "use sdpa or auto"
        )


def _imported(name: str, module: str) -> Callable[..., Any]:
    try:
        found: Callable[..., Any] = importlib.import_module(module).flash_attn_func
    except (ImportError, AttributeError) as problem:
        raise AttentionMissing(
            f"attention backend {name} needs {module}.flash_attn_func, which is not installed here ({problem}); "
            "install it, or use sdpa or auto"
        ) from problem
    return found


def _one_row(flash: Callable[..., Any]) -> Attend:
    def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        out = flash(queries.unsqueeze(0), keys.unsqueeze(0), values.unsqueeze(0))
        # Builds of FlashAttention 3 before 2025-09 give the softmax's sums, too.
        attended: Tensor = out[0] if isinstance(out, tuple) else out
        return attended.squeeze(0)

    return attend
