"""Makes the host's waiting for the device an error: a micro-step queues all its work and waits once, at its end."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = frozenset(
    {
        "aten::_local_scalar_dense",  # .item(), bool(), int(), float() and `if tensor`
        "aten::nonzero",
        "aten::masked_select",
        "aten::equal",
        "aten::_unique2",
        "aten::repeat_interleave.Tensor",
    }
)
"""Operations whose result, or the size of it, the host must know before it can go on."""


class HostSync(RuntimeError):
    """The host would wait for the device; names the operation."""


@contextmanager
def no_host_sync(device: torch.device) -> Iterator[None]:
    """Inside, an operation that makes the host wait for the device raises.

    On CUDA the library's own check says so (RuntimeError), for the calling process's every thread. Elsewhere nothing
    waits, but the operations that would are known: they raise HostSync, on this thread.
    """
    if device.type != "cuda":
        with _RefuseWaiting():  # type: ignore[no-untyped-call]
            yield
        return
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


class _RefuseWaiting(TorchDispatchMode):  # type: ignore[no-untyped-call]  # the library has no types
    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = func.name()
        if name in WAITING or (name == "aten::index.Tensor" and _has_mask(args[1])):
            raise HostSync(f"{name} makes the host wait for the device; compute with tensors or with host numbers")
        return func(*args, **(kwargs or {}))


def _has_mask(indices: Sequence[torch.Tensor | None]) -> bool:
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)
