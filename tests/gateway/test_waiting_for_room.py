"""An offer that finds no room waits at its POST: a worker that comes is heard of, and so is a client that goes."""

import asyncio
import contextlib

import pytest

from genlock_gateway.sessions import waiting_offers
from tests.gateway.installation import SDP, Installation, until


async def test_an_offer_is_answered_as_soon_as_a_worker_comes(installation: Installation) -> None:
    gateway = await installation.gateway()
    await installation.session()
    watching = asyncio.create_task(installation.view(gateway))
    await until(lambda: len(gateway.gateway.offers) == 1)

    await installation.worker()
    assert (await watching).response.status_code == 201
    assert gateway.metric("genlock_gateway_room_waits_total", result="served") == 1
    assert gateway.metric("genlock_blocked_total", role="view") == 0


async def test_nobody_waits_for_a_client_that_closes_its_connection(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await installation.gateway()
    monkeypatch.setattr(gateway.gateway.offers, "_patience_s", 30.0)
    await installation.session()
    offer = asyncio.create_task(gateway.http.post("/whep/default/demo", content="v=0\r\n", headers=SDP))
    await until(lambda: len(gateway.gateway.offers) == 1)

    offer.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await offer
    await until(lambda: len(gateway.gateway.offers) == 0)
    assert gateway.metric("genlock_gateway_room_waits_total", result="left") == 1


async def test_who_waits_in_vain_is_told_when_to_come_back(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await installation.gateway()
    monkeypatch.setattr(gateway.gateway.offers, "_patience_s", 0.05)
    await installation.session()
    await installation.claims.expect_worker("local", 5_000)
    answer = (await installation.view(gateway)).response
    assert (answer.status_code, answer.json()["reason"]) == (503, "no-capacity")
    assert 1 <= int(answer.headers["Retry-After"]) <= 5 < waiting_offers.LONGEST_RETRY_S
    assert gateway.metric("genlock_blocked_total", role="view") == 1
