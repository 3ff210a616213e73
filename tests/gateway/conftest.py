"""An installation per test."""

from collections.abc import AsyncIterator

import aioice.ice
import pytest

from tests.gateway.installation import Description, Installation


@pytest.fixture(scope="session")
def description() -> Description:
    """What each gateway says of itself."""
    return Description()


@pytest.fixture
async def installation(
    redis_url: str, description: Description, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Installation]:
    """Nothing in it yet; whatever a test starts is ended."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    made = Installation(redis_url, description=description)
    yield made
    await made.close()
