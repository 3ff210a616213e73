"""An installation in one process: gateways on real ports, workers that only echo, real WebRTC clients, a real Redis."""

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import httpx
import uvicorn
from fastapi import FastAPI

from genlock_core.claims import keys
from genlock_core.claims.claims import Claims
from genlock_core.claims.record import PoolChoice, SessionRecord
from genlock_core.clock import SystemClock
from genlock_core.media import AccessUnit, Codec
from genlock_core.spec.session import SessionKey, StreamSessionSpec, resolve
from genlock_core.store import connect
from genlock_core.tokens import Keyring, Role, generate_secrets
from genlock_gateway.gateway import Gateway, build
from genlock_gateway.settings import parse_settings
from genlock_gateway.web.app import create_app
from tests.gateway.fake_worker import FakeWorker
from tests.gateway.rtc.clients import Client, Clients, Publisher, Viewer
from tests.gateway.rtc.clips import encode

SDP = {"Content-Type": "application/sdp"}
FRAME_S = 1 / 30


Described: TypeAlias = list[tuple[re.Pattern[str], dict[str, Any]]]
"""For each path what `/openapi.json` says of its methods."""


class Description:
    """What gateways say of themselves: the same from each, as no setting adds or takes a route. So it is read from the
    first of a run alone; to make the document takes a tenth of a second of CPU."""

    def __init__(self) -> None:
        self._paths: Described = []

    def of(self, app: FastAPI) -> Described:
        if not self._paths:
            paths = app.openapi()["paths"]
            self._paths = [(re.compile(re.sub(r"{[a-z]+}", "[^/]+", path)), paths[path]) for path in paths]
        return self._paths


class AsDescribed(httpx.AsyncBaseTransport):
    """Passes requests on; each answer must be one that `/openapi.json` names for its operation.

    405 and 500 may come anywhere, and HEAD and OPTIONS follow from the other methods.
    """

    def __init__(self, app: FastAPI, description: Description) -> None:
        self._app = app
        self._description = description
        # It speaks plain HTTP: no certificates are read for it.
        self._inner = httpx.AsyncHTTPTransport(verify=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        if response.status_code in (405, 500) or request.method in ("HEAD", "OPTIONS"):
            return response

        path = request.url.path
        for pattern, operations in self._description.of(self._app):
            if pattern.fullmatch(path) and request.method.lower() in operations:
                described = operations[request.method.lower()]["responses"]
                assert str(response.status_code) in described, f"{request.method} {path}: {response.status_code}"
                content = described[str(response.status_code)].get("content", {})
                sent = response.headers.get("content-type", "").partition(";")[0]
                assert sent in content or (not sent and not content), f"{request.method} {path}: {sent}"
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass(slots=True, eq=False)
class Running:
    """A gateway that serves HTTP on a port of its own."""

    gateway: Gateway
    url: str
    http: httpx.AsyncClient
    server: uvicorn.Server
    serving: "asyncio.Task[None]"
    stopped: bool = False

    async def stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            await self.gateway.stop()
            self.server.should_exit = True
            await self.serving
            await self.http.aclose()

    def metric(self, name: str, **labels: str) -> float:
        return self.gateway.metrics.registry.get_sample_value(name, labels) or 0.0


@dataclass(slots=True)
class Peer:
    """A client that a gateway let in."""

    client: Client
    response: httpx.Response

    @property
    def location(self) -> str:
        return self.response.headers["Location"]


@dataclass(slots=True)
class Camera:
    """Publishes one key frame after the other until it is stopped."""

    publisher: Publisher
    unit: AccessUnit
    task: "asyncio.Task[None] | None" = None
    sent: int = 0

    def start(self) -> None:
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        began = time.monotonic()
        while True:
            at_us = round((time.monotonic() - began) * 1e6)
            self.publisher.send([replace(self.unit, capture_us=at_us)])
            self.sent += 1
            await asyncio.sleep(FRAME_S)

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task


@dataclass(slots=True)
class Installation:
    """Everything of one test; `close` ends it all."""

    redis_url: str
    description: Description = field(default_factory=Description)
    keyring: Keyring = field(default_factory=lambda: Keyring.parse(generate_secrets()))
    clock: SystemClock = field(default_factory=SystemClock)
    clients: Clients = field(default_factory=Clients)
    gateways: list[Running] = field(default_factory=list)
    workers: list[FakeWorker] = field(default_factory=list)
    cameras: list[Camera] = field(default_factory=list)
    claims: Claims = field(init=False)
    store: Any = field(init=False)

    def __post_init__(self) -> None:
        self.store = connect(self.redis_url)
        self.claims = Claims(self.store)

    async def gateway(self, name: str = "g0", *options: str) -> Running:
        settings = parse_settings(
            ["--name", name, "--redis", self.redis_url, "--http", "127.0.0.1:0", "--udp", "127.0.0.1:0", *options], {}
        )
        gateway = build(settings, self.keyring)
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # its connections have it, as a gateway's do
        gateway.address.port = listening.getsockname()[1]
        await gateway.start()
        app = create_app(gateway)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        url = gateway.address()
        http = httpx.AsyncClient(base_url=url, trust_env=False, transport=AsDescribed(app, self.description))
        running = Running(gateway, url, http, server, serving)
        self.gateways.append(running)
        await until(lambda: server.started)
        return running

    async def worker(self, name: str = "w0", *, engine: str = "") -> FakeWorker:
        worker = FakeWorker(name, self.claims, secret=self.keyring.link_secrets()[0], clock=self.clock, engine=engine)
        await worker.start()
        self.workers.append(worker)
        return worker

    async def session(self, name: str = "demo", *, cost: int = 500, **spec: Any) -> str:
        session = resolve(SessionKey(name=name), StreamSessionSpec.model_validate({"frameRate": 30, **spec}))
        await self.claims.create(SessionRecord(session=session, pools=(PoolChoice("local", cost),)))
        return str(session.key)

    async def settle(self) -> None:
        """Let Redis look as if it had been up for long: a new one holds moves by lease back for 5 s."""
        info = await self.store.info("server")
        await self.store.hset(keys.GUARD, mapping={"run_id": info["run_id"], "since_ms": "1"})

    def token(self, session: str = "default/demo", role: Role = Role.PUBLISH) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keyring.token('*' if role is Role.ADMIN else session, role)}"}

    async def publish(
        self,
        gateway: Running,
        session: str = "default/demo",
        *,
        name: str | None = "camera",
        token: bool = True,
        takeover: bool = False,
        start: bool = True,
    ) -> Peer:
        """A real publisher that shows key frames, if the gateway lets it in."""
        client = self.clients.publisher(Codec.H264)
        client.open_channel()
        headers = {**SDP, **(self.token(session) if token else {})}
        if name is not None:
            headers["Genlock-Publisher"] = name
        response = await gateway.http.post(
            f"/whip/{session}",
            content=await client.offer(),
            headers=headers,
            params={"takeover": "true"} if takeover else {},
            timeout=20,
        )
        if response.status_code == 201:
            await client.take(response.text)
            await asyncio.wait_for(client.connected.wait(), 10)
            camera = Camera(client, encode(Codec.H264, 1, width=160, height=128)[0])
            self.cameras.append(camera)
            if start:
                camera.start()
        return Peer(client, response)

    async def view(self, gateway: Running, session: str = "default/demo", **headers: str) -> "Peer":
        client = self.clients.viewer(Codec.H264)
        client.open_channel()
        response = await gateway.http.post(f"/whep/{session}", content=await client.offer(), headers={**SDP, **headers})
        if response.status_code == 201:
            await client.take(response.text)
            await asyncio.wait_for(client.connected.wait(), 10)
        return Peer(client, response)

    async def close(self) -> None:
        for camera in self.cameras:
            await camera.stop()
        await self.clients.close()
        for running in self.gateways:
            await running.stop()
        for worker in self.workers:
            await worker.stop()
        await self.store.aclose()


def viewer_of(peer: Peer) -> Viewer:
    assert isinstance(peer.client, Viewer)
    return peer.client


async def until(condition: Callable[[], bool], *, timeout_s: float = 15.0) -> None:
    """Wait until `condition` holds; TimeoutError if it never does."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


async def more_pictures(peer: Peer, count: int = 3) -> None:
    """Wait until the viewer has decoded that many pictures more."""
    viewer = viewer_of(peer)
    wanted = len(viewer.pictures) + count
    await until(lambda: len(viewer.pictures) >= wanted)
