"""What the gateway does when a peer connects, sends a message or closes: figures, controls, and the hub."""

import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from genlock_gateway.gateway import Gateway
from genlock_gateway.sessions.audience import PeerResource
from genlock_gateway.sessions.stream import LiveStream

logger = logging.getLogger(__name__)

FAULTS = ("ICE failed", "DTLS failed", "not connected", "failed")
"""How the media plane says that a peer went without a goodbye."""


class WebPeerListener:
    """Listens to one peer. `resource` is set once the offer has been answered, before the peer has anything to tell."""

    resource: PeerResource

    def __init__(
        self,
        gateway: Gateway,
        stream: LiveStream,
        *,
        role: str,
        began_s: float,
        on_connected: Callable[[PeerResource], Coroutine[Any, Any, None]] | None = None,
        on_closed: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._gateway = gateway
        self._stream = stream
        self._role = role
        self._began_s = began_s
        self._on_connected = on_connected
        self._on_closed = on_closed

    def connected(self) -> None:
        """ICE and DTLS are up."""
        elapsed_s = time.perf_counter() - self._began_s
        self._gateway.metrics.setup_seconds.labels(role=self._role).observe(elapsed_s)
        setup = self.resource.setup
        setup.connect_s = max(0.0, elapsed_s - setup.answer_s)
        setup.connected_s = self._gateway.clock.monotonic()
        if self._on_connected is not None:
            self._gateway.hub.start(self._on_connected(self.resource), name=f"peer {self.resource.id} is there")

    def message(self, text: str) -> None:
        """The client sent text over its data channel."""
        self._gateway.controls.heard(self._stream, self.resource, text)

    def closed(self, reason: str) -> None:
        """The peer is gone, for whatever reason."""
        if reason.startswith(FAULTS):
            self._gateway.metrics.peers_failed.labels(role=self._role).inc()
        known = self._gateway.hub.resource(self.resource.id)
        if known is None:
            return
        logger.info("%s: a %s peer has gone: %s", known[0].session, self._role, reason)
        self._gateway.hub.remove(self.resource)
        if self._on_closed is not None:
            self._gateway.hub.start(self._on_closed(), name=f"end of peer {self.resource.id}")
