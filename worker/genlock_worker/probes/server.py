"""The HTTP server of probes and Prometheus, in threads of its own: it answers while the event loop is busy or stuck."""

import logging
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from genlock_worker.probes.health import WorkerHealth

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.25
REQUEST_TIMEOUT_S = 5.0
TEXT = "text/plain; charset=utf-8"


class ProbeServer(ThreadingHTTPServer):
    """Serves /healthz, /readyz and /metrics from `start` to `stop`. Making it raises OSError if the port is taken."""

    daemon_threads = True

    def __init__(self, host: str, port: int, *, health: WorkerHealth, registry: CollectorRegistry) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._health, self._registry = health, registry
        self._thread = threading.Thread(target=self.serve_forever, args=(LOOK_EVERY_S,), name="probes", daemon=True)
        super().__init__((host, port), _Request)

    @property
    def port(self) -> int:
        """The port listened on."""
        return int(self.socket.getsockname()[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End it at once; requests that are being answered are not waited for."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    def service_actions(self) -> None:
        """Between requests, and every `LOOK_EVERY_S`: an engine is stuck by what was seen, not by who asked."""
        self._health.look()

    def server_bind(self) -> None:
        """Without asking DNS for a name that nobody needs, as HTTPServer does."""
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class calls it
        """A client that hangs up is no news; anything else is."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            logger.exception("a probe was not answered")

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, media type and body."""
        match path.partition("?")[0]:
            case "/healthz":
                return _verdict(self._health.ailment(), "ok")
            case "/readyz":
                return _verdict(self._health.unready(), "ready")
            case "/metrics":
                return 200, CONTENT_TYPE_LATEST, generate_latest(self._registry)
            case _:
                return 404, TEXT, b"/healthz, /readyz and /metrics are here\n"


class _Request(BaseHTTPRequestHandler):
    server: ProbeServer
    timeout = REQUEST_TIMEOUT_S

    def do_GET(self) -> None:
        status, media_type, body = self.server.answer(self.path)
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name that the base class gave it
        """Probes come every few seconds; nobody wants to read of them."""


def _verdict(trouble: str, fine: str) -> tuple[int, str, bytes]:
    return (503 if trouble else 200), TEXT, f"{trouble or fine}\n".encode()
