"""What a run's figures belong to: command, commit, card and versions. A figure without them says nothing."""

import importlib.metadata
import os
import platform
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from bench.gpu.sources import commit_of, packed_commit

LIBRARIES = ("diffusers", "transformers", "tokenizers", "safetensors", "numpy", "pydantic", "triton")
NOT_THERE = "not installed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Under what everything of a run was measured."""

    command: str
    """As it was typed where the folder lies."""
    commit: str
    began: str
    """ISO 8601, UTC."""
    card: str
    """The GPU's name; the processor's kind where there is none."""
    driver: str
    versions: dict[str, str]

    def as_json(self) -> dict[str, object]:
        return asdict(self)

    @property
    def product(self) -> str:
        """The card as profile rows name it: as Kubernetes labels it, `NVIDIA-H100-80GB-HBM3`; a processor is `CPU`."""
        return self.card.replace(" ", "-") if self.card.startswith("NVIDIA") else "CPU"

    @property
    def stamp(self) -> str:
        """When it began, as a file name."""
        return re.sub(r"[^0-9T]", "", self.began.partition("+")[0])

    @property
    def short(self) -> str:
        """For the source of a profile row."""
        return f"commit {self.commit}, {self.command}"


def receipt(arguments: Sequence[str], device: torch.device, root: Path) -> Receipt:
    """The receipt of a run that begins now; `root` holds the sources that run."""
    is_gpu = device.type == "cuda"
    return Receipt(
        command=shlex.join(("run", *arguments)),
        commit=str(packed_commit(root) or commit_of(root)),
        began=datetime.now(UTC).isoformat(timespec="seconds"),
        card=torch.cuda.get_device_name(device) if is_gpu else f"{os.cpu_count()} cores, {platform.machine()}",
        driver=_driver() if is_gpu else "",
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """Of Python, torch with its CUDA and cuDNN, and the libraries that figures depend on."""
    found = {"python": platform.python_version(), "torch": str(torch.__version__), "cuda": str(torch.version.cuda)}
    if torch.backends.cudnn.is_available():  # type: ignore[no-untyped-call]  # the library has no types
        found["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
    return {**found, **{name: _version(name) for name in LIBRARIES}}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return NOT_THERE


def _driver() -> str:
    """Version, clock and power limit, as the driver's tool says them; empty where it is missing."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    command = [tool, "--query-gpu=driver_version,clocks.sm,power.limit", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
