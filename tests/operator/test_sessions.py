"""StreamSessions from `kubectl apply` to their end, on a real API server and a real Redis."""

from collections.abc import AsyncIterator

import httpx
import pytest

from genlock_core import store as stores
from tests.api_server import ApiServer
from tests.operator.operators import Cluster, Fleet, run_operator, until

pytestmark = [pytest.mark.apiserver, pytest.mark.usefixtures("crds")]


@pytest.fixture
def cluster(kube: httpx.AsyncClient, namespace: str) -> Cluster:
    return Cluster(kube, namespace)


@pytest.fixture
async def fleet(redis_url: str) -> AsyncIterator[Fleet]:
    store = stores.connect(redis_url)
    fleet = Fleet(store)
    yield fleet
    await fleet.stop()
    await store.aclose()


async def test_a_session_is_assigned_and_says_where_to_publish_and_watch(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster, fleet: Fleet
) -> None:
    await cluster.profile()
    await cluster.pool("warm")
    await fleet.add("w0", f"{namespace}/warm")
    async with run_operator(kube_server, redis_url, namespace):
        await cluster.session("demo")

        async def assigned() -> dict[str, object]:
            status = (await cluster.get("streamsessions", "demo")).get("status", {})
            return status if status.get("phase") == "Assigned" else {}

        status = await until("the session is Assigned", assigned)
    assert (status["worker"], status["pool"]) == ("w0", f"{namespace}/warm")
    assert status["endpoints"]["whep"] == f"https://live.example.org/whep/{namespace}/demo"
    assert (await cluster.condition("streamsessions", "demo", "Assigned"))["status"] == "True"
