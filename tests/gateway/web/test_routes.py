"""What holds for every route: a wrong token is refused, each method has its answer, a page of another site may ask."""

import re
from collections.abc import Iterator

import pytest
from fastapi.routing import APIRoute

from genlock_core.tokens import Keyring, Role, generate_secrets
from genlock_gateway.web.app import CORS_PREFIXES, routers
from tests.gateway.installation import SDP, Installation, Running, until

TAKE_NO_TOKEN = {
    "/": "a page, the same for everybody",
    "/docs": "a page, the same for everybody",
    "/studio/{namespace}/{name}": "a page, the same for everybody",
    "/model": "a page, the same for everybody",
    "/situations.js": "what the pages say, the same for everybody",
    "/watch/{namespace}/{name}": "a page, the same for everybody",
    "/healthz": "the kubelet asks",
    "/readyz": "the kubelet asks",
    "/metrics": "Prometheus asks, perhaps with a token for somebody else",
}
PAGE = {"Origin": "https://www.example.org"}


def every_route(gateway: Running) -> Iterator[tuple[str, str]]:
    """Every method and path template of the application."""
    for router in routers(gateway.gateway):
        for route in router.routes:
            assert isinstance(route, APIRoute)
            for method in sorted(route.methods or ()):
                yield method, route.path


def url_of(template: str, *, name: str = "demo", host: str = "g0") -> str:
    """The route with all its places filled in, whichever of them it has."""
    bare = re.sub(r":\w+}", "}", template)
    return bare.format(namespace="default", name=name, host=host, resource="gone", pool="default/h100")


async def test_a_wrong_token_is_refused_on_every_route_that_takes_one(installation: Installation) -> None:
    gateway, _ = await installation.gateway(), await installation.worker()
    await installation.session(access={"publish": "Public", "view": "Public"})
    peers = {"whip": await installation.publish(gateway, start=False), "whep": await installation.view(gateway)}
    stranger = Keyring.parse(generate_secrets())
    wrong = (
        stranger.token("*", Role.ADMIN),
        installation.keyring.token("default/other", Role.PUBLISH),
    )

    walked = set()
    for method, template in every_route(gateway):
        if template in TAKE_NO_TOKEN:
            continue
        walked.add(template)
        urls = [url_of(template)]
        urls.append(url_of(template, name="nobody", host="g9"))
        if "{resource}" in template:
            urls.append(template.replace(template.partition("/events")[0], peers[template[1:5]].location))

        for url in urls:
            for token in wrong:
                headers = {"Authorization": f"Bearer {token}", **SDP}
                answer = await gateway.http.request(method, url, headers=headers, content="x")
                assert answer.status_code == 403, f"{method} {url}"
                if method != "HEAD":
                    assert answer.json()["reason"] == "wrong-token", f"{method} {url}"
                    assert token not in answer.text

    assert len(walked) >= 12, "there are routes that take tokens"
    assert {peer.client.connection.connectionState for peer in peers.values()} == {"connected"}


async def test_another_kind_of_credentials_is_refused_where_none_is_needed_too(installation: Installation) -> None:
    gateway = await installation.gateway()
    await installation.session(access={"view": "Public"})
    for path in ("/api/v1/sessions", "/api/v1/sessions/default/demo", "/whep/default/demo"):
        assert (await gateway.http.get(path, headers={"Authorization": "Basic eA=="})).status_code == 401


async def test_every_route_says_which_methods_it_takes(installation: Installation) -> None:
    gateway = await installation.gateway()
    await installation.session()
    methods: dict[str, set[str]] = {}
    for method, template in every_route(gateway):
        methods.setdefault(template, set()).add(method)

    for template, own in methods.items():
        url = url_of(template)
        answer = await gateway.http.request("PUT", url)
        assert answer.status_code == 405, template
        allowed = set(answer.headers["allow"].split(", "))
        assert own <= allowed
        assert allowed - own <= {"HEAD", "OPTIONS"}
        assert "OPTIONS" in allowed
        asked = await gateway.http.options(url)
        assert asked.status_code in (200, 204), template
        assert set(asked.headers["allow"].split(", ")) == allowed

    assert (await gateway.http.request("PUT", "/nowhere")).status_code == 404
    assert (await gateway.http.options("/nowhere")).status_code == 404
    assert (await gateway.http.options("/assets/style.css")).headers["allow"] == "GET, HEAD, OPTIONS"
    made = (await gateway.http.options("/whip/default/demo")).headers
    assert (made["accept-post"], "accept-patch" in made) == ("application/sdp", False)
    session = (await gateway.http.options("/whip/default/demo/g0/x")).headers
    assert (session["accept-patch"], "accept-post" in session) == ("application/trickle-ice-sdpfrag", False)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/watch/default/demo",
        "/healthz",
        "/metrics",
        "/openapi.json",
        "/assets/style.css",
        "/api/v1/sessions",
        "/api/v1/sessions/default/demo",
        "/api/v1/sessions/default/demo/events",
        "/api/v1/sessions/default/nobody",
    ],
)
async def test_head_is_get_without_its_body(installation: Installation, path: str) -> None:
    gateway = await installation.gateway()
    await installation.session()
    async with gateway.http.stream("GET", path) as got:
        status, kind = got.status_code, got.headers["content-type"]
    head = await gateway.http.head(path, timeout=5)
    assert (head.status_code, head.headers["content-type"], head.content) == (status, kind, b"")
    await until(lambda: gateway.gateway.hub.listeners == 0)
    route = "/openapi.json" if path == "/openapi.json" else path.replace("default/demo", "{namespace}/{name}")
    if path in ("/healthz", "/api/v1/sessions/default/demo"):
        text = (await gateway.http.get("/metrics")).text
        assert f'method="HEAD",route="{route}",status="200"' in text


async def test_a_page_of_another_site_may_ask_anything_and_hears_the_answer(installation: Installation) -> None:
    """A preflight carries no token (Fetch standard): it passes, and the request itself is judged."""
    gateway = await installation.gateway()
    await installation.session("shown", access={"origins": [PAGE["Origin"]]})
    await installation.session("plain")
    for method, template in every_route(gateway):
        url = url_of(template, name="shown")
        if not url.startswith(CORS_PREFIXES):
            continue
        asks = {**PAGE, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"}
        preflight = await gateway.http.options(url, headers=asks)
        assert preflight.is_success, url
        headers = preflight.headers
        assert method in headers["access-control-allow-methods"].split(", ")
        assert {"Authorization", "If-Match"} <= set(headers["access-control-allow-headers"].split(", "))
        assert headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in headers

    shown = await gateway.http.get("/api/v1/sessions/default/shown", headers=PAGE)
    plain = await gateway.http.get("/api/v1/sessions/default/plain", headers=PAGE)
    assert (shown.status_code, plain.status_code) == (200, 401)
    for answer in (shown, plain, await gateway.http.get("/api/v1/sessions")):
        assert "Origin" in answer.headers["vary"].split(", "), "a cache keeps one answer per site"
    for answer in (shown, plain):
        assert {"Location", "ETag", "Link"} <= set(answer.headers["access-control-expose-headers"].split(", "))
    assert [one["name"] for one in (await gateway.http.get("/api/v1/sessions", headers=PAGE)).json()] == ["shown"]
    assert "vary" not in (await gateway.http.get("/healthz")).headers
