"""A real Redis whose clock is the test's."""

from collections.abc import AsyncIterator

import pytest

from genlock_core import store
from genlock_core.clock import ManualClock
from tests.core.levelling.busy_hour import BusyHour


@pytest.fixture
async def hour(redis_url: str) -> AsyncIterator[BusyHour]:
    """No worker, no session, nobody who decides."""
    client = store.connect(redis_url)
    yield BusyHour(client, ManualClock())
    await client.aclose()
