"""The libraries that a machine with PyTorch usually lacks, and how their wheels are got. Standard library alone.

Such a machine is expected to have torch, transformers, tokenizers, safetensors, numpy and OpenCV: what is large, or
built for its driver, is not carried. The versions and hashes are those of `requirements/dev.lock`.
"""

import re
import subprocess
import sys
import tempfile
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


@dataclass(frozen=True, slots=True)
class Locked:
    """What a lock file says of a distribution."""

    name: str
    version: str
    hashes: tuple[str, ...]
    """Of every file of that version, as pip takes them: `sha256:...`."""

    def requirement(self) -> str:
        """A line for pip, which holds wherever it is read: the marks of platforms stay in the lock file."""
        return f"{self.name}=={self.version}" + "".join(f" --hash={one}" for one in self.hashes)


def locked(lock: str, distributions: Iterable[str]) -> list[Locked]:
    """What the text of a lock file says of each distribution; of several versions, the first. Raises NotLocked."""
    found: dict[str, Locked] = {}
    for block in re.findall(r"^[^#\s].*(?:\n\s+--hash=.*)*", lock, re.MULTILINE):
        name, version = block.split()[0].split("==")
        hashes = tuple(re.findall(r"--hash=(\S+)", block))
        found.setdefault(name.lower(), Locked(name.lower(), version, hashes))

    try:
        return [found[name] for name in distributions]
    except KeyError as missing:
        raise NotLocked(f"requirements/dev.lock has no version of {missing.args[0]}: run make lock") from None


def wheels_of(folder: Path, distributions: Iterable[str]) -> list[Path]:
    """The wheels of these distributions that lie in a folder."""
    names = {name.replace("-", "_").lower() for name in distributions}
    return sorted(wheel for wheel in folder.glob("*.whl") if wheel.name.split("-")[0].lower() in names)


def download_command(folder: Path, requirements: Path) -> list[str]:
    """What gets the wheels that a file names, by its hashes: for that Python and platform, whatever runs here."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes"]
    command += ["--only-binary", ":all:", "--python-version", PYTHON, "--implementation", "cp"]
    for abi in (f"cp{PYTHON.replace('.', '')}", "abi3", "none"):
        command += ["--abi", abi]
    for platform in PLATFORMS:
        command += ["--platform", platform]
    return [*command, "--dest", str(folder), "--requirement", str(requirements)]


def fetch(folder: Path, lock: str, bundles: Sequence[Bundle]) -> None:
    """Have the bundles' wheels in `folder`, and no others; what is there already is not got again.

    Raises NotLocked, subprocess.CalledProcessError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = locked(lock, [name for bundle in bundles for name in bundle.distributions])
    missing = {one.name: one for one in wanted}
    versions = {one.name: one.version for one in wanted}
    for wheel in folder.glob("*.whl"):
        name, version = wheel.name.split("-")[:2]
        name = name.replace("_", "-").lower()
        if versions.get(name) == version:
            missing.pop(name, None)
        else:
            wheel.unlink()

    if missing:
        with tempfile.TemporaryDirectory() as scratch:
            requirements = Path(scratch, "requirements.txt")
            requirements.write_text("".join(f"{one.requirement()}\n" for one in missing.values()), encoding="utf-8")
            subprocess.run(download_command(folder, requirements), check=True, timeout=DOWNLOAD_TIMEOUT_S)
