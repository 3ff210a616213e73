"""The WHIP (RFC 9725) and WHEP (draft-04) checklist, over HTTP."""

import asyncio
import contextlib
import re

import httpx
import pytest

from genlock_core.tokens import Role
from genlock_gateway import gateway as gateways
from genlock_gateway.rtc.transport.ice import MAX_RESTARTS, RESTART_WINDOW_S
from tests.gateway.installation import SDP, Installation, more_pictures, until

TRICKLE = {"Content-Type": "application/trickle-ice-sdpfrag"}
STUN = "stun:stun.example.org:3478"
TURN = "turn:turn.example.org:3478?transport=udp,username=u,credential=c"


async def test_a_201_has_everything_that_a_client_needs(installation: Installation) -> None:
    gateway = await installation.gateway("g0", "--ice-server", STUN, "--ice-server", TURN)
    await installation.worker()
    await installation.session()
    for peer in (await installation.publish(gateway), await installation.view(gateway)):
        headers, answer = peer.response.headers, peer.response.text
        assert headers["content-type"].startswith("application/sdp")
        assert re.fullmatch(r"/whe?i?p/default/demo/g0/[A-Za-z0-9_-]{32}", peer.location)
        assert re.fullmatch(r'"[0-9a-f]{16}"', headers["etag"]), "a strong tag"
        links = headers.get_list("link")
        assert f'<{STUN}>; rel="ice-server"' in links
        turn = '<turn:turn.example.org:3478?transport=udp>; rel="ice-server"; username="u"; credential="c"'
        assert f'{turn}; credential-type="password"' in links
        assert "a=rtcp-mux-only" in answer
        assert "a=candidate" in answer
    assert any("server-sent-events" in link and "viewercount" in link for link in links)


async def test_options_and_get_and_head_need_no_token(installation: Installation) -> None:
    gateway = await installation.gateway()
    await installation.session()
    asked = await gateway.http.options("/whip/default/demo", headers={"Origin": "https://page.example"})
    assert asked.status_code == 200
    assert asked.headers["accept-post"] == "application/sdp"
    assert asked.headers["access-control-allow-origin"] == "*"
    assert {"POST", "PATCH", "DELETE"} <= set(asked.headers["access-control-allow-methods"].split(", "))
    assert {"Location", "ETag", "Link"} <= set(asked.headers["access-control-expose-headers"].split(", "))
    assert "link" not in asked.headers, "ICE servers are not for everybody"
    assert (await gateway.http.get("/whep/default/demo")).status_code == 204
    head = await gateway.http.head("/whep/default/demo")
    assert (head.status_code, head.headers["content-type"]) == (200, "application/sdp")
    assert (await gateway.http.get("/whep/default/nobody")).status_code == 404


async def test_trickle_is_lenient_where_clients_are_and_strict_where_it_matters(installation: Installation) -> None:
    gateway, _ = await installation.gateway(), await installation.worker()
    await installation.session()
    peer = await installation.publish(gateway, start=False)
    token, tag = installation.token(), peer.response.headers["etag"]
    ufrag = re.search(r"a=ice-ufrag:(\S+)", peer.client.connection.localDescription.sdp)
    assert ufrag is not None
    fragment = (
        f"a=ice-ufrag:{ufrag[1]}\r\na=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\na=end-of-candidates\r\n"
    )

    async def patch(content: str, headers: dict[str, str]) -> int:
        return (await gateway.http.patch(peer.location, content=content, headers={**token, **headers})).status_code

    assert await patch(fragment, TRICKLE) == 204
    assert await patch("", {}) == 204, "deployed clients send empty ones without a type"
    assert await patch(fragment, {**TRICKLE, "If-Match": tag}) == 204
    assert await patch(fragment, {**TRICKLE, "If-Match": '"another"'}) == 412
    assert await patch("a=ice-ufrag:other\r\n", {**TRICKLE, "If-Match": "*"}) == 400, "half a restart"
    assert await patch("nonsense", TRICKLE) == 400
    assert await patch(fragment, SDP) == 415
    assert (await gateway.http.patch(peer.location, content=fragment, headers=TRICKLE)).status_code == 401
    assert peer.client.connection.connectionState == "connected", "a refused restart ends nothing"


async def test_an_ice_restart_by_patch_is_answered_with_new_credentials_and_a_new_tag(
    installation: Installation,
) -> None:
    gateway = await installation.gateway("g0", "--request-rate", "1000/s")
    await installation.worker()
    await installation.session()
    publisher, viewer = await installation.publish(gateway), await installation.view(gateway)
    await more_pictures(viewer)
    other = await installation.gateway("g1")
    for peer, asked, match in ((publisher, other, '"*"'), (viewer, gateway, None)):
        tag = peer.response.headers["etag"]
        headers = {**installation.token(), **TRICKLE, "If-Match": match or tag}
        restarted = await asked.http.patch(peer.location, content=await peer.client.begin_restart(), headers=headers)
        assert (restarted.status_code, restarted.headers["content-type"]) == (200, TRICKLE["Content-Type"])
        assert restarted.headers["etag"] != tag
        stale = await asked.http.patch(peer.location, content="", headers={**headers, "If-Match": tag})
        assert stale.status_code == 412
        await peer.client.finish_restart(restarted.text)
        await more_pictures(viewer)
    assert {publisher.client.connection.connectionState, viewer.client.connection.connectionState} == {"connected"}

    answers = [
        await gateway.http.patch(
            viewer.location,
            content=f"a=ice-ufrag:name{number}\r\na=ice-pwd:0123456789abcdefghijklmn\r\n",
            headers={**installation.token(), **TRICKLE, "If-Match": "*"},
        )
        for number in range(MAX_RESTARTS)
    ]
    assert [answer.status_code for answer in answers] == [200] * (MAX_RESTARTS - 1) + [429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= RESTART_WINDOW_S
    await more_pictures(viewer)

    counted = gateway.gateway.metrics.registry.get_sample_value
    restarts = "genlock_gateway_ice_restarts_total"
    assert counted(restarts, {"role": "publish", "result": "answered"}) == 1, "told by the gateway that has the peer"
    assert counted(restarts, {"role": "view", "result": "answered"}) == MAX_RESTARTS
    assert counted(restarts, {"role": "view", "result": "too-many"}) == 1


async def test_any_gateway_passes_requests_on_to_the_one_that_the_url_names(installation: Installation) -> None:
    one, two = await installation.gateway("g0"), await installation.gateway("g1")
    await installation.worker()
    await installation.session()
    peer = await installation.publish(one, start=False)
    token = installation.token()
    assert (await two.http.get(peer.location, headers=token)).status_code == 204
    assert (await two.http.get(peer.location)).status_code == 401, "access is checked where the session lives"
    assert (await two.http.patch(peer.location, content="", headers={**token, **TRICKLE})).status_code == 204
    assert (await two.http.delete(peer.location, headers={**token, "If-Match": '"any"'})).status_code == 200
    await until(lambda: peer.client.connection.connectionState == "closed")
    assert (await two.http.delete(peer.location, headers=token)).status_code == 404
    forwarded = {**token, "Genlock-Forwarded-By": "g2"}
    assert (await two.http.get("/whip/default/demo/g0/x", headers=forwarded)).status_code == 404, "never twice"
    await one.stop()
    assert (await two.http.delete(peer.location, headers=token)).status_code == 404


async def test_a_player_hears_events_also_through_another_gateway(installation: Installation) -> None:
    one, two = await installation.gateway("g0"), await installation.gateway("g1")
    await installation.worker()
    await installation.session()
    viewer = await installation.view(one)
    wrong = await two.http.post(f"{viewer.location}/events", json=["layers"])
    assert wrong.status_code == 422
    made = await two.http.post(f"{viewer.location}/events", json=["active", "viewercount", "reconnect"])
    assert made.status_code == 201
    heard: list[str] = []

    async def listen() -> None:
        async with httpx.AsyncClient(base_url=two.url, trust_env=False) as http:
            async with http.stream("GET", made.headers["location"], timeout=30) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                async for line in answer.aiter_lines():
                    heard.append(line)  # noqa: PERF401 - it is read while it grows

    listening = asyncio.create_task(listen())
    await until(lambda: "event: viewercount" in heard)
    assert "event: inactive" not in heard, "only what was asked for"
    await installation.publish(one)
    await until(lambda: "event: active" in heard)
    draining = asyncio.create_task(one.gateway.drain())
    await until(lambda: "event: reconnect" in heard)
    await viewer.client.close()
    for camera in installation.cameras:
        await camera.stop()
        await camera.publisher.close()
    await draining
    await one.stop()
    await asyncio.wait_for(listening, 10)


async def test_who_listens_through_another_gateway_stands_in_nobodys_way(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "FORWARDS_AT_ONCE", 1)
    one, two = await installation.gateway("g0"), await installation.gateway("g1")
    await installation.worker()
    await installation.session()
    viewer = await installation.view(one)
    made = await two.http.post(f"{viewer.location}/events", json=["viewercount"])
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=two.url, trust_env=False))
            listening = http.stream("GET", made.headers["location"], timeout=30)
            assert (await stack.enter_async_context(listening)).status_code == 200
        assert (await two.http.delete(viewer.location)).status_code == 200


async def test_the_sessions_own_events_tell_state_and_stats(installation: Installation) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    session = await installation.session(access={"view": "Token"})
    view = installation.token(role=Role.VIEW)
    path = "/api/v1/sessions/default/demo/events"
    assert (await gateway.http.get(path)).status_code == 401
    heard: list[str] = []

    async def listen() -> None:
        async with gateway.http.stream("GET", path, headers=view, timeout=30) as answer:
            async for line in answer.aiter_lines():
                heard.append(line)  # noqa: PERF401 - it is read while it grows

    listening = asyncio.create_task(listen())
    await until(lambda: "event: state" in heard)
    await installation.view(gateway, **view)
    await until(lambda: bool(worker.sessions))
    worker.report(session, chunk=3, outputFps=16.0, sinkDigest="abc", somethingNew=1)
    await until(lambda: any('"sinkDigest":"abc"' in line for line in heard))
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await until(lambda: gateway.gateway.hub.listeners == 0)


async def test_listing_shows_what_the_caller_may_watch(installation: Installation) -> None:
    gateway = await installation.gateway()
    await installation.session("open")
    await installation.session("closed", access={"view": "Token"})

    async def names(headers: dict[str, str]) -> list[str]:
        return [one["name"] for one in (await gateway.http.get("/api/v1/sessions", headers=headers)).json()]

    assert await names({}) == ["open"]
    assert await names(installation.token(role=Role.ADMIN)) == ["closed", "open"]
    assert await names(installation.token("default/closed", Role.VIEW)) == ["closed"]
    assert await names({"Origin": "https://evil.example"}) == []


async def test_pages_are_served_under_a_strict_policy(installation: Installation) -> None:
    gateway = await installation.gateway()
    for path in ("/", "/studio/default/demo", "/watch/default/demo", "/assets/style.css"):
        page = await gateway.http.get(path)
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    assert (await gateway.http.get("/assets/../app.py")).status_code == 404
    schema = (await gateway.http.get("/openapi.json")).json()
    assert "/api/v1/sessions/{namespace}/{name}/control" in schema["paths"]


async def test_metrics_count_requests_by_route_and_never_by_name(installation: Installation) -> None:
    gateway = await installation.gateway()
    await gateway.http.get("/whep/default/some-name")
    text = (await gateway.http.get("/metrics")).text
    assert 'route="/whep/{namespace}/{name}"' in text
    assert "some-name" not in text
    assert "genlock_gateway_redis_up 1.0" in text
