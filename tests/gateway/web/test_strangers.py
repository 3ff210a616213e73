"""Strangers who ask for sessions share nothing bounded with the live path."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from genlock_core.store import COMMANDS_AT_ONCE, Store, StoreBusy
from genlock_gateway import gateway as gateways
from genlock_gateway.gateway import READS_AT_ONCE
from tests.gateway.installation import SDP, Installation, until

PUBLIC = {"view": "Public", "publish": "Token"}
ASKED = (
    "/whep/default/demo",
    "/api/v1/sessions",
    "/api/v1/sessions/default/demo",
    "/api/v1/sessions/default/demo/preview.jpg",
    "/watch/default/demo",
    "/whep/default/demo/g9/nobody",
    "/readyz",
)


@asynccontextmanager
async def taken(store: Store, connections: int) -> AsyncIterator[None]:
    """All connections of the store wait for something that never comes."""
    pool = cast("Any", store).connection_pool
    before = len(pool._in_use_connections)
    tasks = [asyncio.create_task(cast("Any", store.blpop(["never"], timeout=20))) for _ in range(connections)]
    await until(lambda: len(pool._in_use_connections) >= min(before + connections, pool.max_connections))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait(tasks)


async def test_a_crowd_that_asks_at_once_is_answered_and_takes_none_of_the_live_connections(
    installation: Installation, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await installation.gateway()
    await installation.session(access=PUBLIC)
    pool = cast("Any", gateway.gateway.store).connection_pool
    taking = pool.get_available_connection
    most = 0

    def counted() -> Any:
        nonlocal most
        most = max(most, len(pool._in_use_connections) + 1)
        return taking()

    monkeypatch.setattr(pool, "get_available_connection", counted)
    with caplog.at_level(logging.WARNING):
        asking = (gateway.http.get(path, timeout=60) for path in ASKED * 18)
        answers = await asyncio.gather(*asking)
    seen = Counter((answer.request.url.path, answer.status_code) for answer in answers)
    assert seen == dict.fromkeys(zip(ASKED, (204, 200, 200, 503, 200, 404, 200), strict=True), 18)
    assert {answer.json()["reason"] for answer in answers if answer.status_code == 503} == {"no-worker"}
    assert 0 < most < 10
    assert "Redis" not in caplog.text


async def test_a_session_that_is_known_is_shown_without_a_question_to_redis(installation: Installation) -> None:
    gateway = await installation.gateway()
    await installation.session(access=PUBLIC)
    await until(lambda: gateway.gateway.reads.records._follows)
    await gateway.http.get("/api/v1/sessions/default/demo")
    async with taken(gateway.gateway.reads.store, READS_AT_ONCE):
        for path in ("/api/v1/sessions/default/demo", "/whep/default/demo", "/watch/default/demo"):
            assert (await gateway.http.get(path)).is_success, path


@asynccontextmanager
async def busy(store: Store) -> AsyncIterator[None]:
    """The store answers, twenty times a second over one connection, and there is always more to be answered."""

    async def ask() -> None:
        while True:
            with contextlib.suppress(StoreBusy):
                await cast("Any", store.blpop(["never"], timeout=0.05))

    tasks = [asyncio.create_task(ask()) for _ in range(200)]
    await asyncio.sleep(0.1)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_too_many_questions_are_said_to_be_too_many_and_the_live_path_goes_on(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gateways, "READS_WAIT_S", 0.2)
    gateway = await installation.gateway()
    session = await installation.session(access=PUBLIC)
    await installation.worker()
    with caplog.at_level(logging.WARNING):
        store = gateway.gateway.reads.store
        async with taken(store, READS_AT_ONCE - 1), busy(store):
            # A few get their turn in time: then the offer is found to be none.
            offers = [gateway.http.post(f"/whep/{session}", content="v=0", headers=SDP) for _ in range(20)]
            refused = [answer for answer in await asyncio.gather(*offers) if answer.status_code != 400]
            assert refused
            for answer in refused:
                assert (answer.status_code, answer.json()["reason"]) == (503, "busy")
                assert answer.headers["Retry-After"] == "1"
                assert "does not answer" not in answer.text
            assert (await gateway.http.get("/readyz")).status_code == 200
            assert (await gateway.gateway.claims.claim(session)).worker.name == "w0"
    assert "Redis" not in caplog.text


async def test_questions_that_nobody_answers_say_that_the_store_is_away(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "READS_WAIT_S", 0.2)
    gateway = await installation.gateway()
    session = await installation.session(access=PUBLIC)
    await installation.worker()
    assert (await installation.view(gateway)).response.status_code == 201
    await installation.session("other", access=PUBLIC)
    async with taken(gateway.gateway.reads.store, READS_AT_ONCE):
        refused = await gateway.http.post("/whep/default/other", content="v=0", headers=SDP)
        assert (refused.status_code, refused.json()["reason"]) == (503, "store")
        assert (await installation.view(gateway, session)).response.status_code == 201, "it is live here"


async def test_who_asks_is_answered_while_the_live_path_is_busy(installation: Installation) -> None:
    gateway = await installation.gateway()
    session = await installation.session(access=PUBLIC)
    async with taken(gateway.gateway.store, COMMANDS_AT_ONCE):
        assert (await gateway.http.get(f"/whep/{session}")).status_code == 204


async def test_who_may_watch_is_read_anew_for_whoever_comes_in(installation: Installation) -> None:
    gateway = await installation.gateway()
    await installation.session(access=PUBLIC)
    assert (await gateway.http.get("/api/v1/sessions/default/demo")).status_code == 200
    for view, refused in (("Token", True), ("Public", False), ("Token", True)):
        await installation.session(access={"view": view, "publish": "Token"})
        entering = await gateway.http.post("/whep/default/demo", content="v=0", headers=SDP)
        assert (entering.status_code == 401) is refused
