"""How the wheels of `wheels` are got: at the versions and by the hashes of `requirements/dev.lock`."""

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.gpu.wheels import Bundle
from supply_chain.locks import Pin

PYTHON = "3.12"
"""Of the machine that the wheels are for."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "any")
DOWNLOAD_TIMEOUT_S = 300


class NotLocked(Exception):
    """A distribution of a bundle has no version in the lock file."""


def locked(lock: Iterable[Pin], distributions: Iterable[str]) -> list[Pin]:
    """What a lock says of each distribution; of several versions, the first. Raises NotLocked."""
    found: dict[str, Pin] = {}
    for pin in lock:
        found.setdefault(pin.name, pin)

    try:
        return [found[name] for name in distributions]
    except KeyError as missing:
        raise NotLocked(f"requirements/dev.lock has no version of {missing.args[0]}: run make lock") from None


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


def fetch(folder: Path, lock: Iterable[Pin], bundles: Sequence[Bundle]) -> None:
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
