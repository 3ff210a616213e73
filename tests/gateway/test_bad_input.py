"""What strangers and mistaken clients send: a clear answer as a problem document, and nothing lost."""

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from genlock_core.claims.pulse import Vitals
from genlock_core.tokens import Keyring, Role, generate_secrets
from tests.gateway.fake_worker import FakeWorker
from tests.gateway.installation import SDP, Installation, more_pictures, until
from tests.gateway.rtc.offers import offer

MANIFEST = """
apiVersion: genlock.dev/v1alpha1
kind: StreamSession
metadata: {name: Bad_Name}
spec:
  stepps: 2
  frameRate: 1000
  prompt: ""
  source: {type: file}
  slo: {missBudget: 3}
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A request, and the status and a word of the answer."""

    name: str
    method: str
    path: str
    status: int
    detail: str
    role: Role | None = Role.PUBLISH
    headers: dict[str, str] | None = None
    body: str | bytes = b""

    def __str__(self) -> str:
        return self.name


YAML = {"Content-Type": "application/yaml"}
JSON = {"Content-Type": "application/json"}
TRICKLE = {"Content-Type": "application/trickle-ice-sdpfrag"}
WHIP, WHEP = "/whip/default/demo", "/whep/default/demo"
CONTROL = "/api/v1/sessions/default/demo/control"
CASES = [
    Case("no SDP at all", "POST", WHIP, 400, "", headers=SDP, body="hello"),
    Case("SDP cut short", "POST", WHEP, 400, "", headers=SDP, body="v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nm=video"),
    Case("not UTF-8", "POST", WHIP, 400, "UTF-8", headers=SDP, body=b"\xff\xfe\xff"),
    Case("an offer of audio alone", "POST", WHIP, 422, "", headers=SDP, body=""),
    Case("a viewer that offers to send", "POST", WHEP, 422, "", headers=SDP, body=""),
    Case("the wrong content type", "POST", WHIP, 415, "application/sdp", headers=JSON, body="{}"),
    Case("no content type", "POST", WHIP, 415, "application/sdp", headers={"Content-Type": ""}, body="v=0"),
    Case("an oversized offer", "POST", WHIP, 413, "65536", headers=SDP, body="v=0\r\n" * 20_000),
    Case("an oversized manifest", "POST", "/api/v1/sessions", 413, "bytes",
          role=Role.ADMIN, headers=YAML, body="#" * 300_000),
    Case("an unknown session", "POST", "/whip/default/nobody", 404, "no such session",
         role=None, headers=SDP, body="v=0"),
    Case("a name that can be none", "POST", "/whep/default/No_Body!", 404, "no such session",
         role=None, headers=SDP, body="v=0"),
    Case("no token", "POST", WHIP, 401, "token", role=None, headers=SDP, body="v=0"),
    Case("a view token to publish", "POST", WHIP, 403, "publish", role=Role.VIEW, headers=SDP, body="v=0"),
    Case("another scheme", "POST", WHIP, 401, "Bearer", headers={**SDP, "Authorization": "Basic eDp5"}, body="v=0"),
    Case("a wrong token to watch", "POST", WHEP, 403, "view",
          headers={**SDP, "Authorization": "Bearer gl1.k1.x"}, body="v=0"),
    Case("a page of another site", "POST", WHEP, 401, "another site",
          role=None, headers={**SDP, "Origin": "https://evil.example"}),
    Case("a publisher's name too long", "POST", WHIP, 400, "Genlock-Publisher",
          headers={**SDP, "Genlock-Publisher": "x" * 129}, body="offer"),
    Case("an unknown resource", "DELETE", f"{WHIP}/g0/nothing", 404, "no such session"),
    Case("a resource of an unknown gateway", "PATCH", f"{WHIP}/g9/nothing", 404, "gateway has gone", headers=TRICKLE),
    Case("control without a token", "PATCH", CONTROL, 401, "token", role=None, headers=JSON, body='{"steps": 2}'),
    Case("control that is no JSON", "PATCH", CONTROL, 400, "mistakes", headers=JSON, body="{"),
    Case("control of nothing", "PATCH", CONTROL, 422, "mistakes", headers=JSON, body="{}"),
    Case("control with a field too many", "PATCH", CONTROL, 422, "mistakes",
          headers=JSON, body='{"steps": 9, "promt": "x"}'),
    Case("a manifest with six mistakes", "POST", "/api/v1/sessions", 422, "6 mistakes",
          role=Role.ADMIN, headers=YAML, body=MANIFEST),
    Case("a manifest without an admin token", "POST", "/api/v1/sessions", 403, "admin", headers=YAML, body=MANIFEST),
    Case("a model that nobody has", "POST", "/api/v1/sessions", 422, "no pool", role=Role.ADMIN, headers=YAML,
         body="apiVersion: genlock.dev/v1alpha1\nkind: StreamSession\nmetadata: {name: a}\nspec: {model: nobodys}"),
    Case("a stand-in that nobody measured", "POST", "/api/v1/sessions", 422, "", role=Role.ADMIN, headers=YAML,
         body="apiVersion: genlock.dev/v1alpha1\nkind: StreamSession\nmetadata: {name: a}\n"
         "spec: {approximation: {models: [nobodys]}}"),
    Case("an unknown page", "GET", "/nothing", 404, "", role=None),
    Case("a method that is none", "PUT", WHIP, 405, "", role=None),
]  # fmt: skip


def body_of(case: Case) -> str | bytes:
    match case.name:
        case "an offer of audio alone":
            return offer().replace("m=video", "m=audio")
        case "a viewer that offers to send":
            return offer()
        case "a publisher's name too long":
            return offer()
        case _:
            return case.body


@pytest.fixture
async def stranger(installation: Installation) -> Installation:
    """A gateway, a worker and a live session to send nonsense at."""
    await installation.gateway()
    await installation.worker()
    await installation.session()
    return installation


async def test_every_mistake_gets_its_answer_and_the_live_stream_goes_on(stranger: Installation) -> None:
    gateway = stranger.gateways[0]
    viewer, _ = await stranger.view(gateway), await stranger.publish(gateway)
    await more_pictures(viewer)
    wrong: list[str] = []
    for case in CASES:
        token = {} if case.role is None else stranger.token(role=case.role)
        headers = {**token, **(case.headers or {})}
        answer = await gateway.http.request(case.method, case.path, headers=headers, content=body_of(case))
        problem: dict[str, Any] = answer.json() if answer.content else {}
        shaped = (
            answer.headers.get("content-type") == "application/problem+json" and problem.get("status") == case.status
        )
        if answer.status_code != case.status or not shaped or case.detail not in problem.get("detail", ""):
            wrong.append(f"{case.name}: {answer.status_code} {answer.text[:200]}")
        if answer.status_code == 401:
            assert "Bearer" in answer.headers["www-authenticate"]
    assert not wrong, "\n".join(wrong)
    assert gateway.gateway.hub.peers == 2, "refused requests leave nothing behind"
    await more_pictures(viewer)


async def test_a_token_of_another_installation_is_refused_with_what_to_do_and_repeated_nowhere(
    stranger: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = Keyring.parse(generate_secrets()).token("default/demo", Role.PUBLISH)
    headers = {"Authorization": f"Bearer {token}"}
    answers = [
        await stranger.gateways[0].http.get("/api/v1/sessions/default/demo", headers=headers),
        await stranger.gateways[0].http.post(WHEP, content="v=0", headers={**headers, **SDP}),
        await stranger.gateways[0].http.patch(CONTROL, json={"steps": 2}, headers=headers),
    ]
    problems = [answer.json() for answer in answers]
    assert [(one["status"], one["reason"], one["tokenNeeded"]) for one in problems] == [
        (403, "wrong-token", needed) for needed in (False, False, True)
    ]
    assert all("genlock session token default/demo" in one["detail"] for one in problems)
    assert not any(token in answer.text for answer in answers)
    assert token not in caplog.text
    assert (await stranger.gateways[0].http.get("/api/v1/sessions/default/demo")).status_code == 200


async def test_every_mistake_of_a_manifest_is_named_with_its_field(stranger: Installation) -> None:
    headers = {**stranger.token(role=Role.ADMIN), **YAML}
    answer = await stranger.gateways[0].http.post("/api/v1/sessions", content=MANIFEST, headers=headers)
    paths = {error["path"] for error in answer.json()["errors"]}
    assert {"metadata.name", "spec.stepps", "spec.frameRate", "spec.prompt", "spec.slo.missBudget"} < paths
    assert len(paths) == 6


async def until_renewed(worker: FakeWorker) -> None:
    """A heartbeat that began after now has been answered."""
    beats = worker.beats
    await until(lambda: worker.beats >= beats + 2)


async def test_where_all_workers_are_overloaded_a_new_publisher_is_told_so_and_when_to_come_back(
    installation: Installation,
) -> None:
    gateway = await installation.gateway()
    worker = await installation.worker()
    await installation.session()
    viewer = await installation.view(gateway)
    await installation.publish(gateway)
    await more_pictures(viewer)

    worker.vitals = Vitals(1, "stepping", 0, 1_000, patient=True, overloaded=True)
    await until_renewed(worker)
    await installation.session("second", cost=200)
    refused = (await installation.publish(gateway, "default/second")).response
    assert (refused.status_code, refused.json()["reason"]) == (503, "overloaded")
    assert "all workers are overloaded" in refused.json()["detail"]
    assert int(refused.headers["Retry-After"]) >= 1
    assert gateway.metric("genlock_blocked_total", role="publish") == 1
    assert gateway.metric("genlock_gateway_overloaded_total", role="publish") == 1
    token = installation.token("default/second")
    waiting = (await gateway.http.get("/api/v1/sessions/default/second", headers=token)).json()
    assert waiting["situation"]["headline"] == "The one worker is overloaded"
    await more_pictures(viewer)

    worker.vitals = replace(worker.vitals, overloaded=False)
    await until_renewed(worker)
    assert (await installation.publish(gateway, "default/second")).response.status_code == 201


async def test_without_capacity_a_viewer_is_told_when_to_come_back(installation: Installation) -> None:
    gateway = await installation.gateway()
    await installation.session()
    answer = (await installation.view(gateway)).response
    assert (answer.status_code, answer.json()["reason"]) == (503, "no-capacity")
    assert int(answer.headers["Retry-After"]) >= 1
    assert gateway.metric("genlock_blocked_total", role="view") == 1
    assert gateway.gateway.hub.find("default/demo") is None


async def test_a_full_gateway_and_a_full_session_say_so(installation: Installation) -> None:
    gateway = await installation.gateway("g0", "--max-peers", "2", "--max-viewers-per-session", "1")
    await installation.worker()
    await installation.session()
    assert (await installation.view(gateway)).response.status_code == 201
    full = (await installation.view(gateway)).response
    assert (full.status_code, full.json()["reason"]) == (503, "session-full")
    assert (await installation.publish(gateway)).response.status_code == 201
    await installation.session("other")
    full = (await installation.view(gateway, "default/other")).response
    assert (full.status_code, full.json()["reason"]) == (503, "gateway-full")


async def test_who_asks_too_often_is_told_to_wait(installation: Installation) -> None:
    gateway = await installation.gateway("g0", "--request-burst", "3", "--request-rate", "0.1/s")
    answers = [await gateway.http.post(WHIP, content="x", headers=SDP) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
    assert int(answers[-1].headers["Retry-After"]) >= 1


async def test_a_body_without_end_is_cut_off(stranger: Installation) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while sent < 10_000_000:
            sent += 1_000
            yield b"v" * 1_000

    gateway = stranger.gateways[0]
    try:
        answer = await gateway.http.post(WHIP, content=endless(), headers={**SDP, **stranger.token()})
        assert answer.status_code == 413
    except httpx.TransportError:
        assert sent < 10_000_000


async def test_many_broken_offers_at_once_leave_room_for_a_good_one(stranger: Installation) -> None:
    gateway = stranger.gateways[0]
    whole = offer("recvonly")
    headers = {**SDP, **stranger.token(role=Role.VIEW)}
    broken = [whole[: len(whole) * number // 120] for number in range(40)]
    answers = await asyncio.gather(*(gateway.http.post(WHEP, content=text, headers=headers) for text in broken))
    assert {answer.status_code for answer in answers} <= {400, 422}
    assert gateway.gateway.hub.peers == 0
    assert (await stranger.view(gateway)).response.status_code == 201
