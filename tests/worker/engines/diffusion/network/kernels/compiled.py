"""Kernels compiled for cards that are not there, from the launches of a planned call on meta tensors."""

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from genlock_worker.engines.diffusion.network.kernels.declared import Launch

TYPES: Final[Mapping[torch.dtype, str]] = {
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.int32: "*i32",
    torch.int64: "*i64",
    torch.float64: "*fp64",
    torch.bool: "*i1",
}
SHARED_BYTES: Final[Mapping[int, int]] = {80: 166_912, 90: 232_448, 100: 232_448}
"""Shared memory that one block of threads may have, by compute capability (CUDA programming guide)."""
ALIGNED = 16
WARP = 32


@dataclass(frozen=True)
class Compiled:
    """What a launch takes of one multiprocessor, and what it is called there."""

    name: str
    shared_bytes: int
    registers: int
    """Of one thread."""
    stack_bytes: int
    """Of one thread, in the card's memory: what its registers do not hold."""
    warps: int
    widest_store: int
    """Bytes that one thread writes to the card's memory at once."""


def compiled(launch: Launch, capability: int) -> Compiled:
    """Compile for e.g. sm_90, as a launch with such arguments would, down to the machine's code."""
    signature: dict[str, str] = {}
    attributes: dict[tuple[int], list[list[object]]] = {}
    for place, (name, argument) in enumerate(zip(launch.kernel.arg_names, launch.arguments, strict=False)):
        if isinstance(argument, Tensor):
            signature[name] = TYPES[argument.dtype]
        else:
            signature[name] = "i32" if isinstance(argument, int) else "fp32"
        # Tensors begin where memory is aligned.
        if isinstance(argument, Tensor) or (isinstance(argument, int) and argument % ALIGNED == 0):
            attributes[(place,)] = [["tt.divisibility", ALIGNED]]
    signature |= dict.fromkeys(launch.constants, "constexpr")
    assert list(signature) == launch.kernel.arg_names, "arguments are in the order of the parameters"

    source = ASTSource(launch.kernel, signature, dict(launch.constants), attributes)
    target = GPUTarget("cuda", capability, WARP)
    kernel = triton.compile(source, target=target, options=dict(launch.options))
    registers, stack_bytes = _resources(kernel.asm["cubin"])
    facts = kernel.metadata
    widest = _widest_store(kernel.asm["ptx"])
    return Compiled(facts.name, facts.shared, registers, stack_bytes, facts.num_warps, widest)


def _widest_store(ptx: str) -> int:
    stores = re.findall(r"st\.global(?:\.v([24]))?\.b(\d+)", ptx)
    return max((int(vector or 1) * int(bits) // 8 for vector, bits in stores), default=0)


def _resources(cubin: bytes) -> tuple[int, int]:
    """Registers and bytes of stack of each thread, as NVIDIA's own tool reads them."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        command = [os.fspath(tool), "--dump-resource-usage", os.fspath(path)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", told)
    assert found is not None, told
    return int(found[1]), int(found[2])
