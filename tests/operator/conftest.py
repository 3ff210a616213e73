"""What the tests of the running operator share: a namespace to work in, and workers without processes."""

from collections.abc import AsyncIterator

import httpx
import pytest

from genlock_core import store as stores
from tests.api_server import ApiServer
from tests.kube_fixtures import apply
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


@pytest.fixture
def priority_classes(kube_server: ApiServer) -> None:
    """The two that the chart brings."""
    with kube_server.client() as kube:
        for name, value in (("genlock-live", 100_000), ("genlock-warm", -10)):
            apply(
                kube,
                f"/apis/scheduling.k8s.io/v1/priorityclasses/{name}",
                {
                    "apiVersion": "scheduling.k8s.io/v1",
                    "kind": "PriorityClass",
                    "metadata": {"name": name},
                    "value": value,
                },
            )
