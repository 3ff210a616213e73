"""StreamSessions from `kubectl apply` to their end, on a real API server and a real Redis."""

import pytest

from genlock_core.spec.status import SessionStatus
from genlock_operator.actions import WriteSessionStatus
from genlock_operator.kube.errors import Conflict
from tests.api_server import ApiServer
from tests.operator.operators import Cluster, Fleet, run_operator, until

pytestmark = [pytest.mark.apiserver, pytest.mark.usefixtures("crds")]


async def test_a_session_is_assigned_and_says_where_to_publish_and_watch(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster, fleet: Fleet
) -> None:
    await cluster.profile()
    await cluster.pool("warm")
    await fleet.add("w0", f"{namespace}/warm")
    async with run_operator(kube_server, redis_url, namespace):
        await cluster.session("demo")
        status = await cluster.in_phase("demo", "Assigned")
        await until("an Event tells of it", lambda: cluster.told("demo", "Assigned"))
    assert (status["worker"], status["pool"], status["gpus"]) == ("w0", f"{namespace}/warm", 4)
    assert status["endpoints"]["whep"] == f"https://live.example.org/whep/{namespace}/demo"
    assert (await cluster.condition("streamsessions", "demo", "Assigned"))["status"] == "True"


async def test_a_deleted_session_gives_its_worker_back(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster, fleet: Fleet
) -> None:
    await cluster.profile()
    await cluster.pool("warm")
    await fleet.add("w0", f"{namespace}/warm")
    async with run_operator(kube_server, redis_url, namespace):
        await cluster.session("demo")
        await cluster.in_phase("demo", "Assigned")
        await cluster.delete("streamsessions", "demo")
        await until("the record is gone", lambda: fleet.has_no(f"{namespace}/demo"))
    (worker,) = await fleet.claims.workers()
    assert worker.free == worker.capacity


async def test_a_session_that_was_deleted_while_nobody_watched_is_cleared_away(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster, fleet: Fleet
) -> None:
    await cluster.profile()
    await cluster.pool("warm")
    await fleet.add("w0", f"{namespace}/warm")
    async with run_operator(kube_server, redis_url, namespace):
        await cluster.session("demo")
        await cluster.in_phase("demo", "Assigned")
    await cluster.delete("streamsessions", "demo")
    async with run_operator(kube_server, redis_url, namespace):
        await until("the record is gone", lambda: fleet.has_no(f"{namespace}/demo"))


async def test_a_session_of_the_same_name_is_another_session(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster, fleet: Fleet
) -> None:
    await cluster.profile()
    await cluster.pool("warm")
    await fleet.add("w0", f"{namespace}/warm")
    async with run_operator(kube_server, redis_url, namespace):
        await cluster.session("demo", prompt="a harbour")
        await cluster.in_phase("demo", "Assigned")
    await cluster.delete("streamsessions", "demo")
    again = await cluster.session("demo", prompt="a forest")
    async with run_operator(kube_server, redis_url, namespace):
        await cluster.in_phase("demo", "Assigned")
    record = await fleet.claims.record(f"{namespace}/demo")
    assert record is not None
    assert (record.uid, record.session.prompt) == (again["metadata"]["uid"], "a forest")


async def test_a_new_prompt_reaches_the_stream_once(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster, fleet: Fleet
) -> None:
    await cluster.profile()
    await cluster.pool("warm")
    await fleet.add("w0", f"{namespace}/warm")
    async with run_operator(kube_server, redis_url, namespace):
        await cluster.session("demo")
        await cluster.in_phase("demo", "Assigned")
        await cluster.patch("streamsessions", "demo", {"spec": {"prompt": "a city of glass"}})
        await until("the prompt is there", lambda: fleet.changes(f"{namespace}/demo"))
        await until("the status speaks of it", lambda: cluster.observed("demo", 2))
    changes = await fleet.changes(f"{namespace}/demo")
    assert [change.prompt for change in changes] == ["a city of glass"]


async def test_more_steps_move_a_session_to_a_pool_that_can(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster, fleet: Fleet
) -> None:
    await cluster.profile({1: 40.0, 4: 80.0})
    await cluster.pool("small", gpu={"product": "NVIDIA-H100", "count": 1})
    await cluster.pool("large", gpu={"product": "NVIDIA-H100", "count": 4})
    await fleet.add("s0", f"{namespace}/small")
    await fleet.add("l0", f"{namespace}/large")
    async with run_operator(kube_server, redis_url, namespace):
        await cluster.session("demo", steps=1)
        assert (await cluster.in_phase("demo", "Assigned"))["worker"] == "s0"
        await cluster.patch("streamsessions", "demo", {"spec": {"steps": 4}})
        await until("it has moved", lambda: cluster.is_on("demo", "l0"))
        await until("the steps are there", lambda: fleet.changes(f"{namespace}/demo"))
    assert [change.steps for change in await fleet.changes(f"{namespace}/demo")] == [4]


async def test_a_session_says_what_is_missing_and_is_assigned_as_soon_as_it_is_there(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster, fleet: Fleet
) -> None:
    async with run_operator(kube_server, redis_url, namespace):
        await cluster.session("demo")
        await until("no pool", lambda: cluster.reason("demo", "Placed", "NoPool"))
        await cluster.pool("warm", max=0)
        await until("no profile", lambda: cluster.reason("demo", "Placed", "NoProfile"))
        await cluster.profile()
        await until("no worker", lambda: cluster.reason("demo", "Assigned", "PoolFull"))
        await fleet.add("w0", f"{namespace}/warm")
        await cluster.in_phase("demo", "Assigned")


async def test_a_status_is_written_over_nobody_elses(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster, fleet: Fleet
) -> None:
    await cluster.profile()
    await cluster.pool("warm")
    await fleet.add("w0", f"{namespace}/warm")
    async with run_operator(kube_server, redis_url, namespace) as operator:
        stale = operator.caches.sessions
        await cluster.session("demo")
        await cluster.in_phase("demo", "Assigned")
        seen = stale.get(f"{namespace}/demo")
        await cluster.patch("streamsessions", "demo", {"metadata": {"labels": {"by": "somebody"}}})
        assert seen is not None
        with pytest.raises(Conflict):
            await operator.executor.perform(WriteSessionStatus(seen.meta, SessionStatus(worker="nobody")))
    assert (await cluster.get("streamsessions", "demo"))["status"]["worker"] == "w0"
