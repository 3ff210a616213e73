"""Lock files, as `requirements/lock` writes them: `name==version ; marker`, and under it the hashes of its files.

Standard library alone: `make advisories` and what is carried to a GPU read them without the packages of `.venv`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "requirements"

_PIN: Final = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[^\s;]+)(?: ; (?P<marker>.+?))?(?: \\)?")
_HASH: Final = re.compile(r" {4}--hash=(?P<hash>\w+:[0-9a-f]+)(?: \\)?")


class NoLock(Exception):
    """The text is no lock file; says which line is none of a lock's."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One version of a package that is installed where `marker` holds."""

    name: str
    """As the lock writes it: lower case, with dashes."""

    version: str

    marker: str
    """An environment marker (PEP 508); empty: everywhere."""

    hashes: tuple[str, ...]
    """`sha256:...` of every file of that version, for any platform."""

    def requirement(self) -> str:
        """A line for pip that holds wherever it is read: without the marker."""
        return f"{self.name}=={self.version}" + "".join(f" --hash={one}" for one in self.hashes)


def parse(text: str) -> list[Pin]:
    """The pins of a lock file, in its order. Raises NoLock."""
    return list(_pins(text))


def read(name: str) -> list[Pin]:
    """The pins of `requirements/NAME.lock`. Raises NoLock, FileNotFoundError."""
    return parse((FOLDER / f"{name}.lock").read_text(encoding="utf-8"))


def _pins(text: str) -> Iterator[Pin]:
    pin: re.Match[str] | None = None
    hashes: list[str] = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue

        if found := _HASH.fullmatch(line):
            hashes.append(found["hash"])
            continue

        if pin is not None:
            yield _made(pin, hashes)
        pin, hashes = _PIN.fullmatch(line), []
        if pin is None:
            raise NoLock(f"no line of a lock: {line!r}")

    if pin is not None:
        yield _made(pin, hashes)


def _made(pin: re.Match[str], hashes: list[str]) -> Pin:
    if not hashes:
        raise NoLock(f"{pin['name']}=={pin['version']} has no hashes")
    return Pin(pin["name"], pin["version"], pin["marker"] or "", tuple(hashes))
