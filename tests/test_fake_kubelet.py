"""The fake kubelet: what it reports is what a test told it, and a real control plane takes it for a node."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.api_server import ApiServer
from tests.fake_kubelet import Behaviour, FakeKubelet, Outcome

pytestmark = pytest.mark.apiserver

POLL_S = 0.05
TIMEOUT_S = 60.0


def pod(name: str, *, restarts: bool = False, **spec: Any) -> dict[str, Any]:
    policy = "Always" if restarts else "Never"
    containers = [{"name": "worker", "image": "none"}]
    return {"metadata": {"name": name}, "spec": {"containers": containers, "restartPolicy": policy, **spec}}


def with_gpus(count: int) -> list[dict[str, Any]]:
    return [{"name": "worker", "image": "none", "resources": {"limits": {"nvidia.com/gpu": count}}}]


async def until(kube: httpx.AsyncClient, path: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            found: dict[str, Any] = (await kube.get(path)).json()
            if holds(found):
                return found
            await asyncio.sleep(POLL_S)


def is_ready(found: dict[str, Any]) -> bool:
    return "True" in [one["status"] for one in found["status"].get("conditions") or () if one["type"] == "Ready"]


def is_gone(found: dict[str, Any]) -> bool:
    return found.get("code") == 404


class Gate:
    """A `sleep` that ends when the test says so."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.open = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        await self.open.wait()


@pytest.fixture
async def start(
    kube: httpx.AsyncClient, kubelet: FakeKubelet, namespace: str
) -> Callable[[dict[str, Any]], Awaitable[str]]:
    """Make a pod on `node-a`; answers its path."""
    await kubelet.add_node("node-a")
    return lambda made: make(kube, kubelet, namespace, made)


async def make(kube: httpx.AsyncClient, kubelet: FakeKubelet, namespace: str, made: dict[str, Any]) -> str:
    path = f"/api/v1/namespaces/{namespace}/pods"
    (await kube.post(path, json=made)).raise_for_status()
    name = made["metadata"]["name"]
    await kubelet.bind(namespace, name, "node-a")
    return f"{path}/{name}"


Start = Callable[[dict[str, Any]], Awaitable[str]]


async def test_a_bound_pod_becomes_ready_with_an_address(kube: httpx.AsyncClient, start: Start) -> None:
    found = await until(kube, await start(pod("one")), is_ready)
    assert found["status"]["phase"] == "Running"
    assert found["status"]["podIP"].startswith("10.244.")


async def test_two_pods_have_two_addresses(kube: httpx.AsyncClient, start: Start) -> None:
    found = [await until(kube, await start(pod(name)), is_ready) for name in ("one", "two")]
    assert len({one["status"]["podIP"] for one in found}) == 2


async def test_a_pod_of_another_node_is_left_alone(
    kube: httpx.AsyncClient, kubelet: FakeKubelet, namespace: str, start: Start
) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    await kube.post(path, json=pod("other", nodeName="somebody-else-s"))
    await until(kube, await start(pod("one")), is_ready)
    assert (await kube.get(f"{path}/other")).json()["status"]["phase"] == "Pending"


async def test_a_slow_pod_waits_for_the_injected_clock(
    kube: httpx.AsyncClient, api_server: ApiServer, namespace: str
) -> None:
    gate = Gate()
    async with FakeKubelet(api_server, sleep=gate) as kubelet:
        await kubelet.add_node("node-a")
        kubelet.default = Behaviour(starts_after_s=600.0)
        path = await make(kube, kubelet, namespace, pod("one"))
        found = await until(kube, path, lambda one: "containerStatuses" in one["status"])
        assert found["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ContainerCreating"
        gate.open.set()
        await until(kube, path, is_ready)
        assert gate.asked == [600.0]


async def test_a_pod_that_loads_is_running_and_not_ready(
    kube: httpx.AsyncClient, kubelet: FakeKubelet, start: Start
) -> None:
    kubelet.behaviours["one"] = Behaviour(ready_after_s=600.0)
    found = await until(kube, await start(pod("one")), lambda one: one["status"]["phase"] == "Running")
    assert not is_ready(found)


async def test_an_image_that_cannot_be_pulled(kube: httpx.AsyncClient, kubelet: FakeKubelet, start: Start) -> None:
    kubelet.behaviours["one"] = Behaviour(Outcome.IMAGE_PULL_ERROR)
    found = await until(kube, await start(pod("one")), lambda one: "containerStatuses" in one["status"])
    assert found["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ImagePullBackOff"
    assert found["status"]["phase"] == "Pending"


async def test_a_pod_that_is_never_ready_runs(kube: httpx.AsyncClient, kubelet: FakeKubelet, start: Start) -> None:
    kubelet.behaviours["one"] = Behaviour(Outcome.NEVER_READY)
    path = await start(pod("one"))
    await until(kube, await start(pod("two")), is_ready)
    found = await until(kube, path, lambda one: one["status"]["phase"] == "Running")
    assert not is_ready(found)


async def test_a_crash_fails_a_pod_that_is_not_restarted(
    kube: httpx.AsyncClient, kubelet: FakeKubelet, start: Start
) -> None:
    kubelet.behaviours["one"] = Behaviour(Outcome.CRASH)
    found = await until(kube, await start(pod("one")), lambda one: one["status"]["phase"] == "Failed")
    assert found["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 1


async def test_a_crash_on_demand_backs_off_where_the_pod_is_restarted(
    kube: httpx.AsyncClient, kubelet: FakeKubelet, namespace: str, start: Start
) -> None:
    path = await start(pod("one", restarts=True))
    await until(kube, path, is_ready)
    await kubelet.crash(namespace, "one")
    found = await until(kube, path, lambda one: not is_ready(one))
    assert found["status"]["containerStatuses"][0]["restartCount"] == 1
    assert found["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff"


async def test_a_ready_pod_can_stop_being_ready(
    kube: httpx.AsyncClient, kubelet: FakeKubelet, namespace: str, start: Start
) -> None:
    path = await start(pod("one"))
    await until(kube, path, is_ready)
    await kubelet.set_ready(namespace, "one", ready=False)
    found = await until(kube, path, lambda one: not is_ready(one))
    assert found["status"]["phase"] == "Running"


async def test_a_deleted_pod_goes(kube: httpx.AsyncClient, start: Start) -> None:
    path = await start(pod("one"))
    await until(kube, path, is_ready)
    await kube.delete(path)
    await until(kube, path, is_gone)


async def test_a_pod_that_ignores_sigterm_stays_for_its_grace(
    kube: httpx.AsyncClient, api_server: ApiServer, namespace: str
) -> None:
    gate = Gate()
    async with FakeKubelet(api_server, sleep=gate) as kubelet:
        await kubelet.add_node("node-a")
        kubelet.default = Behaviour(stops_after_s=None)
        path = await make(kube, kubelet, namespace, pod("one", terminationGracePeriodSeconds=900))
        await until(kube, path, is_ready)
        await kube.delete(path)
        async with asyncio.timeout(TIMEOUT_S):
            while not gate.asked:
                await asyncio.sleep(POLL_S)
        assert gate.asked == [900.0]
        assert (await kube.get(path)).json()["metadata"]["deletionTimestamp"]
        gate.open.set()
        await until(kube, path, is_gone)


async def test_a_pod_of_the_same_name_lives_again(kube: httpx.AsyncClient, start: Start) -> None:
    path = await start(pod("one"))
    first = (await until(kube, path, is_ready))["metadata"]["uid"]
    await kube.delete(path)
    await until(kube, path, is_gone)
    await start(pod("one"))
    assert (await until(kube, path, is_ready))["metadata"]["uid"] != first


async def test_a_vanished_node_keeps_its_deleted_pods_until_it_is_back(
    kube: httpx.AsyncClient, kubelet: FakeKubelet, start: Start
) -> None:
    path = await start(pod("one"))
    await until(kube, path, is_ready)
    kubelet.vanish("node-a")
    await kube.delete(path)
    await kubelet.add_node("node-b")
    assert (await kube.get(path)).json()["metadata"]["deletionTimestamp"]
    await kubelet.reappear("node-a")
    await until(kube, path, is_gone)


async def test_a_node_shows_its_gpus(kube: httpx.AsyncClient, kubelet: FakeKubelet) -> None:
    await kubelet.add_node("node-a", gpus=8, product="NVIDIA-L40S", labels={"zone": "b"})
    found = (await kube.get("/api/v1/nodes/node-a")).json()
    assert found["metadata"]["labels"]["nvidia.com/gpu.product"] == "NVIDIA-L40S"
    assert found["metadata"]["labels"]["zone"] == "b"
    assert found["status"]["capacity"]["nvidia.com/gpu"] == "8"
    assert is_ready(found)


async def test_a_removed_node_leaves_its_pods(kube: httpx.AsyncClient, kubelet: FakeKubelet, start: Start) -> None:
    path = await start(pod("one"))
    await until(kube, path, is_ready)
    await kubelet.remove_node("node-a")
    assert (await kube.get("/api/v1/nodes/node-a")).status_code == 404
    assert is_ready((await kube.get(path)).json())


async def test_it_goes_on_after_the_api_server_was_away(
    kube: httpx.AsyncClient, api_server: ApiServer, start: Start
) -> None:
    await until(kube, await start(pod("one")), is_ready)
    with api_server.away():
        pass
    await until(kube, await start(pod("two")), is_ready)


async def test_what_it_leaves_behind_is_nothing(kube: httpx.AsyncClient, api_server: ApiServer, namespace: str) -> None:
    async with FakeKubelet(api_server) as kubelet:
        await kubelet.add_node("node-a")
        path = await make(kube, kubelet, namespace, pod("one"))
        await until(kube, path, is_ready)
    assert (await kube.get(path)).status_code == 404
    assert (await kube.get("/api/v1/nodes/node-a")).status_code == 404


async def test_the_scheduler_counts_gpus(
    control_plane: ApiServer, kube: httpx.AsyncClient, kubelet: FakeKubelet, namespace: str
) -> None:
    await kubelet.add_node("node-a", gpus=2)
    path = f"/api/v1/namespaces/{namespace}/pods"
    (await kube.post(path, json=pod("fits", containers=with_gpus(2)))).raise_for_status()
    await until(kube, f"{path}/fits", is_ready)
    (await kube.post(path, json=pod("too-many", containers=with_gpus(1)))).raise_for_status()
    found = await until(kube, f"{path}/too-many", lambda one: bool(one["status"].get("conditions")))
    assert "Insufficient nvidia.com/gpu" in found["status"]["conditions"][0]["message"]


async def test_a_vanished_node_is_marked_unreachable(
    control_plane: ApiServer, kube: httpx.AsyncClient, kubelet: FakeKubelet
) -> None:
    await kubelet.add_node("node-a")
    await until(kube, "/api/v1/nodes/node-a", lambda node: not node["spec"].get("taints"))
    kubelet.vanish("node-a")
    found = await until(kube, "/api/v1/nodes/node-a", lambda node: bool(node["spec"].get("taints")))
    assert "node.kubernetes.io/unreachable" in [taint["key"] for taint in found["spec"]["taints"]]
