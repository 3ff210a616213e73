"""What the tests of the running operator share: a namespace to work in, and workers without processes."""

from collections.abc import AsyncIterator

import httpx
import pytest

from genlock_core import store as stores
from tests.operator.operators import Cluster, Fleet


@pytest.fixture
def cluster(kube: httpx.AsyncClient, namespace: str) -> Cluster:
    """A fresh namespace."""
    return Cluster(kube, namespace)


@pytest.fixture
async def fleet(redis_url: str) -> AsyncIterator[Fleet]:
    """No workers yet, on an empty Redis."""
    store = stores.connect(redis_url)
    fleet = Fleet(store)
    yield fleet
    await fleet.stop()
    await store.aclose()
