"""Which kernels a forward runs with: `--kernels`, decided in one place when the model is put together.

What is written in Triton is imported only where it is asked for: PyTorch comes without Triton on many machines.
"""

import importlib

import torch

from genlock_core.errors import GenlockError
from genlock_worker.engines.diffusion.config import TransformerConfig
from genlock_worker.engines.diffusion.network import attention
from genlock_worker.engines.diffusion.network.pointwise import Pointwise, TorchPointwise
from genlock_worker.engines.diffusion.network.ring_ops import RingOps, TorchRingOps

KERNELS = ("torch", "triton")
_AMPERE = (8, 0)
_HEADS = (16, 32, 64, 128, 256)
"""Components of a head that a kernel's blocks can have."""


class KernelsMissing(GenlockError):
    """Kernels were asked for by name that do not run on this machine."""


def ring_ops(
    kernels: str, attend: str, config: TransformerConfig, *, device: torch.device, dtype: torch.dtype
) -> RingOps:
    """How the pools are read and written with `kernels`, one of `KERNELS`.

    `attend` names the attention backend (`attention.choose`) of `torch`; the other kernels have an attention of their
    own. Raises KernelsMissing, attention.AttentionMissing; ValueError for a name that is none.
    """
    _check_name(kernels)
    if kernels == "torch":
        return TorchRingOps(attention.choose(attend, config, device=device, dtype=dtype))

    _check_triton(config, device)
    from genlock_worker.engines.diffusion.network.kernels.triton_ring import TritonRingOps

    return TritonRingOps()


def pointwise(kernels: str, config: TransformerConfig, *, device: torch.device) -> Pointwise:
    """What computes between the linear layers with `kernels`. Raises KernelsMissing, and ValueError as `ring_ops`."""
    _check_name(kernels)
    if kernels == "torch":
        return TorchPointwise()

    _check_triton(config, device)
    from genlock_worker.engines.diffusion.network.kernels.triton_pointwise import TritonPointwise

    return TritonPointwise()


def _check_name(kernels: str) -> None:
    if kernels not in KERNELS:
        raise ValueError(f"there are no kernels called {kernels!r}; use one of: {', '.join(KERNELS)}")


def _check_triton(config: TransformerConfig, device: torch.device) -> None:
    """Raise KernelsMissing unless Triton's kernels run there. Its interpreter runs them on a CPU, for tests."""
    try:
        triton = importlib.import_module("triton")
    except ImportError as problem:
        raise _missing(f"need the package triton, which cannot be imported here ({problem})") from problem
    if config.head_dim not in _HEADS:
        raise _missing(f"take heads of 16 to 256 components, a power of two, not of {config.head_dim}")
    if triton.knobs.runtime.interpret:
        return

    if device.type != "cuda":
        raise _missing(f"need an NVIDIA GPU, the device is {device.type}")
    capability = torch.cuda.get_device_capability(device)
    if capability < _AMPERE:
        needed, found = (".".join(map(str, version)) for version in (_AMPERE, capability))
        raise _missing(f"need compute capability {needed} or later, {torch.cuda.get_device_name(device)} has {found}")


def _missing(why: str) -> KernelsMissing:
    return KernelsMissing(f"--kernels triton: they {why}; leave the option out")
