"""Servers for HTTP, HTTPS and probes, behind the edge: several sockets that begin and end together."""

import asyncio
import math
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn
from cryptography import x509
from starlette.types import ASGIApp

from genlock_core.clock import Clock
from genlock_core.process.address import Address
from genlock_core.process.tasks import end_tasks
from genlock_gateway.edge.acceptor import Acceptor
from genlock_gateway.edge.connections import Connection
from genlock_gateway.edge.protocol import WatchedProtocol
from genlock_gateway.edge.watch import Watch
from genlock_gateway.settings import TlsSettings

GRACE_S: Final = 3
BACKLOG: Final = 1024
"""Connections that wait to be accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """Listening sockets that serve one application under one watch."""

    app: ASGIApp
    """Behind its `Entrance`."""
    sockets: Sequence[socket.socket]
    watch: Watch
    context: ssl.SSLContext | None = None
    """The certificate of HTTPS; None: it is HTTP."""


class _Server(uvicorn.Server):
    """uvicorn behind the edge: connections come by `Acceptor`, and a drain comes before the end of HTTP."""

    def __init__(self, port: Port, clock: Clock) -> None:
        self._port = port
        self._clock = clock
        self._listening: list[asyncio.Task[None]] = []
        super().__init__(_config(port.app, idle_s=port.watch.bounds.idle_s))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """It has no handling of signals of its own."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen. uvicorn's own listeners take whatever comes."""
        for one in sockets or ():
            acceptor = Acceptor(
                one,
                watch=self._port.watch,
                clock=self._clock,
                protocol=self._protocol,
                context=self._port.context,
            )
            self._listening.append(asyncio.create_task(acceptor.run(), name="acceptor"))
        self.servers = []
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nobody new, and answer what is under way."""
        await end_tasks(self._listening)
        await super().shutdown(sockets)

    def _protocol(self, connection: Connection) -> WatchedProtocol:
        return WatchedProtocol(self.config, self.server_state, watch=self._port.watch, connection=connection)


class HttpServers:
    """`run` until `end`, or until one of the servers fails; then all of them end."""

    def __init__(self, ports: Sequence[Port], *, clock: Clock) -> None:
        self._servers = [(_Server(port, clock), list(port.sockets)) for port in ports if port.sockets]
        self._watches = list({id(port.watch): port.watch for port in ports}.values())

    async def run(self) -> None:
        """Raises OSError."""
        watching = [asyncio.create_task(watch.run(), name="watch over connections") for watch in self._watches]
        tasks = [asyncio.create_task(server.serve(sockets=sockets), name="http") for server, sockets in self._servers]
        try:
            await asyncio.wait([*tasks, *watching], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.end()
            await asyncio.gather(*tasks)
            await end_tasks(watching)

    def end(self) -> None:
        """Answer what is under way, and no more."""
        for server, _ in self._servers:
            server.should_exit = True


def _config(app: ASGIApp, *, idle_s: float) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        lifespan="off",
        # Whose word counts is the entrance's to say, and nobody speaks WebSocket here.
        proxy_headers=False,
        ws="none",
        # Later than the watch, which ends what is idle.
        timeout_keep_alive=math.ceil(idle_s) + 1,
    )


def listen(address: Address) -> socket.socket:
    """A socket for HTTP. Raises OSError that names the address if it is taken."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise OSError(f"cannot listen on {address}: {error.strerror or error}") from error


def certificate_names(certificate: Path | None) -> tuple[str, ...]:
    """The names in the file's first certificate: who has its key is called so. Raises ValueError for what is none."""
    if certificate is None:
        return ()
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    except OSError as error:
        raise ValueError(f"cannot read the certificate {certificate}: {error.strerror or error}") from None
    except ValueError:
        raise ValueError(f"{certificate} holds no certificate in PEM form") from None
    return tuple(names.get_values_for_type(x509.DNSName))


def tls_context(tls: TlsSettings) -> ssl.SSLContext | None:
    """The certificate of HTTPS; None where there is no HTTPS. Raises ValueError for files that hold none."""
    if tls.certificate is None or tls.key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # The empty passphrase: a key that has one is refused, where OpenSSL would ask the terminal for it.
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except OSError as error:
        why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise ValueError(f"cannot serve HTTPS with {tls.certificate} and {tls.key}: {why or error}") from None
    return context
