"""The libraries that a machine with PyTorch usually lacks, and how their wheels are got. Standard library alone.

Such a machine is expected to have torch, transformers, tokenizers, safetensors, numpy and OpenCV: what is large, or
built for its driver, is not carried. The versions are those of `requirements-dev.lock`.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

PYTHON = "3.12"
"""Of the machine that the wheels are for."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "any")
DOWNLOAD_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Bundle:
    """Distributions that belong together: all of them are unpacked where `module` is missing."""

    module: str
    distributions: tuple[str, ...]


BUNDLES = (
    Bundle("diffusers", ("diffusers",)),
    Bundle("ftfy", ("ftfy", "wcwidth")),
    Bundle("pydantic", ("pydantic", "pydantic-core", "annotated-types", "typing-inspection", "typing-extensions")),
)
ENCODER = Bundle("av", ("av",))
"""For the encoder's line of the stage `machine` alone; 36 MB."""


class NotLocked(Exception):
    """A distribution of a bundle has no version in the lock file."""


def pinned(lock: str, distributions: Iterable[str]) -> dict[str, str]:
    """The version of each distribution in the text of a lock file; of several, the first. Raises NotLocked."""
    versions: dict[str, str] = {}
    for line in lock.splitlines():
        found = re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line)
        if found:
            versions.setdefault(found[1].lower(), found[2])

    try:
        return {name: versions[name] for name in distributions}
    except KeyError as missing:
        raise NotLocked(f"requirements-dev.lock has no version of {missing.args[0]}: run make lock") from None


def wheels_of(folder: Path, distributions: Iterable[str]) -> list[Path]:
    """The wheels of these distributions that lie in a folder."""
    names = {name.replace("-", "_").lower() for name in distributions}
    return sorted(wheel for wheel in folder.glob("*.whl") if wheel.name.split("-")[0].lower() in names)


def download_command(folder: Path, versions: dict[str, str]) -> list[str]:
    """What gets the wheels: for that Python and platform, whatever runs here."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--python-version", PYTHON, "--implementation", "cp"]
    for abi in (f"cp{PYTHON.replace('.', '')}", "abi3", "none"):
        command += ["--abi", abi]
    for platform in PLATFORMS:
        command += ["--platform", platform]
    return [*command, "--dest", str(folder), *(f"{name}=={version}" for name, version in versions.items())]


def fetch(folder: Path, lock: str, bundles: Sequence[Bundle]) -> None:
    """Have the bundles' wheels in `folder`, and no others; what is there already is not got again.

    Raises NotLocked, subprocess.CalledProcessError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = pinned(lock, [name for bundle in bundles for name in bundle.distributions])
    missing = dict(wanted)
    for wheel in folder.glob("*.whl"):
        name, version = wheel.name.split("-")[:2]
        name = name.replace("_", "-").lower()
        if wanted.get(name) == version:
            missing.pop(name, None)
        else:
            wheel.unlink()

    if missing:
        subprocess.run(download_command(folder, missing), check=True, timeout=DOWNLOAD_TIMEOUT_S)
