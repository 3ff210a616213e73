"""Arrays between the host and the device: through pinned memory, so that no copy waits for another; bfloat16 as uint16.

numpy has no bfloat16, and a snapshot holds numpy's types alone (`genlock_core.stream_state.tensors`).
"""

from concurrent.futures import Future
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

N = TypeVar("N", bound=np.generic)

STORED_AS: dict[torch.dtype, np.dtype[np.generic]] = {
    torch.float32: np.dtype(np.float32),
    torch.float16: np.dtype(np.float16),
    torch.bfloat16: np.dtype(np.uint16),
}
"""numpy's type for each that a model may run in."""


def upload(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """A copy of `array` on the device; on a GPU the copy is queued, and this returns before it was made."""
    tensor = torch.from_numpy(array.copy())
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def used_here(tensor: Tensor) -> Tensor:
    """`tensor` itself, which another stream may have made: its memory stays until this one is done with it."""
    if tensor.is_cuda:
        tensor.record_stream(torch.cuda.current_stream(tensor.device))
    return tensor


def download(tensor: Tensor) -> Tensor:
    """Queue a copy to the host, to be read once the device was waited for."""
    if tensor.device.type != "cuda":
        return tensor
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)


class HostCopy:
    """A copy of a tensor on the host, made once and kept; used on one thread at a time.

    The tensor must not be written to any more; it may still be in the making.
    """

    __slots__ = ("_array", "_queued", "_tensor")

    def __init__(self, tensor: Tensor | Future[Tensor]) -> None:
        self._tensor = tensor
        self._queued: Tensor | None = None
        self._array: NDArray[np.generic] | None = None

    def queue(self) -> None:
        """Begin to copy, on the current stream, unless that was done. The tensor must have been computed by then.

        Raises what its making has raised.
        """
        if self._queued is None and self._array is None:
            self._queued = download(self._tensor.result() if isinstance(self._tensor, Future) else self._tensor)

    @property
    def array(self) -> NDArray[np.generic]:
        """The copy, read-only; once the device has made what was queued."""
        if self._array is None:
            self.queue()
            assert self._queued is not None
            # Out of pinned memory, which is little: this may be kept as long as the session.
            self._array = to_host(self._queued)
            self._queued = None
        return self._array


def to_host(tensor: Tensor) -> NDArray[np.generic]:
    """A copy on the host, read-only; waits for the device."""
    host = tensor.detach().to("cpu", copy=True).contiguous()
    array: NDArray[np.generic] = (host.view(torch.uint16) if host.dtype == torch.bfloat16 else host).numpy()
    array.setflags(write=False)
    return array


def from_host(array: NDArray[np.generic], dtype: torch.dtype) -> Tensor:
    """The inverse, still on the host. Raises ValueError for another type or for numbers that are not finite."""
    if array.dtype != STORED_AS[dtype]:
        raise ValueError(f"an array of {dtype} is stored as {STORED_AS[dtype]}, not {array.dtype}")
    tensor = torch.from_numpy(array.copy())
    tensor = tensor.view(dtype) if dtype == torch.bfloat16 else tensor
    if not bool(tensor.isfinite().all()):
        raise ValueError("an array holds numbers that are not finite")
    return tensor


def typed(array: NDArray[np.generic], dtype: type[N], *, ndim: int) -> NDArray[N]:
    """`array` itself. Raises ValueError if it has another type or another number of dimensions."""
    if array.dtype != dtype or array.ndim != ndim:
        raise ValueError(f"an array of {dtype.__name__} in {ndim} dimensions expected, not {array.dtype} {array.shape}")
    return array.view(dtype)
