"""What a WHIP and a WHEP client share, over aiortc's own peer connection: offer, POST, answer, DELETE (RFC 9725), and
the data channel on which the gateway answers pings and says when to connect again.
"""

import asyncio
import contextlib
import ipaddress
import json
import logging
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import httpx
from aiortc import RTCPeerConnection, RTCRtpTransceiver, RTCSessionDescription

from genlock_cli.api import out_of_reach, problem_of
from genlock_core.process.tasks import end_tasks

TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 10.0
PING_EVERY_S = 0.5
SILENT_AFTER_S = 3.0
"""A gateway that has not answered for so long is gone: consent alone (RFC 7675) would tell after 30 s."""

logger = logging.getLogger(__name__)


class SignallingClient:
    """A peer connection that was negotiated over HTTP.

    States: new -> connected (`negotiate` returned) -> closed (`close`, which also DELETEs the session on the gateway).
    `lost` is set when the connection is of no use any more: it broke, or the gateway fell silent. `asked_to_leave` is
    set when the gateway drains: it still works, and waits for its clients to connect again elsewhere. `replaced` says
    why a publisher lost its session to another one; empty while it has not.
    """

    def __init__(self, url: str, *, token: str | None, headers: dict[str, str] | None = None) -> None:
        self._url = url
        self._headers = dict(headers or {})
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self.connection = RTCPeerConnection()
        self.resource: str | None = None
        self.lost = asyncio.Event()
        self.asked_to_leave = asyncio.Event()
        self.trouble = ""
        """Why the gateway makes no picture of what is published, a word of `media.Trouble`; "" if it does."""
        self.replaced = ""
        self._connected = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._heard_s = 0.0
        self._channel = self.connection.createDataChannel("control")
        self._channel.on("message", self._hear)
        self.connection.on("connectionstatechange", self._changed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def negotiate(self, transceiver: RTCRtpTransceiver) -> None:
        """POST the offer, take the answer, and wait until media can flow. Raises GatewayProblem, TimeoutError."""
        if _is_loopback(self._url):
            _gather_loopback(transceiver)
        await self.connection.setLocalDescription(await self.connection.createOffer())
        base = f"{urlsplit(self._url).scheme}://{urlsplit(self._url).netloc}"
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
            try:
                response = await http.post(
                    self._url,
                    content=self.connection.localDescription.sdp,
                    headers={**self._headers, "Content-Type": "application/sdp"},
                )
            except httpx.HTTPError as error:
                raise out_of_reach(base, error) from error
        if response.is_error:
            raise problem_of(response)
        self.resource = urljoin(self._url, response.headers["Location"])
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp=response.text, type="answer"))
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await self._connected.wait()
        self._watching = asyncio.create_task(self._watch(), name="gateway watch")

    async def close(self) -> None:
        """Close, once. Closing goes on when its caller is cancelled.

        A connection of aiortc that is closed by half keeps its sockets, and its next `close` never returns.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="peer closes")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._watching is not None:
            await end_tasks([self._watching])
        await self.connection.close()
        if self.resource is None:
            return
        resource = self.resource
        self.resource = None
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
                await http.delete(resource, headers=self._headers)
        except httpx.HTTPError as error:
            logger.info("could not say goodbye to %s: %s", resource, type(error).__name__)

    def _changed(self) -> None:
        if self.connection.connectionState == "connected":
            self._connected.set()
        elif self.connection.connectionState in {"failed", "closed"}:
            self.lost.set()

    def _hear(self, message: str | bytes) -> None:
        self._heard_s = asyncio.get_running_loop().time()
        with contextlib.suppress(ValueError, AttributeError):
            said = json.loads(message)
            if said.get("type") == "reconnect":
                self.asked_to_leave.set()
            elif said.get("type") == "state":
                self.trouble = str(said.get("trouble") or "")
            elif said.get("type") == "replaced":
                self.replaced = str(said.get("reason"))
                self.lost.set()

    async def _watch(self) -> None:
        """Ping the gateway; one that opened no data channel is left to ICE's consent checks."""
        clock = asyncio.get_running_loop()
        while not self.lost.is_set():
            await asyncio.sleep(PING_EVERY_S)
            if self._channel.readyState == "open":
                self._channel.send(json.dumps({"type": "ping", "sentAt": clock.time()}))
                if self._heard_s and clock.time() - self._heard_s > SILENT_AFTER_S:
                    self.lost.set()


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _gather_loopback(transceiver: RTCRtpTransceiver) -> None:
    """Let ICE use 127.0.0.1 as well: aioice leaves it out, and a gateway on this machine may listen nowhere else."""
    agent = transceiver.sender.transport.transport.iceGatherer._connection  # noqa: SLF001 - aiortc offers no way in
    gather = agent.get_component_candidates

    async def with_loopback(component: int, addresses: list[str], timeout: int = 5) -> Any:  # noqa: ASYNC109 - aioice's signature
        return await gather(component, [*addresses, "127.0.0.1"], timeout)

    agent.get_component_candidates = with_loopback  # type: ignore[method-assign]
