"""What `genlock up` sizes its sessions for: the GPUs that a worker has, or is to be taken for having."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from genlock_core.sizing.profile import ProfileRow

CPU = "CPU"
"""The product of a worker without a GPU, in profiles."""
_ASK_TIMEOUT_S = 10.0


class EngineName(StrEnum):
    """The engines, as the command line knows them without importing them."""

    MOCK = "mock"
    DIFFUSION = "diffusion"


@dataclass(frozen=True, slots=True)
class Hardware:
    """What profiles call a worker's GPUs, and how many there are."""

    gpu_product: str
    gpus: int


PRETENDED = Hardware("NVIDIA-H100", 4)
"""What the mock engine behaves like, as it needs none."""


def hardware(
    engine: EngineName, device: str, *, model: str, rows: Sequence[ProfileRow], names: Sequence[str]
) -> Hardware:
    """The worker's hardware where the command line does not say. `names`: this machine's GPUs (`gpu_names`)."""
    if engine is EngineName.MOCK:
        return PRETENDED
    if device == "cpu" or not names:
        return Hardware(CPU, 1)
    index = int(device.partition(":")[2] or 0)
    return Hardware(product_of(names[min(index, len(names) - 1)], model=model, rows=rows), 1)


def product_of(name: str, *, model: str, rows: Sequence[ProfileRow]) -> str:
    """A GPU's name as profiles have it: as Kubernetes labels it, `NVIDIA-H100-80GB-HBM3`, or the part before that which
    the model was measured under, `NVIDIA-H100`."""
    label = name.strip().replace(" ", "-")
    measured = {row.gpu_product for row in rows if row.model == model and f"{label}-".startswith(f"{row.gpu_product}-")}
    return max(measured, key=len, default=label)


def gpu_names() -> tuple[str, ...]:
    """The names of this machine's NVIDIA GPUs; none where there is no driver that says so."""
    asked = shutil.which("nvidia-smi")
    if asked is None:
        return ()
    command = [asked, "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_ASK_TIMEOUT_S)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line for line in answer.stdout.splitlines() if line.strip())


def threads_per_worker(workers: int) -> int:
    """CPU threads of each of the workers that share this machine."""
    return max(1, (os.cpu_count() or 1) // workers)
