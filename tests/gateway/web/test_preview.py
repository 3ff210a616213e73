"""Previews over HTTP: by the viewer's rights, from whichever worker has the session, and never at its expense."""

import asyncio

import httpx
import pytest

from genlock_core.claims.facts import MoveCause
from genlock_core.link.messages import LinkRole, RefusalReason
from genlock_core.tokens import Role
from genlock_gateway.preview import watch as watches
from genlock_gateway.preview import watches as rooms
from tests.core.link.old_peers import make_old
from tests.gateway.fake_worker import FakeWorker
from tests.gateway.installation import Installation, Running, more_pictures, until

PUBLIC = {"view": "Public", "publish": "Token"}
PRIVATE = {"view": "Token", "publish": "Token"}
JPEG = b"\xff\xd8 a picture \xff\xd9"


async def look(gateway: Running, session: str = "default/demo", **headers: str) -> httpx.Response:
    return await gateway.http.get(f"/api/v1/sessions/{session}/preview.jpg", headers=headers)


async def looked(
    gateway: Running, worker: FakeWorker, jpeg: bytes = JPEG, headers: dict[str, str] | None = None
) -> httpx.Response:
    """Look while the worker shows this picture to whoever looks."""
    asking = asyncio.create_task(look(gateway, **(headers or {})))
    while not asking.done():
        worker.show("default/demo", jpeg)
        await asyncio.sleep(0.01)
    return await asking


async def owned(installation: Installation, access: dict[str, str] = PUBLIC) -> int:
    """A session that a worker has, without anybody who publishes or watches; its epoch."""
    session = await installation.session(access=access)
    return (await installation.claims.claim(session)).epoch


async def test_a_gateway_without_anybody_of_the_session_shows_it(installation: Installation) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    await owned(installation)
    response = await looked(gateway, worker)
    assert (response.status_code, response.content) == (200, JPEG)
    assert response.headers["Content-Type"] == "image/jpeg"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert worker.opens == [], "it did not join the session"
    assert gateway.gateway.hub.streams == ()


async def test_a_look_makes_no_claim_and_keeps_nothing_live(installation: Installation) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    session = await installation.session(access=PUBLIC)
    before = await installation.claims.record(session)
    response = await look(gateway)
    assert (response.status_code, response.json()["reason"]) == (503, "no-worker")
    assert int(response.headers["Retry-After"]) >= 1
    assert worker.subscriptions == []
    after = await installation.claims.record(session)
    assert after == before, "neither an owner nor a time of use"


async def test_a_look_at_a_session_that_runs_does_not_count_as_use(installation: Installation) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    await owned(installation)
    before = await installation.claims.record("default/demo")
    await looked(gateway, worker)
    after = await installation.claims.record("default/demo")
    assert before is not None
    assert after is not None
    assert after.active_ms == before.active_ms


async def test_who_may_not_watch_may_not_look(installation: Installation) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    await owned(installation, PRIVATE)
    absent = await look(gateway)
    assert (absent.status_code, absent.headers["WWW-Authenticate"]) == (401, 'Bearer realm="genlock"')
    wrong = await look(gateway, **installation.token("default/other", Role.VIEW))
    assert (wrong.status_code, wrong.json()["reason"]) == (403, "wrong-token")
    assert worker.subscriptions == [], "a stranger reaches no worker"
    for role in (Role.VIEW, Role.PUBLISH, Role.ADMIN):
        assert (await looked(gateway, worker, headers=installation.token(role=role))).status_code == 200


async def test_a_page_of_another_site_needs_a_token_for_a_public_session_too(installation: Installation) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    await owned(installation)
    assert (await look(gateway, Origin="https://elsewhere.example")).status_code == 401
    assert (await looked(gateway, worker, headers={"Origin": gateway.url})).status_code == 200


async def test_a_session_that_is_not_there_or_over_has_no_preview(installation: Installation) -> None:
    gateway, _ = await installation.gateway(), await installation.worker()
    assert (await look(gateway, "default/nobody")).status_code == 404
    session = await installation.session(access=PUBLIC)
    await gateway.http.delete(f"/api/v1/sessions/{session}", headers=installation.token(role=Role.ADMIN))
    assert (await look(gateway)).status_code == 410


async def test_before_the_first_picture_there_is_none_and_when_to_ask_again(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "WAIT_S", 0.05)
    gateway, _ = await installation.gateway(), await installation.worker()
    await owned(installation)
    response = await look(gateway)
    assert (response.status_code, response.json()["reason"]) == (503, "no-picture")
    assert response.headers["Retry-After"] == "1"
    assert response.headers["Content-Type"] == "application/problem+json"


async def test_many_watchers_are_one_subscription(installation: Installation) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    await owned(installation)
    await looked(gateway, worker)
    responses = await asyncio.gather(*(look(gateway) for _ in range(40)))
    assert {response.status_code for response in responses} == {200}
    assert len(worker.subscriptions) == 1


async def test_it_follows_a_session_that_moves(installation: Installation) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    epoch = await owned(installation)
    assert (await looked(gateway, worker, b"of the first")).content == b"of the first"
    other = await installation.worker("w1")
    await installation.claims.move("default/demo", expected_epoch=epoch, suspect="w0", cause=MoveCause.REQUESTED)
    assert (await looked(gateway, other, b"of the second")).content == b"of the second"
    await until(lambda: worker.looked_at == [])
    assert other.looked_at == ["default/demo"]


async def test_a_dead_worker_is_no_picture_and_its_successors_is_shown(installation: Installation) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    await installation.settle()
    epoch = await owned(installation)
    await looked(gateway, worker)
    await worker.kill()
    await until(lambda: gateway.metric("genlock_gateway_links") == 0)
    gone = await look(gateway)
    assert (gone.status_code, gone.json()["reason"]) == (503, "no-worker")
    other = await installation.worker("w1")
    await installation.claims.move("default/demo", expected_epoch=epoch, suspect="w0", cause=MoveCause.REFUSED)
    assert (await looked(gateway, other, b"of the second")).content == b"of the second"


async def test_an_old_worker_is_not_asked_and_its_viewers_stay(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old(monkeypatch, LinkRole.WORKER)
    gateway, worker = await installation.gateway(), await installation.worker()
    await installation.session(access=PUBLIC)
    await installation.publish(gateway)
    viewer = await installation.view(gateway)
    await more_pictures(viewer)
    response = await look(gateway)
    assert (response.status_code, response.json()["reason"]) == (503, "worker-too-old")
    assert int(response.headers["Retry-After"]) >= 30
    await more_pictures(viewer)
    assert worker.subscriptions == []
    assert gateway.metric("genlock_gateway_links") == 1


async def test_a_look_beside_viewers_takes_nothing_from_them(installation: Installation) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    await installation.session(access=PUBLIC)
    await installation.publish(gateway)
    viewer = await installation.view(gateway)
    await more_pictures(viewer)
    assert (await looked(gateway, worker)).status_code == 200
    await more_pictures(viewer)
    assert len(worker.opens) == 1


async def test_a_worker_that_is_full_is_not_asked_by_every_request(installation: Installation) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    worker.refuses_pictures = RefusalReason.NO_SLOT
    await owned(installation)
    reasons = {(await look(gateway)).json()["reason"] for _ in range(10)}
    assert reasons == {"worker-full"}
    assert len(worker.subscriptions) == 1


async def test_a_subscription_that_the_worker_ended_is_made_again_by_the_next_look(installation: Installation) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    await owned(installation)
    await looked(gateway, worker, b"before")
    worker.end_previews()
    watch = gateway.gateway.previews._watches["default/demo"]
    await until(lambda: watch._channel is None)
    assert (await looked(gateway, worker, b"after")).content == b"after"
    assert len(worker.subscriptions) == 2


async def test_what_a_gateway_shows_is_bounded(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "MAX_WATCHES", 1)
    gateway, worker = await installation.gateway(), await installation.worker()
    await owned(installation)
    other = await installation.session("other", access=PUBLIC)
    await installation.claims.claim(other)
    await looked(gateway, worker)
    response = await look(gateway, other)
    assert (response.status_code, response.json()["reason"]) == (503, "gateway-full")


async def test_whoever_looks_too_often_is_slowed_and_takes_nothing_from_who_wants_in(
    installation: Installation,
) -> None:
    gateway = await installation.gateway("g0", "--look-burst", "6", "--look-rate", "0.001/s")
    await installation.worker()
    await installation.session(access=PUBLIC)
    codes = [(await look(gateway)).status_code for _ in range(5)]
    assert codes == [503, 503, 503, 429, 429]
    assert (await installation.publish(gateway, start=False)).response.status_code == 201


async def test_a_draining_gateway_shows_nothing_new(installation: Installation) -> None:
    gateway, _ = await installation.gateway(), await installation.worker()
    await owned(installation)
    gateway.gateway.draining = True
    response = await look(gateway)
    assert (response.status_code, response.json()["reason"]) == (503, "draining")
