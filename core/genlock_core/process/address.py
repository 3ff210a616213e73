"""Addresses as every part writes them: `127.0.0.1:8080`, `[::1]:8080`, `:8080`."""

import re
from dataclasses import dataclass
from typing import Final

EVERY_INTERFACE: Final = "0.0.0.0"  # noqa: S104 - what an address without a host means
MAX_PORT: Final = 65_535

_HOST_AND_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]/@]*)):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port. Port 0 lets the system choose one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """`host:port`, `[IPv6]:port`, or `:port` for every interface. Raises ValueError."""
        found = _HOST_AND_PORT.fullmatch(text)
        if found is None or int(found[3]) > MAX_PORT:
            raise ValueError("must be an address, such as 127.0.0.1:8080, [::1]:8080 or :8080")
        return cls(found[1] or found[2] or EVERY_INTERFACE, int(found[3]))

    @property
    def everywhere(self) -> bool:
        """Whether it stands for every interface: one can listen there, but not connect to it."""
        return self.host in (EVERY_INTERFACE, "::")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
