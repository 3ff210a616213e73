"""A request that a gateway passes on counts as its client's, and only such a one does."""

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from genlock_core.clock import ManualClock
from genlock_core.tokens import Keyring
from genlock_gateway.access.costs import Purpose
from genlock_gateway.access.gateway_proof import HEADER, GatewayProofs
from genlock_gateway.access.limits import MAX_SDP_BYTES
from genlock_gateway.access.passed_on import OfOtherGateways
from genlock_gateway.edge.watch import VOUCH
from tests.gateway.installation import Installation

PROOFS = GatewayProofs(Keyring.parse("k1:0123456789abcdef").keys, ManualClock())
STRANGERS = GatewayProofs(Keyring.parse("k1:not-the-right-secret").keys, ManualClock())
TARGET = "/whip/default/demo/g1/abc"


class App:
    """Notes whose the request is, and its body."""

    def __init__(self) -> None:
        self.client = ""
        self.vouched = 0
        self.body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.client = scope["client"][0]
        while True:
            message = await receive()
            self.body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        assert (await receive())["type"] == "http.disconnect", "what comes after the body comes through"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def asked(app: App, header: str | None, *chunks: bytes) -> int:
    """The status of a PATCH with this proof and this body, from 10.0.0.1."""
    statuses: list[int] = []
    messages: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks) - 1}
        for number, chunk in enumerate(chunks)
    ]

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = [] if header is None else [(HEADER.lower().encode(), header.encode())]
    scope = {"type": "http", "method": "PATCH", "raw_path": TARGET.encode(), "query_string": b"", "headers": headers}
    state = {VOUCH: lambda: setattr(app, "vouched", app.vouched + 1)}
    await OfOtherGateways(app, proofs=PROOFS)(scope | {"client": ("10.0.0.1", 1), "state": state}, receive, send)
    return statuses[0]


async def test_a_request_with_a_proof_is_its_clients() -> None:
    app = App()
    assert await asked(app, PROOFS.sign("PATCH", TARGET, b"abcd", client="192.0.2.9"), b"ab", b"cd") == 200
    assert (app.client, app.body) == ("192.0.2.9", b"abcd")
    assert app.vouched == 1, "its connection gives way to no stranger's"


@pytest.mark.parametrize("header", [None, "", "nonsense", STRANGERS.sign("PATCH", TARGET, b"", client="192.0.2.9")])
async def test_a_request_without_a_right_one_is_its_senders(header: str | None) -> None:
    app = App()
    assert await asked(app, header, b"abcd") == 200
    assert (app.client, app.body, app.vouched) == ("10.0.0.1", b"abcd", 0)


@pytest.mark.parametrize("body", [b"abce", b"", b"x" * (MAX_SDP_BYTES + 1)])
async def test_another_body_than_that_of_the_proof_is_refused(body: bytes) -> None:
    app = App()
    assert await asked(app, PROOFS.sign("PATCH", TARGET, b"abcd", client="192.0.2.9"), body) == 400
    assert app.client == ""


async def test_what_a_gateway_passes_on_counts_as_the_clients_at_both(installation: Installation) -> None:
    one, other = await installation.gateway("g0"), await installation.gateway("g1")
    await installation.worker()
    await installation.session()
    peer = await installation.publish(other)
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(local_address="127.0.0.2")) as client:
        refused = await client.delete(f"{one.url}{peer.location}?a=%20b")
        ended = await client.delete(f"{one.url}{peer.location}", headers=installation.token())
    assert (refused.status_code, ended.status_code) == (401, 200)
    for running in (one, other):
        counted = running.gateway.allowances._of_addresses[Purpose.CHANGE]._buckets
        assert "127.0.0.2" in counted
    assert "127.0.0.1" not in one.gateway.allowances._of_addresses[Purpose.CHANGE]._buckets
