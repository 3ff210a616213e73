"""What a whole worker is tested among: Redis, a gateway at the other end of its link, a publisher."""

from collections.abc import AsyncIterator

import pytest

from tests.worker.gateway import FakeGateway, Publisher
from tests.worker.house import House, house


@pytest.fixture
async def home(redis_url: str) -> AsyncIterator[House]:
    async with house(redis_url) as made:
        yield made


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    made = FakeGateway()
    yield made
    await made.close()


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    made = Publisher()
    yield made
    await made.stop()
