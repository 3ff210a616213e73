"""One application behind HTTP and, where it is asked for, behind HTTPS: several sockets that begin and end together."""

import asyncio
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import uvicorn
from cryptography import x509
from starlette.types import ASGIApp

from genlock_core.process.address import Address
from genlock_gateway.settings import TlsSettings

GRACE_S: Final = 3
BACKLOG: Final = 1024
"""Connections that wait to be accepted."""


class _Server(uvicorn.Server):
    """uvicorn without its own handling of signals: a drain comes before the end of HTTP."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServers:
    """`run` until `end`, or until one of the servers fails; then all of them end."""

    def __init__(
        self, app: ASGIApp, *, http: socket.socket, https: Sequence[socket.socket], context: ssl.SSLContext | None
    ) -> None:
        """`app`: behind its `Door`. `context`: the certificate of `https`."""
        self._servers = [(_server(app), [http])]
        if https:
            self._servers.append((_server(app, context), list(https)))

    async def run(self) -> None:
        """Raises OSError."""
        tasks = [asyncio.create_task(server.serve(sockets=sockets), name="http") for server, sockets in self._servers]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.end()
            await asyncio.gather(*tasks)

    def end(self) -> None:
        """Answer what is under way, and no more."""
        for server, _ in self._servers:
            server.should_exit = True


def _server(app: ASGIApp, context: ssl.SSLContext | None = None) -> uvicorn.Server:
    return _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
            lifespan="off",
            # Whose word counts is the door's to say, and nobody speaks WebSocket here.
            proxy_headers=False,
            ws="none",
            ssl_context_factory=None if context is None else lambda _config, _default: context,
        )
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
