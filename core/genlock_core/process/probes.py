"""What Kubernetes and Prometheus ask a process over HTTP: /healthz, /readyz and /metrics, answered alike by every part.

Who is alive and who is ready is the part's own decision (`Probed`). `ProbeServer` answers from threads of its own: an
event loop that is busy keeps no probe waiting, and one that is stuck cannot keep its own silence. A part that serves
HTTP anyway uses `verdict` and `exposition` in it.
"""

import logging
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

logger = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 0.25
REQUEST_TIMEOUT_S: Final = 5.0
TEXT: Final = "text/plain; charset=utf-8"


class Probed(Protocol):
    """What a part says of itself. Both are called by any thread."""

    def ailment(self) -> str:
        """Why this process is to be started again; "" while it is well."""
        ...

    def unready(self) -> str:
        """Why nobody new is to be sent here; "" while they may come."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer over HTTP."""

    status: int
    media_type: str
    body: bytes


def verdict(trouble: str, *, fine: str) -> Answer:
    """The answer of /healthz or /readyz: 503 with what is wrong, 200 and `fine` if `trouble` is empty."""
    return Answer(503 if trouble else 200, TEXT, f"{trouble or fine}\n".encode())


def exposition(registry: CollectorRegistry) -> Answer:
    """The answer of /metrics, in Prometheus' text format."""
    return Answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))


def _nothing() -> None:
    pass


class ProbeServer(ThreadingHTTPServer):
    """Serves /healthz, /readyz and /metrics from `start` to `stop`. Making it raises OSError if the port is taken."""

    daemon_threads = True

    def __init__(
        self,
        host: str,
        port: int,
        *,
        probed: Probed,
        registry: CollectorRegistry,
        look: Callable[[], None] = _nothing,
        ready: Callable[[], str] = lambda: "ready",
    ) -> None:
        """`look` is called every `LOOK_EVERY_S`, whether or not anybody asks: some things count as stuck by what was
        seen of them. `ready`: what /readyz answers while all is well; on any thread."""
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._probed = probed
        self._registry = registry
        self._look = look
        self._ready = ready
        self._thread = threading.Thread(target=self.serve_forever, args=(LOOK_EVERY_S,), name="probes", daemon=True)
        super().__init__((host, port), _Request)

    @property
    def port(self) -> int:
        """The port listened on."""
        return int(self.socket.getsockname()[1])

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End it at once; requests that are being answered are not waited for."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    def service_actions(self) -> None:
        """The base class calls it between requests, and every `LOOK_EVERY_S`."""
        self._look()

    def server_bind(self) -> None:
        """Without asking DNS for a name that nobody needs, as HTTPServer does."""
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class calls it
        """A client that hangs up is no news; anything else is."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            logger.exception("a probe was not answered")

    def answer(self, path: str) -> Answer:
        """The answer to a GET of this path."""
        match path.partition("?")[0]:
            case "/healthz":
                return verdict(self._probed.ailment(), fine="ok")
            case "/readyz":
                return verdict(self._probed.unready(), fine=self._ready())
            case "/metrics":
                return exposition(self._registry)
            case _:
                return Answer(404, TEXT, b"/healthz, /readyz and /metrics are here\n")


class _Request(BaseHTTPRequestHandler):
    server: ProbeServer
    timeout = REQUEST_TIMEOUT_S

    def do_GET(self) -> None:
        answer = self.server.answer(self.path)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.media_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name that the base class gave it
        """Probes come every few seconds; nobody wants to read of them."""
