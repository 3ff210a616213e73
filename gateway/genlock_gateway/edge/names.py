"""The names under which a gateway answers: IP addresses and localhost, and those that it was told.

A page of another site can make its own name point to this gateway (DNS rebinding). The browser then takes both for one
site, sends the right `Origin`, and lets the page read the answers. Only the name gives it away, so a request under a
name that is not the gateway's own is refused. An address is no such name: a page that came from there was served there.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from genlock_core.process.values import Kind

LOCALHOST: Final = "localhost"
MAX_NAME_CHARS: Final = 253
MAX_PORT: Final = 65_535

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE | re.ASCII)
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:@\[\]/?#\\%]+))(?::([0-9]{0,5}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Authority:
    """What a request calls this gateway, without the port (RFC 9110 section 7.2): that says nothing of the name."""

    host: str
    """In small letters, without brackets and without a dot at its end."""
    is_address: bool


def parse_authority(text: str) -> Authority | None:
    """`example.org`, `Example.ORG.:8080`, `127.0.0.1:8080`, `[::1]:8080`; None for what is no host and port."""
    found = _AUTHORITY.fullmatch(text)
    if found is None or int(found[3] or 0) > MAX_PORT:
        return None
    if found[1]:
        return Authority(found[1].lower(), is_address=True) if _is_address(found[1], version=6) else None

    host = found[2].lower().removesuffix(".")
    if _is_address(host, version=4):
        return Authority(host, is_address=True)
    return Authority(host, is_address=False) if _is_name(host) else None


def _is_address(text: str, *, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def _is_name(text: str) -> bool:
    return len(text) <= MAX_NAME_CHARS and _NAME.fullmatch(text) is not None


def _server_name(text: str) -> str:
    """A name as `OwnNames` compares it. Raises ValueError."""
    name = text.lower().removesuffix(".")
    if not _is_name(name.removeprefix("*.")):
        raise ValueError("must be a host's name without scheme and port, such as live.example.org or *.example.org")
    return name


SERVER_NAME: Final = Kind(
    "NAME", _server_name, {"type": "string", "maxLength": MAX_NAME_CHARS, "pattern": r"^(\*\.)?[A-Za-z0-9_.-]+$"}
)


@dataclass(frozen=True, slots=True)
class OwnNames:
    """What a gateway is called. `*.example.org` stands for one more label, as in a certificate (RFC 9525)."""

    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, names: Iterable[str]) -> "OwnNames":
        """What is no name, such as the address of a base URL, is left out: it needs no listing."""
        written = (name.lower().removesuffix(".") for name in names)
        return cls(frozenset(name for name in written if _is_name(name.removeprefix("*."))))

    def include(self, authority: Authority) -> bool:
        """Whether it is this gateway that is asked for."""
        if authority.is_address or authority.host == LOCALHOST or authority.host in self.names:
            return True
        _, _, parent = authority.host.partition(".")
        return f"*.{parent}" in self.names
