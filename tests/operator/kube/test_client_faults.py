"""What the adapter makes of an API server, or a proxy before it, that answers badly or not at all: one error, once."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import kmock
import pytest
from kmock import Request, Response  # type: ignore[attr-defined]
from kubernetes.aio.client import Configuration

from genlock_operator.kube.api import PODS
from genlock_operator.kube.client import KubeClient
from genlock_operator.kube.errors import AlreadyExists, Conflict, KubeError, NotFound, RequestRefused, Unavailable

POD = {"metadata": {"name": "warm-0"}}
PATHS = {"create": "/api/v1/namespaces/studio/pods", "other": "/api/v1/namespaces/studio/pods/warm-0"}
Call = Callable[[KubeClient], Awaitable[Any]]
CALLS: dict[str, tuple[str, Call]] = {
    "create": (f"post {PATHS['create']}", lambda api: api.create(PODS, "studio", POD)),
    "patch": (f"patch {PATHS['other']}", lambda api: api.patch(PODS, "studio", "warm-0", POD)),
    "patch_status": (f"patch {PATHS['other']}/status", lambda api: api.patch_status(PODS, "studio", "warm-0", POD)),
    "delete": (f"delete {PATHS['other']}", lambda api: api.delete(PODS, "studio", "warm-0", uid="uid-1")),
}
pytestmark = pytest.mark.kmock(cls=kmock.RawHandler)
every_call = pytest.mark.parametrize(("asked", "call"), CALLS.values(), ids=CALLS)


@pytest.fixture
def measured() -> list[tuple[str, int]]:
    """Verbs and codes that were measured."""
    return []


@pytest.fixture
async def api(kmock: kmock.RawHandler, measured: list[tuple[str, int]]) -> AsyncIterator[KubeClient]:
    configuration = Configuration()
    configuration.host = str(kmock.url).rstrip("/")
    client = KubeClient(
        configuration, measure=lambda verb, _plural, code, _seconds: measured.append((verb, code)), timeout_s=5.0
    )
    yield client
    await client.close()


def answer(code: int, text: str = "", **headers: str) -> Response:
    """An HTTP answer of that status."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status=code, payload=text.encode(), headers=sent)


def status(code: int, reason: str, message: str) -> Response:
    """What the API server itself answers."""
    body = {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message}
    return answer(code, json.dumps(body))


@every_call
@pytest.mark.parametrize(
    ("code", "kind"),
    [(500, Unavailable), (503, Unavailable), (404, NotFound), (403, RequestRefused), (422, RequestRefused)],
)
async def test_an_answer_of_no_success_is_an_error_of_its_kind(
    api: KubeClient, kmock: kmock.RawHandler, asked: str, call: Call, code: int, kind: type[KubeError]
) -> None:
    kmock[asked] << status(code, "Whatever", "it says why")
    with pytest.raises(kind, match="it says why") as caught:
        await call(api)
    assert caught.value.code == code
    assert len(kmock) == 1


@every_call
async def test_too_many_requests_are_not_sent_again_by_the_adapter(
    api: KubeClient, kmock: kmock.RawHandler, asked: str, call: Call
) -> None:
    """Whoever asked comes again by the queue's backoff, which grows."""
    kmock[asked] << answer(429, "slower, please", Retry_After="1")
    with pytest.raises(Unavailable, match="slower, please"):
        await call(api)
    assert len(kmock) == 1


@pytest.mark.parametrize("verb", ["create", "patch", "patch_status"])
async def test_a_connection_that_is_dropped_is_no_answer(
    api: KubeClient, kmock: kmock.RawHandler, measured: list[tuple[str, int]], verb: str
) -> None:
    def drop(request: Request) -> None:
        assert request._raw_request is not None
        assert request._raw_request.transport is not None
        request._raw_request.transport.abort()

    asked, call = CALLS[verb]
    kmock[asked] << drop
    with pytest.raises(Unavailable) as caught:
        await call(api)
    assert caught.value.code == 0
    assert [code for _, code in measured] == [0]


async def test_an_answer_that_does_not_come_is_not_waited_for_for_ever(kmock: kmock.RawHandler) -> None:
    configuration = Configuration()
    configuration.host = str(kmock.url).rstrip("/")
    api = KubeClient(configuration, measure=lambda *_: None, timeout_s=0.05)
    kmock[f"get {PATHS['other']}"] << (lambda: asyncio.Event().wait())
    with pytest.raises(Unavailable):
        await api.get(PODS, "studio", "warm-0")
    await api.close()


@pytest.mark.parametrize(("reason", "kind"), [("AlreadyExists", AlreadyExists), ("Conflict", Conflict)])
async def test_there_already_and_changed_meanwhile_are_told_apart(
    api: KubeClient, kmock: kmock.RawHandler, reason: str, kind: type[KubeError]
) -> None:
    kmock[f"post {PATHS['create']}"] << status(409, reason, "no")
    with pytest.raises(kind):
        await api.create(PODS, "studio", POD)


async def test_a_quota_is_told_from_other_refusals(api: KubeClient, kmock: kmock.RawHandler) -> None:
    kmock[f"post {PATHS['create']}"] << status(403, "Forbidden", "pods is forbidden: exceeded quota: gpus")
    with pytest.raises(RequestRefused) as caught:
        await api.create(PODS, "studio", POD)
    assert caught.value.quota


@pytest.mark.parametrize("text", ["<html>Bad Gateway</html>", "", "[]", '"no"', "\N{SNOWMAN}"])
async def test_a_proxy_that_answers_something_else_is_quoted(
    api: KubeClient, kmock: kmock.RawHandler, text: str
) -> None:
    kmock[f"post {PATHS['create']}"] << answer(502, text)
    with pytest.raises(Unavailable) as caught:
        await api.create(PODS, "studio", POD)
    assert caught.value.message == text


@pytest.mark.parametrize("text", ["<html>Welcome</html>", "", "[]"])
async def test_a_success_that_is_no_object_is_none(api: KubeClient, kmock: kmock.RawHandler, text: str) -> None:
    kmock[f"get {PATHS['other']}"] << answer(200, text)
    with pytest.raises(Unavailable):
        await api.get(PODS, "studio", "warm-0")


async def test_a_delete_is_of_the_object_that_was_seen(api: KubeClient, kmock: kmock.RawHandler) -> None:
    kmock[f"delete {PATHS['other']}"] << {}
    await api.delete(PODS, "studio", "warm-0", uid="uid-1")
    (request,) = kmock
    assert request.data["preconditions"] == {"uid": "uid-1"}
