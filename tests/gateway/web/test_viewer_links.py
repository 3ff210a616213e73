"""A link for a viewer: who gets one, what it opens, and until when."""

import time
from datetime import datetime
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.requests import Request

from genlock_core.clock import ManualClock
from genlock_core.errors import AccessDenied
from genlock_core.spec.session import ResolvedSession, SessionKey, StreamSessionSpec, resolve
from genlock_core.tokens import Keyring, Role, generate_secrets
from genlock_gateway.access.access import Access, PlatformKey
from genlock_gateway.access.allowances import SESSION_TIMES
from tests.gateway.installation import Installation, Running

DAY_S = 24 * 3_600
PRIVATE = {"publish": "Token", "view": "Token"}
RING = Keyring.parse(generate_secrets())
LINKS = "/api/v1/sessions/default/demo/viewer-links"


def session(**access: str) -> ResolvedSession:
    return resolve(SessionKey(name="demo"), StreamSessionSpec.model_validate({"access": {**PRIVATE, **access}}))


def bearing(token: str | None, **headers: str) -> Request:
    given = {"host": "g", **headers, **({} if token is None else {"authorization": f"Bearer {token}"})}
    pairs = [(name.encode(), value.encode()) for name, value in given.items()]
    return Request({"type": "http", "headers": pairs, "method": "POST", "path": "/"})


async def ask(gateway: Running, headers: dict[str, str], **body: Any) -> httpx.Response:
    return await gateway.http.post(LINKS, headers=headers, **body)


async def test_a_link_to_a_private_session_opens_it_for_a_viewer_and_for_nothing_more(
    installation: Installation,
) -> None:
    gateway, _ = await installation.gateway(), await installation.worker()
    await installation.session(access=PRIVATE)
    made = await ask(gateway, installation.token())
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    link = made.json()
    assert link["path"] == f"/watch/default/demo#token={link['token']}"
    assert abs(datetime.fromisoformat(link["expires"]).timestamp() - time.time() - DAY_S) < 60

    token = {"Authorization": f"Bearer {link['token']}"}
    assert (await installation.view(gateway, **token)).response.status_code == 201
    assert (await gateway.http.get("/api/v1/sessions/default/demo", headers=token)).status_code == 200
    control = await gateway.http.patch("/api/v1/sessions/default/demo/control", headers=token, json={"steps": 2})
    assert (control.status_code, control.json()["reason"]) == (403, "wrong-token")
    assert (await ask(gateway, token)).status_code == 403, "a viewer hands no links out"
    assert (await ask(gateway, {})).status_code == 401


async def test_how_long_it_lasts_is_bounded_and_what_is_sent_is_judged(installation: Installation) -> None:
    gateway = await installation.gateway()
    await installation.session(access=PRIVATE)
    token = installation.token()
    short = await ask(gateway, token, json={"lifetime": "5m"})
    assert abs(datetime.fromisoformat(short.json()["expires"]).timestamp() - time.time() - 300) < 60
    mistakes: list[Any] = [{"lifetime": "59s"}, {"lifetime": "721h"}, {"lifetime": 60}, {"for": "1h"}, []]
    for body in mistakes:
        assert (await ask(gateway, token, json=body)).status_code == 422
    json = {**token, "Content-Type": "application/json"}
    assert (await ask(gateway, json, content="{")).status_code == 400
    assert (await ask(gateway, token, content="lifetime=1h")).status_code == 415
    assert (await gateway.http.post(LINKS.replace("demo", "nobody"))).status_code == 404


async def test_an_ended_session_has_no_links(installation: Installation) -> None:
    gateway = await installation.gateway()
    name = await installation.session(access=PRIVATE)
    await gateway.http.delete(f"/api/v1/sessions/{name}", headers=installation.token(role=Role.ADMIN))
    assert (await ask(gateway, installation.token())).status_code == 410


async def test_many_links_are_too_many(installation: Installation) -> None:
    gateway = await installation.gateway("g0", "--request-burst", "1", "--request-rate", "0.01/s")
    await installation.session(access=PRIVATE)
    answers = [(await ask(gateway, installation.token())).status_code for _ in range(SESSION_TIMES + 1)]
    assert answers == [201] * SESSION_TIMES + [429]


async def test_where_everybody_may_watch_the_link_has_no_token(installation: Installation) -> None:
    gateway = await installation.gateway()
    await installation.session(access={"publish": "Token", "view": "Public"})
    made = await ask(gateway, installation.token())
    assert made.json() == {"path": "/watch/default/demo", "token": None, "expires": None}


def test_a_link_ends_and_never_outlives_the_token_that_asked_for_it() -> None:
    clock = ManualClock(wall_ms=1_800_000_000_000)
    access = Access(RING, clock=clock)
    asks = RING.token("default/demo", Role.PUBLISH)
    made = access.viewer_token(bearing(asks), session(), lifetime_s=600)
    assert made is not None
    token, expires_s = made
    assert expires_s == 1_800_000_600
    clock.advance(599)
    access.require(bearing(token), session(), Role.VIEW)
    clock.advance(1)
    with pytest.raises(AccessDenied):
        access.require(bearing(token), session(), Role.VIEW)

    ends_soon = RING.token("default/demo", Role.PUBLISH, expires_s=1_800_000_700)
    capped = access.viewer_token(bearing(ends_soon), session(), lifetime_s=DAY_S)
    assert capped is not None
    assert capped[1] == 1_800_000_700


def test_a_link_of_the_platforms_publisher_ends_with_its_token() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    access = Access(RING, PlatformKey.load(pem, issuer=None, audience=None))
    ends_s = int(time.time()) + 120
    asks = jwt.encode({"exp": ends_s, "session": "default/demo", "role": "publish"}, key, "EdDSA")
    made = access.viewer_token(bearing(asks), session(), lifetime_s=DAY_S)
    assert made is not None
    assert made[1] == ends_s
    access.require(bearing(made[0]), session(), Role.VIEW)


def test_nobody_gives_more_than_they_have() -> None:
    access = Access(RING)
    # Everybody may publish here and nobody may watch without a token: no token, no link.
    open_to_publishers = session(publish="Public")
    with pytest.raises(AccessDenied) as refused:
        access.viewer_token(bearing(None), open_to_publishers, lifetime_s=60)
    assert refused.value.missing
    for token in (RING.token("default/demo", Role.VIEW), RING.token("default/other", Role.PUBLISH)):
        with pytest.raises(AccessDenied):
            access.viewer_token(bearing(token), session(), lifetime_s=60)
    # A page of another site makes none by the rights of everybody.
    public = session(publish="Public", view="Public")
    assert access.viewer_token(bearing(None), public, lifetime_s=60) is None
    with pytest.raises(AccessDenied):
        access.viewer_token(bearing(None, origin="https://other.example"), public, lifetime_s=60)
