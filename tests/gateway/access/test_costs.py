"""Every request pays, from the right bucket, for what its kind costs."""

import pytest
from fastapi.routing import APIRoute
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Mount

from genlock_core.tokens import Keyring
from genlock_gateway.access.costs import Purpose, cost_of
from genlock_gateway.gateway import build
from genlock_gateway.settings import parse_settings
from genlock_gateway.web.app import routers

LOOKS = {
    "/api/v1/sessions": 10,
    "/api/v1/sessions/{namespace}/{name}": 1,
    "/api/v1/sessions/{namespace}/{name}/events": 5,
    "/api/v1/sessions/{namespace}/{name}/preview.jpg": 2,
    "/whip/{namespace}/{name}": 1,
    "/whep/{namespace}/{name}": 1,
    "/whip/{namespace}/{name}/{host}/{resource}": 5,
    "/whep/{namespace}/{name}/{host}/{resource}": 5,
    "/whep/{namespace}/{name}/{host}/{resource}/events": 5,
    "/watch/{namespace}/{name}": 1,
    "/api/v1/pools": 10,
    "/api/v1/pools/{pool:path}": 5,
    "/metrics": 10,
}
FREE = ("/", "/docs", "/model", "/situations.js", "/studio/{namespace}/{name}", "/healthz", "/readyz")
PARTS = {"{pool:path}": "ns/gpus", "{namespace}": "ns", "{name}": "demo", "{host}": "g1", "{resource}": "abc"}


def filled(path: str) -> str:
    for part, value in PARTS.items():
        path = path.replace(part, value)
    return path


async def test_every_route_has_its_cost() -> None:
    gateway = build(parse_settings(["--name", "g0", "--http", "127.0.0.1:0"], {}), Keyring.parse("k:0123456789abcdef"))
    routes = [route for router in routers(gateway) for route in router.routes]
    await gateway.stop()
    assert not [route for route in routes if isinstance(route, Mount)]
    looked = {route.path for route in routes if isinstance(route, APIRoute) and "GET" in (route.methods or ())}
    assert looked == {*LOOKS, *FREE}
    for path in looked:
        for method in ("GET", "HEAD"):
            cost = cost_of(method, filled(path))
            assert cost.units == (0 if path in FREE else LOOKS[path]), path
            assert cost.purpose is (Purpose.NOTHING if path in FREE else Purpose.LOOK)
    changed = {
        (method, route.path)
        for route in routes
        if isinstance(route, APIRoute)
        for method in (route.methods or set()) - {"GET", "HEAD", "OPTIONS"}
    }
    assert len(changed) > 10
    for method, path in changed:
        cost = cost_of(method, filled(path))
        assert (cost.purpose, cost.units) == (Purpose.CHANGE, 1)
        assert cost.session == ("ns/demo" if "{name}" in path else None), path


def test_assets_are_free_to_get_and_nothing_else_is_free() -> None:
    assert cost_of("GET", "/assets/style.css").purpose is Purpose.NOTHING
    assert cost_of("POST", "/assets/style.css").purpose is Purpose.CHANGE
    assert cost_of("POST", "/healthz").purpose is Purpose.CHANGE
    assert cost_of("OPTIONS", "/whip/ns/demo").purpose is Purpose.NOTHING
    assert cost_of("GET", "/nothing/here") == cost_of("GET", "/openapi.json")


@pytest.mark.parametrize("prefix", ["/whip", "/whep", "/watch", "/api/v1/sessions"])
def test_the_session_of_a_path_is_whole(prefix: str) -> None:
    assert cost_of("GET", f"{prefix}/a/b").session == "a/b"
    assert cost_of("GET", f"{prefix}/a/b/c/d").session == "a/b"
    assert cost_of("GET", f"{prefix}/a").session is None
    assert cost_of("GET", f"/x{prefix}/a/b").session is None


@given(st.text(max_size=40), st.sampled_from(["GET", "POST", "HEAD", "DELETE", "BREW"]))
def test_any_path_has_a_cost(path: str, method: str) -> None:
    cost = cost_of(method, "/" + path)
    assert cost.units >= 0
    assert (cost.units == 0) == (cost.purpose is Purpose.NOTHING)
