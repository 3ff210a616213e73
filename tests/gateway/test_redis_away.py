"""Redis dies, comes back, or comes back empty: live streams go on, new ones wait, and nothing stays lost."""

import pytest

from genlock_cli.redis_server import RedisProcess
from genlock_core.claims import keys
from genlock_core.claims.facts import EventKind
from genlock_core.stream_state.control import ControlRequest
from tests.gateway.installation import Installation, more_pictures, until


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


async def live(server: RedisProcess) -> Installation:
    made = Installation(server.url)
    await made.gateway()
    await made.worker()
    await made.session()
    return made


async def test_without_redis_live_streams_go_on_and_new_ones_wait(redis_server: RedisProcess) -> None:
    installation = await live(redis_server)
    try:
        gateway = installation.gateways[0]
        viewer, _ = await installation.view(gateway), await installation.publish(gateway)
        await more_pictures(viewer)
        redis_server.kill()
        assert (await gateway.http.get("/readyz")).status_code == 503
        await more_pictures(viewer, 10)
        assert (await gateway.http.get("/healthz")).status_code == 200
        stranger = await gateway.http.post("/whep/default/other", content="v=0")
        assert (stranger.status_code, stranger.json()["reason"]) == (503, "store")
        assert "Retry-After" in stranger.headers
        late = await installation.view(gateway)
        assert late.response.status_code == 201, "who joins what is live here needs no Redis"
        redis_server.start()
        await until(lambda: gateway.metric("genlock_gateway_redis_up") == 1.0)
        await more_pictures(viewer, 3)
        await more_pictures(late, 3)
        assert (await gateway.http.get("/readyz")).status_code == 200
    finally:
        await installation.close()


async def test_what_redis_lost_is_written_back(forgetful_redis_server: RedisProcess) -> None:
    installation = await live(forgetful_redis_server)
    try:
        gateway, worker = installation.gateways[0], installation.workers[0]
        viewer, publisher = await installation.view(gateway), await installation.publish(gateway)
        await more_pictures(viewer)
        known = gateway.gateway.hub.streams[0].record
        forgetful_redis_server.restart()
        await until(lambda: gateway.metric("genlock_gateway_redis_up") == 1.0)
        record = None
        while record is None:
            record = await installation.claims.record("default/demo")
            await more_pictures(viewer, 1)
        assert record.session == known.session
        assert record.epoch >= known.epoch, "epochs never fall"
        await until(lambda: gateway.gateway.hub.streams[0].record.owner == worker.identity)
        await more_pictures(viewer, 5)
        slot = f"{keys.PREFIX}publisher:default/demo"
        while await installation.store.hget(slot, "gateway") != b"g0":
            await more_pictures(viewer, 1)
        assert publisher.client.connection.connectionState == "connected"
    finally:
        await installation.close()


async def test_an_expired_session_is_claimed_again_by_any_gateway(installation: Installation) -> None:
    gateway = await installation.gateway()
    first = await installation.worker("w0")
    session = await installation.session()
    claim = await installation.claims.claim(session)
    await installation.settle()
    await first.kill()
    await installation.worker("w1")
    after = await installation.claims.last_event()
    seen: set[EventKind] = set()
    while EventKind.CLAIMED not in seen:
        events = await installation.claims.events(after, 500)
        after = events[-1].id if events else after
        seen |= {event.kind for event in events}
    assert EventKind.EXPIRED in seen
    record = await installation.claims.record(session)
    assert record is not None
    assert record.owner is not None
    assert (record.owner.name, record.epoch > claim.epoch) == ("w1", True)
    assert gateway.gateway.hub.find(session) is None, "nobody watches: it is claimed, not opened"


async def test_what_a_forgotten_session_left_is_deleted(installation: Installation) -> None:
    gateway = await installation.gateway()
    session = await installation.session()
    await gateway.gateway.controls.change(session, ControlRequest(prompt="ink"))
    assert await installation.store.keys("*{default/demo}*control*")
    await installation.claims.forget(session)
    while await installation.store.keys("*{default/demo}*control*"):
        await installation.claims.events("0", 100)
