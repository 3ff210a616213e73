"""Who may delete a pod that carries live sessions, and whom an eviction meets: the chart's policy and budget."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.api_server import ApiServer
from tests.fake_kubelet import Behaviour, FakeKubelet
from tests.operator.cluster.installation import OPERATOR, install, worker_pod
from tests.operator.cluster.resources import MERGE_PATCH

pytestmark = pytest.mark.apiserver

POLL_S = 0.05
TIMEOUT_S = 60.0
# Rights enough to delete any pod, so that only the policy says no.
MASTERS = ("system:masters",)


class Workers:
    """Worker pods on a node of the fake kubelet, in the installation's namespace."""

    def __init__(self, kube: httpx.AsyncClient, kubelet: FakeKubelet, namespace: str, node: str) -> None:
        self.kube, self.kubelet, self.namespace, self.node = kube, kubelet, namespace, node
        self.pods = f"/api/v1/namespaces/{namespace}/pods"

    async def start(self, *, state: str = "Serving", **metadata: Any) -> str:
        """A pod that runs and is ready; answers its name."""
        name = f"worker-{secrets.token_hex(4)}"
        made = worker_pod(name, state=state, **metadata)
        made["spec"]["nodeName"] = self.node
        (await self.kube.post(self.pods, json=made)).raise_for_status()
        await self.until(name, lambda pod: pod["status"].get("phase") == "Running")
        return name

    async def until(self, name: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                found: dict[str, Any] = (await self.kube.get(f"{self.pods}/{name}")).json()
                if holds(found):
                    return found
                await asyncio.sleep(POLL_S)

    async def make_owner(self) -> tuple[str, dict[str, Any]]:
        """An object that pods can belong to, of a kind that cannot be scaled: its path, and the reference to it."""
        maps = f"/api/v1/namespaces/{self.namespace}/configmaps"
        made = {"metadata": {"name": f"owner-{secrets.token_hex(4)}"}}
        owner = (await self.kube.post(maps, json=made)).json()["metadata"]
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["name"], "uid": owner["uid"]}
        return f"{maps}/{owner['name']}", {**reference, "controller": True}

    async def evict(self, name: str) -> httpx.Response:
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        return await self.kube.post(f"{self.pods}/{name}/eviction", json=eviction)


@pytest.fixture
async def workers(
    control_plane: ApiServer, kube: httpx.AsyncClient, kubelet: FakeKubelet, installation: str
) -> Workers:
    node = f"node-{secrets.token_hex(4)}"
    await kubelet.add_node(node)
    return Workers(kube, kubelet, installation, node)


async def delete_as(server: ApiServer, path: str, user: str, groups: tuple[str, ...] = MASTERS) -> httpx.Response:
    async with server.async_client(user, groups=groups) as client:
        return await client.delete(path)


@pytest.mark.parametrize(
    "user",
    [
        "alice",
        "system:serviceaccount:keda:keda-operator",
        "system:serviceaccount:kube-systems:evil",
        "system:serviceaccount:default:genlock-operator",
        "system:kube-scheduler",
    ],
)
async def test_a_serving_pod_is_not_deleted_by(control_plane: ApiServer, workers: Workers, user: str) -> None:
    name = await workers.start()
    answer = await delete_as(control_plane, f"{workers.pods}/{name}", user)
    assert answer.status_code == 403
    assert f"pod {name} carries live streams" in answer.json()["message"]
    assert f"kubectl annotate pod {name} genlock.dev/drain=now" in answer.json()["message"]


async def test_a_serving_pod_is_not_deleted_at_once_either(workers: Workers) -> None:
    name = await workers.start()
    answer = await workers.kube.request("DELETE", f"{workers.pods}/{name}", json={"gracePeriodSeconds": 0})
    assert answer.status_code == 403


async def test_pods_deleted_by_selector_are_looked_at_one_by_one(workers: Workers) -> None:
    serving, warm = await workers.start(), await workers.start(state="Warm")
    await workers.kube.delete(workers.pods, params={"fieldSelector": f"metadata.name={warm}"})
    answer = await workers.kube.delete(workers.pods, params={"fieldSelector": f"metadata.name={serving}"})
    assert answer.status_code == 403
    await workers.until(warm, lambda pod: pod.get("code") == 404)
    assert (await workers.kube.get(f"{workers.pods}/{serving}")).status_code == 200


async def test_the_operator_deletes_it(control_plane: ApiServer, workers: Workers) -> None:
    name = await workers.start()
    token = control_plane.service_account_token(workers.namespace, OPERATOR)
    bearer = {"Authorization": f"Bearer {token}"}
    answer = await workers.kube.delete(f"{workers.pods}/{name}", headers=bearer)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("user", "groups"),
    [
        ("system:serviceaccount:kube-system:generic-garbage-collector", ()),
        ("system:serviceaccount:kube-system:namespace-controller", ()),
        ("system:serviceaccount:kube-system:pod-garbage-collector", ()),
        ("system:node:node-a", MASTERS),
    ],
)
async def test_what_keeps_a_cluster_going_deletes_it(
    control_plane: ApiServer, workers: Workers, user: str, groups: tuple[str, ...]
) -> None:
    name = await workers.start()
    answer = await delete_as(control_plane, f"{workers.pods}/{name}", user, groups)
    assert answer.status_code == 200, answer.text


async def test_a_deletion_that_is_under_way_can_be_hurried(control_plane: ApiServer, workers: Workers) -> None:
    workers.kubelet.default = Behaviour(stops_after_s=None)
    name = await workers.start()
    path = f"{workers.pods}/{name}"
    await delete_as(control_plane, path, "system:serviceaccount:kube-system:pod-garbage-collector", ())
    assert (await workers.kube.get(path)).json()["metadata"]["deletionTimestamp"]
    async with control_plane.async_client("alice", groups=MASTERS) as alice:
        answer = await alice.request("DELETE", path, json={"gracePeriodSeconds": 0})
    assert answer.status_code == 200, answer.text
    await workers.until(name, lambda pod: pod.get("code") == 404)


@pytest.mark.parametrize("state", ["Warm", "Draining"])
async def test_a_pod_without_sessions_can_be_deleted(control_plane: ApiServer, workers: Workers, state: str) -> None:
    name = await workers.start(state=state)
    assert (await delete_as(control_plane, f"{workers.pods}/{name}", "alice")).status_code == 200


async def test_pods_of_others_are_none_of_our_business(control_plane: ApiServer, workers: Workers) -> None:
    name = await workers.start(labels={"genlock.dev/state": "Serving", "app": "another"})
    assert (await delete_as(control_plane, f"{workers.pods}/{name}", "alice")).status_code == 200


async def test_other_namespaces_are_none_of_our_business(
    control_plane: ApiServer, workers: Workers, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    (await workers.kube.post(path, json=worker_pod("one"))).raise_for_status()
    assert (await delete_as(control_plane, f"{path}/one", "alice")).status_code == 200


async def test_a_serving_pod_goes_with_its_owner(workers: Workers) -> None:
    path, reference = await workers.make_owner()
    name = await workers.start(ownerReferences=[reference])
    await workers.kube.delete(path)
    await workers.until(name, lambda pod: pod.get("code") == 404)


async def test_a_namespace_with_serving_pods_finishes(
    control_plane: ApiServer, kube: httpx.AsyncClient, kubelet: FakeKubelet, installation: str
) -> None:
    namespace = await asyncio.to_thread(install, control_plane)
    node = f"node-{secrets.token_hex(4)}"
    await kubelet.add_node(node)
    await Workers(kube, kubelet, namespace, node).start()
    await kube.delete(f"/api/v1/namespaces/{namespace}")
    async with asyncio.timeout(TIMEOUT_S):
        while (await kube.get(f"/api/v1/namespaces/{namespace}")).status_code != 404:
            await asyncio.sleep(POLL_S)


async def budget_is_known(workers: Workers) -> None:
    """Until then every eviction is refused, whatever the budget says."""
    path = f"/apis/policy/v1/namespaces/{workers.namespace}/poddisruptionbudgets/genlock-serving"
    async with asyncio.timeout(TIMEOUT_S):
        while "observedGeneration" not in (await workers.kube.get(path)).json().get("status", {}):
            await asyncio.sleep(POLL_S)


async def test_a_serving_pod_is_not_evicted(workers: Workers) -> None:
    name = await workers.start()
    await budget_is_known(workers)
    answer = await workers.evict(name)
    assert answer.status_code == 429
    assert "would violate the pod's disruption budget" in answer.json()["message"]


async def test_a_serving_pod_that_is_not_ready_is_not_evicted(workers: Workers) -> None:
    name = await workers.start()
    await budget_is_known(workers)
    await workers.kubelet.set_ready(workers.namespace, name, ready=False)
    assert (await workers.evict(name)).status_code == 429


async def test_a_budget_holds_for_pods_of_a_kind_without_scale(workers: Workers) -> None:
    _, reference = await workers.make_owner()
    name = await workers.start(ownerReferences=[reference])
    await budget_is_known(workers)
    assert (await workers.evict(name)).status_code == 429


async def test_a_warm_pod_is_evicted(workers: Workers) -> None:
    name = await workers.start(state="Warm")
    assert (await workers.evict(name)).status_code == 201


async def test_a_pod_is_protected_from_the_moment_it_serves(workers: Workers) -> None:
    name = await workers.start(state="Warm")
    await budget_is_known(workers)
    serves = {"metadata": {"labels": {"genlock.dev/state": "Serving"}}}
    await workers.kube.patch(f"{workers.pods}/{name}", json=serves, headers=MERGE_PATCH)
    assert (await workers.evict(name)).status_code == 429
    assert (await workers.kube.delete(f"{workers.pods}/{name}")).status_code == 403
