"""Are the ports free that `genlock up` is about to use? Asked before anything is started."""

import errno
import secrets
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from genlock_cli.exit_status import CommandError, ExitStatus
from genlock_core.errors import BadInput

_FREE_RANGE = range(10_000, 20_000)
_ATTEMPTS = 50


class PortTaken(CommandError):
    """A port that another program has, or that this user may not open."""

    exit_status = ExitStatus.TAKEN

    def __init__(self, *, kind: str, host: str, port: int, reason: str, option: str = "--port") -> None:
        self.port = port
        super().__init__(
            f"{kind} port {port} on {host} {reason}; choose another one with {option}, "
            f"or see who has it with `ss -lpn{kind[0].lower()} 'sport = :{port}'`"
        )


class NoSuchAddress(BadInput):
    """A host that this machine cannot serve on, whatever the port."""

    def __init__(self, host: str) -> None:
        super().__init__(f"this machine has no such address: {host}; name one of its own, or its name, with --host")


def check_port(host: str, port: int, *, media: Iterable[str]) -> None:
    """The port must be free for HTTP on `host` (TCP) and on each address of `media` (UDP). Raises PortTaken,
    NoSuchAddress."""
    _check("TCP", host, port)
    for address in media:
        _check("UDP", address, port)


def check_https(hosts: Iterable[str], port: int) -> None:
    """The TCP port must be free on each of the addresses. Raises PortTaken."""
    for host in hosts:
        _check("TCP", host, port, option="--lan-port")


def _check(kind: Literal["TCP", "UDP"], host: str, port: int, *, option: str = "--port") -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if kind == "TCP" else socket.SOCK_DGRAM) as probe:
        if kind == "TCP":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (socket.gaierror, UnicodeError):
            raise NoSuchAddress(host) from None
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise NoSuchAddress(host) from None
            raise PortTaken(kind=kind, host=host, port=port, reason=_reason(error), option=option) from None


def choose_ports(host: str, count: int, *, media: Sequence[str]) -> int:
    """The first of `count` free neighbouring ports, below every usual ephemeral range. Raises PortTaken."""
    return _choose(count, lambda port: check_port(host, port, media=media))


def choose_https_ports(hosts: Sequence[str], count: int) -> int:
    """The same for HTTPS on the addresses. Raises PortTaken."""
    return _choose(count, lambda port: check_https(hosts, port))


def _choose(count: int, check: Callable[[int], None]) -> int:
    for attempt in range(_ATTEMPTS):
        first = _FREE_RANGE.start + secrets.randbelow(len(_FREE_RANGE) - count)
        try:
            for port in range(first, first + count):
                check(port)
        except PortTaken:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return first
    raise AssertionError("unreachable: the last attempt returns or raises")


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "is taken"
    if error.errno == errno.EACCES:
        return "needs more rights (ports below 1024 are the system's)"
    return f"cannot be opened ({error.strerror})"
