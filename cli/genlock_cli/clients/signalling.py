"""What a WHIP and a WHEP client share: offer, POST, answer, DELETE (RFC 9725), over aiortc's own peer connection."""

import ipaddress
import logging
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import httpx
from aiortc import RTCPeerConnection, RTCRtpTransceiver, RTCSessionDescription

from genlock_cli.api import out_of_reach, problem_of

TIMEOUT_S = 15.0

logger = logging.getLogger(__name__)


class SignalledPeer:
    """A peer connection that was negotiated over HTTP.

    States: new -> connected (`negotiate` returned) -> closed (`close`, which also DELETEs the session on the gateway).
    """

    def __init__(self, url: str, *, token: str | None, headers: dict[str, str] | None = None) -> None:
        self._url = url
        self._headers = dict(headers or {})
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self.connection = RTCPeerConnection()
        self.resource: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def negotiate(self, transceiver: RTCRtpTransceiver) -> None:
        """POST the offer and take the answer. Raises GatewayProblem."""
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

    async def close(self) -> None:
        await self.connection.close()
        if self.resource is None:
            return
        resource, self.resource = self.resource, None
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
                await http.delete(resource, headers=self._headers)
        except httpx.HTTPError as error:
            logger.info("could not say goodbye to %s: %s", resource, type(error).__name__)


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
