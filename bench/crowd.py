"""A crowd of strangers that mean harm, and may use a tenth of a core: a process of its own, so that this is measured.

    python -m bench.crowd HTTP LINK MEDIA           each HOST:PORT

It says `all` once every connection was opened once. It goes on until its input ends, then prints what it did as JSON.
A connection that was closed on it is opened again, as far as the tenth of a core allows.
"""

import contextlib
import json
import secrets
import select
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from genlock_core.process.address import Address

SHARE_OF_A_CORE = 0.1
HALF_REQUESTS = 400
IDLE = 300
SILENT_LINKS = 200
BOGUS_CHECKS = 100
LOOK_EVERY_S = 0.05
CONNECT_WITHIN_S = 2.0

HALF = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
"""A request that goes on by one byte at a time."""
WHOLE = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
"""A request that is answered; its connection stays open afterwards."""
STUN_COOKIE = 0x2112A442
BINDING_REQUEST = 0x0001
USERNAME, MESSAGE_INTEGRITY = 0x0006, 0x0008


def bogus_check() -> bytes:
    """A connectivity check (RFC 8445 section 7.2.4) of nobody's, with an integrity that is none."""
    name = b"stranger:anybody"
    attributes = struct.pack("!HH", USERNAME, len(name)) + name
    attributes += struct.pack("!HH", MESSAGE_INTEGRITY, 20) + secrets.token_bytes(20)
    return struct.pack("!HHI", BINDING_REQUEST, len(attributes), STUN_COOKIE) + secrets.token_bytes(12) + attributes


@dataclass(eq=False, slots=True)
class Stranger:
    """One connection, which is opened again when it is closed. `says` is its first word, `goes_on` all others."""

    kind: str
    to: Address
    says: bytes = b""
    goes_on: bytes = b""
    is_udp: bool = False
    opened: int = 0
    _socket: socket.socket | None = None

    def act(self) -> None:
        """One thing: connect, or go on, or find that it was shut out."""
        if self._socket is None:
            self._open()
        elif self._is_shut_out():
            self.close()
        elif self.is_udp:
            self._socket.send(bogus_check())
        elif self.goes_on:
            self._socket.send(self.goes_on)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> None:
        if self.is_udp:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.connect((self.to.host, self.to.port))
        else:
            self._socket = socket.create_connection((self.to.host, self.to.port), CONNECT_WITHIN_S)
        self._socket.settimeout(0)
        if self.says:
            self._socket.send(self.says)
        self.opened += 1

    def _is_shut_out(self) -> bool:
        assert self._socket is not None
        with contextlib.suppress(BlockingIOError):
            return not self._socket.recv(4_096) and not self.is_udp
        return False


@dataclass(slots=True)
class Crowd:
    """All of them, within their share of a core."""

    strangers: list[Stranger]
    _began_s: float = field(default_factory=time.monotonic)
    refused: int = 0

    @classmethod
    def of(cls, http: Address, link: Address, media: Address) -> "Crowd":
        return cls(
            [
                *(Stranger("half-sent requests", http, HALF, b"x") for _ in range(HALF_REQUESTS)),
                *(Stranger("idle connections", http, WHOLE) for _ in range(IDLE)),
                *(Stranger("silent links", link) for _ in range(SILENT_LINKS)),
                *(Stranger("bogus STUN", media, is_udp=True) for _ in range(BOGUS_CHECKS)),
            ]
        )

    @property
    def share(self) -> float:
        """Of a core that this process has used since it began."""
        return time.process_time() / (time.monotonic() - self._began_s)

    def act_once(self) -> bool:
        """Let each of them do one thing; False once its user has gone."""
        for stranger in self.strangers:
            try:
                stranger.act()
            except OSError:
                stranger.close()
                self.refused += 1
            while self.share > SHARE_OF_A_CORE:
                if gone(LOOK_EVERY_S):
                    return False
        return not gone(LOOK_EVERY_S)

    def told(self) -> dict[str, float]:
        opened: Counter[str] = Counter()
        for stranger in self.strangers:
            opened[stranger.kind] += stranger.opened
        return {"share": self.share, "refused": self.refused, **opened}


def gone(patience_s: float) -> bool:
    """Whether the input has ended; looks for so long."""
    ready, _, _ = select.select([sys.stdin], [], [], patience_s)
    return bool(ready)


def main(words: Sequence[str]) -> None:
    crowd = Crowd.of(*(Address.parse(word) for word in words))
    more = crowd.act_once()
    print("all", flush=True)
    while more:
        more = crowd.act_once()
    print(json.dumps(crowd.told()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
