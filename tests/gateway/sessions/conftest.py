"""The sessions of a gateway, empty, for one test."""

from collections.abc import AsyncIterator

import pytest

from tests.gateway.sessions.gateway_room import GatewayRoom


@pytest.fixture
async def room(redis_url: str) -> AsyncIterator[GatewayRoom]:
    made = GatewayRoom(redis_url)
    yield made
    await made.close()
