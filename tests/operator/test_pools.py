"""WorkerPools on a real API server: pods as the pool says, workers that serve, leave and are replaced."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from genlock_cli.up.ports import choose_ports
from genlock_core import store as stores
from genlock_core.levelling.told import ToldPools
from genlock_operator.keda.wire import Messages
from tests.api_server import ApiServer
from tests.fake_kubelet import FakeKubelet
from tests.operator.keda.requests import workers_of
from tests.operator.operators import Cluster, Fleet, run_operator, until

pytestmark = [pytest.mark.apiserver, pytest.mark.usefixtures("crds", "priority_classes")]


@pytest.fixture
async def node(kubelet: FakeKubelet, namespace: str) -> str:
    """A node with room for everybody."""
    name = f"node-{namespace}"
    await kubelet.add_node(name, gpus=64)
    return name


async def bind_all(cluster: Cluster, kubelet: FakeKubelet, node: str, stop: asyncio.Event) -> None:
    """Be the scheduler until `stop`: every pod goes to the node."""
    while not stop.is_set():
        for name, pod in (await cluster.pods()).items():
            if not pod["spec"].get("nodeName"):
                await kubelet.bind(cluster.namespace, name, node)
        await asyncio.sleep(0.1)


@pytest.fixture
async def scheduler(cluster: Cluster, kubelet: FakeKubelet, node: str) -> AsyncIterator[None]:
    """Pods are bound while the test runs."""
    stop = asyncio.Event()
    scheduling = asyncio.create_task(bind_all(cluster, kubelet, node, stop))
    yield
    # It is not cut off: a connection that is being made then would be left open.
    stop.set()
    await asyncio.gather(scheduling, return_exceptions=True)


async def test_a_pool_has_the_pods_that_it_asks_for_and_they_are_its_own(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster
) -> None:
    async with run_operator(kube_server, redis_url, namespace):
        pool = await cluster.pool("warm", replicas=2, max=4)
        await until("two pods", lambda: cluster.has_pods(2))
    for pod in (await cluster.pods()).values():
        (owner,) = pod["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("WorkerPool", pool["metadata"]["uid"], True)
        assert pod["metadata"]["labels"]["genlock.dev/state"] == "Warm"


async def test_a_profile_that_changes_reaches_new_workers_and_replaces_none(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster
) -> None:
    async with run_operator(kube_server, redis_url, namespace):
        pool = await cluster.pool("warm", replicas=1, max=4)
        await until("a pod", lambda: cluster.has_pods(1))
        (first,) = await cluster.pods()
        await cluster.profile()
        await cluster.patch("workerpools", pool["metadata"]["name"], {"spec": {"replicas": 2}})
        await until("two pods", lambda: cluster.has_pods(2))
        told = {name: _figures(pod) for name, pod in (await cluster.pods()).items()}
    assert told.pop(first) == ""
    (figures,) = told.values()
    assert figures.startswith('{"832x480":{"1":')


def _figures(pod: dict[str, Any]) -> str:
    (container,) = pod["spec"]["containers"]
    found = [entry["value"] for entry in container["env"] if entry["name"] == "GENLOCK_WORKER_MEASURED_FPS"]
    return str(found[0]) if found else ""


@pytest.mark.usefixtures("scheduler")
async def test_a_session_that_waits_makes_its_pool_grow_and_gets_the_new_worker(
    kube_server: ApiServer,
    redis_url: str,
    namespace: str,
    cluster: Cluster,
    fleet: Fleet,
) -> None:
    await cluster.profile()
    await cluster.pool("warm", max=2)
    fleet.play(cluster)
    async with run_operator(kube_server, redis_url, namespace):
        await cluster.session("demo")
        status = await cluster.in_phase("demo", "Assigned")
        await until("the pod is marked", lambda: cluster.has_pods(1, "Serving"))
    assert status["worker"] in await cluster.pods()


@pytest.mark.usefixtures("scheduler")
async def test_a_worker_is_emptied_before_its_pod_goes_and_another_takes_its_place(
    kube_server: ApiServer,
    redis_url: str,
    namespace: str,
    cluster: Cluster,
    fleet: Fleet,
) -> None:
    await cluster.profile()
    await cluster.pool("warm", replicas=1, max=2)
    fleet.play(cluster)
    async with run_operator(kube_server, redis_url, namespace):
        await cluster.session("demo")
        first = (await cluster.in_phase("demo", "Assigned"))["worker"]
        await cluster.patch("pods", first, {"metadata": {"annotations": {"genlock.dev/drain": "please"}}})
        await until("its pod is gone", lambda: _gone(cluster, first))
        (left,) = await cluster.pods()
        await until("the session is on the other one", lambda: cluster.is_on("demo", left))


async def _gone(cluster: Cluster, pod: str) -> bool:
    return pod not in await cluster.pods()


@pytest.mark.usefixtures("scheduler")
async def test_a_quota_is_told_to_who_waits_and_no_more_once_it_is_raised(
    kube_server: ApiServer,
    redis_url: str,
    namespace: str,
    cluster: Cluster,
    fleet: Fleet,
) -> None:
    quota = {"hard": {"pods": "0"}}
    await cluster.create("resourcequotas", "ResourceQuota", "none", quota)
    # what the quota controller would write, and the API server goes by
    await cluster.patch("resourcequotas", "none/status", {"status": {**quota, "used": {"pods": "0"}}})
    await cluster.profile()
    await cluster.pool("warm", max=1)
    fleet.play(cluster)
    async with run_operator(kube_server, redis_url, namespace):
        await cluster.session("demo")
        await until("it is told", lambda: cluster.reason("demo", "Assigned", "QuotaExceeded"))
        await cluster.delete("resourcequotas", "none")
        await cluster.in_phase("demo", "Assigned")


async def test_a_pool_says_how_its_number_of_workers_comes_about(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster
) -> None:
    await cluster.pool("warm", replicas=2, max=4)
    async with run_operator(kube_server, redis_url, namespace) as operator:
        said = await until("the status says it", lambda: _autoscaling(cluster, "warm"))
        store = stores.connect(redis_url)
        told = await until("it is told", lambda: ToldPools(store).scaling(f"{namespace}/warm"))
        await store.aclose()
        measured = operator.registry.get_sample_value(
            "genlock_operator_autoscale_workers", {"pool": f"{namespace}/warm", "term": "desired"}
        )
    assert (said["desired"], said["reason"]) == (2, "Replicas")
    assert (told.desired, told.reason, told.terms["replicas"]) == (2, "Replicas", 2)
    assert told.sentences[0] == "2 workers should be there: spec.replicas says so."
    assert measured == 2


@pytest.mark.usefixtures("scheduler")
async def test_with_external_the_scale_of_kubernetes_decides_and_who_waits_changes_nothing(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster, fleet: Fleet
) -> None:
    await cluster.profile()
    await cluster.pool("warm", replicas=0, max=2, autoscaling={"mode": "External"})
    fleet.play(cluster)
    async with run_operator(kube_server, redis_url, namespace):
        await cluster.session("demo")
        await until("it waits", lambda: _waits(cluster, "warm"))
        assert await cluster.pods() == {}
        await cluster.patch("workerpools", "warm", {"spec": {"replicas": 1}})
        await cluster.in_phase("demo", "Assigned")
    assert len(await cluster.pods()) == 1


@pytest.mark.usefixtures("scheduler")
async def test_keda_asks_the_replica_that_stands_by_and_brings_the_worker_that_a_session_waits_for(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster, fleet: Fleet
) -> None:
    await cluster.profile()
    await cluster.pool("warm", replicas=0, max=2, autoscaling={"mode": "External"})
    fleet.play(cluster)
    address = f"127.0.0.1:{choose_ports('127.0.0.1', 1, media=[])}"

    async def recommended(keda: grpc.aio.Channel, answer: bytes) -> bool:
        call: Any = keda.unary_unary("/externalscaler.ExternalScaler/GetMetrics")
        try:
            return bool(await call(workers_of(namespace, "warm"), timeout=10) == answer)
        except grpc.aio.AioRpcError:  # nobody has told of the pool yet
            return False

    async with run_operator(kube_server, redis_url, namespace, "--identity", "first") as first:
        await first.leader.leading.wait()
        async with (
            run_operator(kube_server, redis_url, namespace, "--identity", "second", "--scaler", address) as second,
            grpc.aio.insecure_channel(address) as keda,
        ):
            await until("nobody is wanted", lambda: recommended(keda, Messages().metric("workers", 0)))
            await cluster.session("demo")
            await until("one is wanted", lambda: recommended(keda, Messages().metric("workers", 1)))
            assert not second.leader.may_act()

            # What its HPA does.
            await cluster.patch("workerpools", "warm", {"spec": {"replicas": 1}})
            await cluster.in_phase("demo", "Assigned")


async def _waits(cluster: Cluster, pool: str) -> bool:
    status = (await cluster.get("workerpools", pool)).get("status", {})
    return bool(status.get("waiting") == 1 and status["autoscaling"]["reason"] == "Waiting")


async def _autoscaling(cluster: Cluster, pool: str) -> dict[str, Any] | None:
    status = (await cluster.get("workerpools", pool)).get("status", {})
    found: dict[str, Any] | None = status.get("autoscaling")
    return found
