"""Attention backends: one function type, chosen by name.

A call serves one row: its queries against the part of its ring that is filled (or its prompt), read where it lies. No
mask is ever needed: every query sees every key.
"""

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.utils import dlpack

from genlock_core.errors import GenlockError
from genlock_worker.engines.diffusion.config import TransformerConfig

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(queries (n, H, d), keys (m, H, d), values (m, H, d)) -> (n, H, d); scaled by d^-1/2. Any strides but the last's."""

BACKENDS = ("auto", "sdpa", "flash2", "flash3", "flex")
_HOPPER = (9, 0)

_CPU_BLOCK = 128
"""Keys that FlexAttention's CPU kernel takes at a time. It would take all of them: three times as slow at 6144 keys."""
_ONE_BLOCK = 1 << 30
"""A block that holds whatever there is: what FlexAttention itself takes where it is given no mask."""
_MOST_BLOCKS = 4096
"""More blocks of keys than a ring can have: 524,288 tokens."""


class AttentionMissing(GenlockError):
    """An attention backend was asked for by name that this machine does not have."""


def sdpa(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """PyTorch's own: on a GPU it runs a flash or cuDNN kernel, on a CPU it works in every dtype."""
    q, k, v = (heads.transpose(0, 1).unsqueeze(0) for heads in (queries, keys, values))
    return functional.scaled_dot_product_attention(q, k, v).squeeze(0).transpose(0, 1)


def choose(name: str, config: TransformerConfig, *, device: torch.device, dtype: torch.dtype) -> Attend:
    """The backend called `name`, one of `BACKENDS`, for a model's heads on this device and in this dtype.

    `auto` takes FlashAttention 3 on a Hopper GPU that has it, else PyTorch's, whose kernels for half precision are
    FlashAttention 2 or faster. `flex` compiles here and now, which takes seconds. Raises AttentionMissing for a backend
    that is not installed or does not run here, ValueError for a name that is none.
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

    if name == "flex":
        return _flex(config, device, dtype)
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


def _flex(config: TransformerConfig, device: torch.device, dtype: torch.dtype) -> Attend:
    """FlexAttention, compiled once for this model: one kernel serves rings and prompts of any length."""
    block = _CPU_BLOCK if device.type == "cpu" else _ONE_BLOCK
    numbers = torch.arange(_MOST_BLOCKS, dtype=torch.int32, device=device).view(1, 1, 1, -1)

    @cache
    def count(blocks: int) -> Tensor:
        return torch.full((1, 1, 1), blocks, dtype=torch.int32, device=device)

    def over_all_keys(queries: Tensor, keys: Tensor, values: Tensor, blocks: Tensor, numbers: Tensor) -> Tensor:
        mask = BlockMask.from_kv_blocks(
            blocks,
            numbers,
            BLOCK_SIZE=(_ONE_BLOCK, block),
            seq_lengths=(queries.shape[2], keys.shape[2]),
            compute_q_blocks=False,  # these are for gradients
        )
        # Else a short row on a GPU has a kernel of its own.
        return flex_attention(queries, keys, values, block_mask=mask, kernel_options={"BACKEND": "TRITON"})

    # As a full graph, what cannot be compiled or is compiled too often is an error; else it would run uncompiled.
    compiled = torch.compile(over_all_keys, dynamic=True, fullgraph=True)

    @torch.no_grad()
    def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        q, k, v = (_not_a_view(heads.transpose(0, 1).unsqueeze(0)) for heads in (queries, keys, values))
        attended: Tensor = compiled(q, k, v, count(-(-len(keys) // block)), numbers)
        return attended.squeeze(0).transpose(0, 1)

    try:
        _compile(attend, config, device, dtype)
    except Exception as error:  # whatever the compiler's many layers raise
        reason = str(error).strip().partition("\n")[0]
        raise AttentionMissing(
            f"attention backend flex cannot be compiled on {device} in {dtype}: {reason}; "
            "it needs a C++ compiler, and AVX2 on a CPU; or use sdpa or auto"
        ) from error

    return attend


def _compile(attend: Attend, config: TransformerConfig, device: torch.device, dtype: torch.dtype) -> None:
    """The first call compiles. Lengths that equal each other or another size of the model would be taken for the same
    symbol, and the next lengths would need another kernel: no size of a model is one of these primes."""
    queries, keys = (
        torch.zeros(tokens, config.heads, config.head_dim, device=device, dtype=dtype) for tokens in (251, 257)
    )
    attend(queries, keys, keys.clone())


def _not_a_view(heads: Tensor) -> Tensor:
    """The same memory as a tensor that begins where its data begin.

    Compiled code is bound to what its inputs are views of, and to whether they begin at the start of their memory.
    Without this each row and layer would have its own kernel.
    """
    # torch.from_dlpack would synchronise streams, and refuse a GPU that is not the current one.
    alias: Tensor = dlpack.from_dlpack(dlpack.to_dlpack(heads))  # type: ignore[attr-defined]  # the library's own API
    return alias
