"""STUN and TURN servers as clients are told of them, and credentials of TURN servers that end by themselves.

A client that gets a password for a TURN server may pass it on. So the gateway and the TURN server share a secret, and
each client gets a name that says when it ends, with a password that is made of both: the TURN REST API
(draft-uberti-behave-turn-rest-00), which coturn (`use-auth-secret`), pion and eturnal speak. The secret goes nowhere.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

ICE_SERVER_SHAPE: Final = "stun:HOST:PORT or turn:HOST:PORT?transport=udp,username=U,credential=C"
_URL = re.compile(r"(stun|stuns|turn|turns):[^\s,<>\"]{1,255}")


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server that clients are told of. A TURN server without a name and credential gets them per client.

    They stand for `turn:` and `turns:` only, together or not at all.
    """

    url: str
    username: str | None = None
    credential: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> "IceServer":
        """`stun:host:3478` or `turn:host:3478?transport=udp,username=u,credential=c`. Raises ValueError."""
        url, *rest = text.strip().split(",")
        fields = dict(part.split("=", 1) for part in rest if "=" in part)
        if not _URL.fullmatch(url) or set(fields) - {"username", "credential"} or len(fields) != len(rest):
            raise ValueError(f"must be {ICE_SERVER_SHAPE}")
        if url.startswith("turn") and len(fields) == 1:
            raise ValueError(f"must have username=... and credential=..., or neither of them, behind {url}")
        if any(not value.isprintable() or '"' in value or "\\" in value for value in fields.values()):
            raise ValueError(f"must have a printable username and credential for {url}, no quotes and backslashes")
        return cls(url, fields.get("username"), fields.get("credential"))

    @property
    def needs_credentials(self) -> bool:
        return self.url.startswith("turn") and self.username is None


@dataclass(frozen=True, slots=True)
class TurnSecret:
    """What the gateway and the TURN servers share."""

    value: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "TurnSecret":
        """The content of its file; white space round it does not count. Raises ValueError for an empty one."""
        if not text.strip():
            raise ValueError("must be a file with a secret in it; this one is empty")
        return cls(text.strip().encode())

    def credentials(self, user: str, *, until_s: int) -> tuple[str, str]:
        """Name and password of `user` until that Unix time."""
        name = f"{until_s}:{user}"
        digest = hmac.new(self.value, name.encode(), hashlib.sha1).digest()
        return name, base64.b64encode(digest).decode()


def told(servers: Iterable[IceServer], secret: TurnSecret | None, *, user: str, until_s: int) -> tuple[IceServer, ...]:
    """The servers as one client is told of them: with credentials of its own, good until that Unix time, where needed.

    `user` is what the TURN server writes into its log.
    """
    if secret is None:
        return tuple(servers)
    name, password = secret.credentials(user, until_s=until_s)
    return tuple(
        replace(server, username=name, credential=password) if server.needs_credentials else server
        for server in servers
    )
