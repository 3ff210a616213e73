"""A WHEP endpoint for the command's clients: it answers offers with aiortc, and sends no picture."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn
from aiortc import RTCPeerConnection, RTCSessionDescription
from fastapi import FastAPI, Request, Response


@dataclass(slots=True)
class WhepGateway:
    """`url` is where a client POSTs its offer; `refuses_with` is a status that it gets instead of an answer.

    `refusals`: how many are refused; None: all. `retry_after`: the header of a refusal.
    """

    url: str = ""
    refuses_with: int | None = None
    refusals: int | None = None
    retry_after: str | None = None
    peers: dict[str, RTCPeerConnection] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/whep")
        async def offered(request: Request) -> Response:
            if self.refuses_with is not None and self.refusals != 0:
                self.refusals = None if self.refusals is None else self.refusals - 1
                headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
                return Response(status_code=self.refuses_with, headers=headers)
            peer = RTCPeerConnection()
            name = str(len(self.peers))
            self.peers[name] = peer
            await peer.setRemoteDescription(RTCSessionDescription((await request.body()).decode(), "offer"))
            await peer.setLocalDescription(await peer.createAnswer())
            headers = {"Location": f"/whep/{name}"}
            return Response(peer.localDescription.sdp, status_code=201, headers=headers, media_type="application/sdp")

        @app.delete("/whep/{name}")
        async def deleted(name: str) -> Response:
            self.deleted.append(name)
            return Response(status_code=200)

        return app


@asynccontextmanager
async def whep_gateway() -> AsyncIterator[WhepGateway]:
    """One that serves on a port of its own until the block ends."""
    gateway = WhepGateway()
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # its connections have it, as a gateway's do
    gateway.url = f"http://127.0.0.1:{listening.getsockname()[1]}/whep"
    server = uvicorn.Server(uvicorn.Config(gateway.app(), log_config=None, lifespan="off"))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield gateway
    finally:
        for peer in gateway.peers.values():
            await peer.close()
        server.should_exit = True
        await serving
