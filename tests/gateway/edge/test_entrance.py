"""What every request passes before the application: the name that it asks for, and whose it is."""

import asyncio
import contextlib
import ipaddress
import itertools
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from genlock_core.claims.record import PoolChoice, SessionRecord
from genlock_core.process.address import Address
from genlock_core.spec.session import SessionKey, StreamSessionSpec, resolve
from genlock_core.tokens import Keyring, generate_secrets
from genlock_gateway.edge.connections import Why
from genlock_gateway.edge.entrance import Entrance
from genlock_gateway.edge.forwarded import NamedProxies
from genlock_gateway.edge.names import OwnNames
from genlock_gateway.gateway import Gateway, build
from genlock_gateway.settings import parse_settings
from genlock_gateway.web.app import create_app
from genlock_gateway.web.ports import entrance
from tests.gateway.edge.raw import ROOMY, ask, served, watch


async def said(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that says what it was told."""
    request = Request(scope, receive)
    seen = {
        "path": scope["path"],
        "query": request.url.query,
        "host": request.headers["host"],
        "client": scope["client"][0],
        "scheme": scope["scheme"],
    }
    await JSONResponse(seen)(scope, receive, send)


@pytest.fixture
def refusals() -> list[str]:
    return []


@pytest.fixture
async def address(refusals: list[str]) -> AsyncIterator[Address]:
    guarded = Entrance(said, names=OwnNames.of(["live.example.org"]), proxies=NamedProxies(), refused=refusals.append)
    async with served(guarded) as address:
        yield address


@pytest.mark.parametrize("host", ["127.0.0.1:1", "[::1]:80", "localhost", "LIVE.example.org.:443"])
@pytest.mark.parametrize("target", ["/a?b=c", "HTTP://evil.example/a"])
async def test_a_request_is_for_this_gateway_by_its_name(
    address: Address, refusals: list[str], host: str, target: str
) -> None:
    """A whole URL counts before `Host` (RFC 9112 section 3.2.2)."""
    status, _ = await ask(address, f"GET {target} HTTP/1.1", f"Host: {host}")
    assert (status, refusals) == ((200, []) if target.startswith("/") else (421, ["unknown-name"]))
    status, body = await ask(address, f"GET http://{host}/a?b=c HTTP/1.1", "Host: evil.example")
    assert status == 200
    told = json.loads(body)
    assert (told["path"], told["query"], told["host"]) == ("/a", "b=c", host)


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
ORIGINS = ("http://evil.example:8080", "http://127.0.0.1:8080", "null", None)


async def test_another_name_is_refused_whatever_the_method_and_the_origin(
    address: Address, refusals: list[str]
) -> None:
    for method, origin in itertools.product(METHODS, ORIGINS):
        lines = [f"{method} / HTTP/1.1", "Host: evil.example:8080", *([f"Origin: {origin}"] if origin else [])]
        status, body = await ask(address, *lines)
        assert status == 421, (method, origin)
        if method != "HEAD":
            told = json.loads(body)
            assert (told["status"], told["reason"]) == (421, "unknown-name")
            assert "--server-name evil.example" in told["detail"]
    assert refusals == ["unknown-name"] * len(METHODS) * len(ORIGINS)


async def test_a_websocket_is_refused_like_anything_else(address: Address, refusals: list[str]) -> None:
    upgrade = ("Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13", "Connection: Upgrade")
    status, _ = await ask(address, "GET / HTTP/1.1", "Host: evil.example", *upgrade)
    assert (status, refusals) == (421, ["unknown-name"])


async def test_a_body_that_comes_with_a_wrong_name_is_not_read(address: Address, refusals: list[str]) -> None:
    status, _ = await ask(address, "POST / HTTP/1.1", "Host: evil.example", "Content-Length: 1000000", body=b"x" * 99)
    assert (status, refusals) == (421, ["unknown-name"])


REFUSED: tuple[tuple[list[str], int], ...] = (
    (["GET / HTTP/1.0"], 421),
    (["GET / HTTP/1.1", "Host:"], 421),
    (["GET / HTTP/1.1", "Host: a b"], 421),
    (["GET / HTTP/1.1", "Host: user@127.0.0.1"], 421),
    (["GET / HTTP/1.1", "Host: 127.0.0.1, evil.example"], 421),
    # The parser's own refusals (RFC 9112 section 3.2).
    (["GET / HTTP/1.1"], 400),
    (["GET / HTTP/1.1", "Host: 127.0.0.1", "Host: evil.example"], 400),
    # Targets that name no path here.
    (["GET evil.example HTTP/1.1", "Host: 127.0.0.1"], 400),
    (["GET * HTTP/1.1", "Host: 127.0.0.1"], 400),
    (["CONNECT evil.example:80 HTTP/1.1", "Host: 127.0.0.1"], 400),
    (["GET ftp://127.0.0.1/ HTTP/1.1", "Host: 127.0.0.1"], 400),
    (["GET http:// HTTP/1.1", "Host: 127.0.0.1"], 421),
    (["OPTIONS * HTTP/1.1", "Host: 127.0.0.1"], 200),
    (["OPTIONS * HTTP/1.1", "Host: evil.example"], 421),
    (["GET //evil.example/a HTTP/1.1", "Host: 127.0.0.1"], 200),
)


async def test_what_names_no_host_or_no_path_is_refused(address: Address) -> None:
    for lines, status in REFUSED:
        assert (await ask(address, *lines))[0] == status, lines


@pytest.mark.parametrize("proxies", [(), ("127.0.0.1/32",)])
async def test_only_a_named_proxy_speaks_for_its_client(proxies: tuple[str, ...]) -> None:
    named = NamedProxies(tuple(map(ipaddress.ip_network, proxies)))
    guarded = Entrance(said, names=OwnNames(), proxies=named, refused=lambda _: None)
    async with served(guarded) as address:
        sent = ("X-Forwarded-For: 10.9.8.7, 203.0.113.9", "X-Forwarded-Proto: https")
        _, body = await ask(address, "GET / HTTP/1.1", "Host: localhost", *sent)
    told = json.loads(body)
    assert (told["client"], told["scheme"]) == (("203.0.113.9", "https") if proxies else ("127.0.0.1", "http"))


@pytest.fixture
async def gateway(redis_url: str) -> AsyncIterator[Gateway]:
    """With a session that everybody may steer, and few requests for each address."""
    where = ("--redis", redis_url, "--http", "127.0.0.1:0", "--udp", "127.0.0.1:0")
    few = ("--request-burst", "10", "--request-rate", "0.001/s", "--advertise-http", "http://box.example:8080")
    settings = parse_settings(["--name", "g0", *where, *few], {})
    gateway = build(settings, Keyring.parse(generate_secrets()))
    await gateway.start()
    public = {"publish": "Public", "view": "Public"}
    spec = StreamSessionSpec.model_validate(
        {"model": "wan2.1-1.3b", "prompt": "oil", "source": {"type": "webrtc"}, "access": public}
    )
    session = resolve(SessionKey(namespace="default", name="demo"), spec)
    await gateway.claims.create(SessionRecord(session=session, pools=(PoolChoice("p", 100),)))
    yield gateway
    await gateway.stop()


STEER = ("PATCH /api/v1/sessions/default/demo/control HTTP/1.1", "Content-Type: application/json")
PROMPT = b'{"prompt": "from somewhere"}'


async def steer(address: Address, *lines: str) -> int:
    return (await ask(address, *STEER, *lines, f"Content-Length: {len(PROMPT)}", body=PROMPT))[0]


async def test_a_page_whose_name_was_turned_to_a_gateway_does_not_steer_it(gateway: Gateway) -> None:
    async with served(entrance(gateway, create_app(gateway))) as address:
        for own in (str(address), f"localhost:{address.port}", f"box.example:{address.port}"):
            assert await steer(address, f"Host: {own}", f"Origin: http://{own}") == 202, own
        evil = f"evil.example:{address.port}"
        assert await steer(address, f"Host: {evil}", f"Origin: http://{evil}") == 421
        assert await steer(address, f"Host: {address}", f"Origin: http://{evil}") == 401
    refused = gateway.metrics.misdirected.labels(reason="unknown-name")._value.get()
    assert refused == 1


async def test_no_client_gets_more_requests_by_saying_that_it_is_many(gateway: Gateway) -> None:
    async with served(entrance(gateway, create_app(gateway))) as address:
        answers = [await steer(address, f"Host: {address}", f"X-Forwarded-For: 10.9.8.{one}") for one in range(20)]
    assert answers.count(429) == 10


async def test_a_body_that_breaks_off_is_no_fault_of_the_gateway(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    """A traceback for each would let strangers fill a disk."""
    ended: list[Why] = []
    over = watch(replace(ROOMY, request_s=0.2), ended=ended)
    async with served(entrance(gateway, create_app(gateway)), over) as address:
        head = "".join(f"{line}\r\n" for line in (*STEER, f"Host: {address}", "Content-Length: 99", ""))
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(head.encode() + b"half of it")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
    assert ended == [Why.LATE]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
