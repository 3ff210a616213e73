"""Nodes without machines: pods bound to them come up, fail and leave as a test says; no container runs.

The API server (and with `control_plane` the scheduler, the garbage collector and the node controller) is real, and sees
what a kubelet would report: nodes with GPUs and fresh leases, pods that are pulled, running, ready, gone.

    async with FakeKubelet(kube_server) as kubelet:
        await kubelet.add_node("node-a", gpus=8)
        kubelet.default = Behaviour(ready_after_s=30.0)          # for every pod that is bound from now on
        kubelet.behaviours["worker-1"] = Behaviour(Outcome.IMAGE_PULL_ERROR)
        await kubelet.crash(namespace, "worker-0")
        kubelet.vanish("node-a")                                 # its machine is silent; `await remove_node` ends it

The fixture `kubelet` is one without nodes, on the server that the test asked for. Delays pass through `sleep`, which a
test may replace by one that waits for an event.
"""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

import httpx
import pytest

from tests import kubelet_reports as reports
from tests.api_server import ApiServer

GPU_RESOURCE = "nvidia.com/gpu"
GPU_PRODUCT_LABEL = "nvidia.com/gpu.product"
LEASE_S = 40
LEASE_EVERY_S = 2.0
WATCH_AGAIN_S = 0.1
NODES, LEASES = "/api/v1/nodes", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
# What a policy sees of a kubelet is its name; the rights of an administrator spare the tests a node authorizer.
USER, GROUPS = "system:node:fake", ("system:nodes", "system:masters")

STRATEGIC_PATCH = {"Content-Type": "application/strategic-merge-patch+json"}


class Outcome(StrEnum):
    """What becomes of a pod's containers."""

    READY = "ready"
    NEVER_READY = "never ready"
    """They run, and never become ready."""
    IMAGE_PULL_ERROR = "image pull error"
    """The pod stays Pending, its containers wait with ImagePullBackOff."""
    CRASH = "crash"
    """They end with code 1 as soon as they run: see `FakeKubelet.crash`."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a pod does; what it is when the pod is bound holds for the pod's life."""

    outcome: Outcome = Outcome.READY
    starts_after_s: float = 0.0
    """From bound to running (pulling the image)."""
    ready_after_s: float = 0.0
    """From running to ready (loading the model)."""
    stops_after_s: float | None = 0.0
    """From deleted to gone; None: as long as its grace period says, as a container does that ignores SIGTERM."""


class FakeKubelet:
    """The kubelets of all nodes that it was told to add; as a context manager it works until it is left.

    Leaving removes its nodes and the pods on them. A pod's life is one task: bound -> (pulled) -> running -> ready, and
    another when it is deleted: stopping -> gone. A vanished node's pods stay as they are, whatever happens to them.
    """

    def __init__(self, server: ApiServer, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self.default = Behaviour()
        self.behaviours: dict[str, Behaviour] = {}
        """By pod name; before `default`."""
        self._kube = server.async_client(USER, groups=GROUPS)
        self._sleep = sleep
        self._silent: dict[str, bool] = {}  # our nodes: whether they vanished
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._deleted: set[str] = set()
        self._chosen: dict[str, Behaviour] = {}
        self._addresses = itertools.count(1)
        self._loops: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._loops = [asyncio.create_task(self._watch()), asyncio.create_task(self._renew())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [*self._loops, *self._lives.values()]
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self._clean_up()
        finally:
            await self._kube.aclose()
        failures = [one for one in ended if isinstance(one, Exception)]
        if failures and error is None:
            raise ExceptionGroup("the fake kubelet failed", failures)

    async def add_node(
        self,
        name: str,
        *,
        gpus: int = 0,
        product: str = "NVIDIA-H100-80GB-HBM3",
        labels: dict[str, str] | None = None,
        taints: tuple[dict[str, str], ...] = (),
    ) -> None:
        """Register a node that is Ready, with this many GPUs of a product; schedulable within a second."""
        gpu_labels = {GPU_PRODUCT_LABEL: product, "nvidia.com/gpu.count": str(gpus)} if gpus else {}
        every = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **gpu_labels, **(labels or {})}
        node = {"metadata": {"name": name, "labels": every}, "spec": {"taints": list(taints)}}
        (await self._kube.post(NODES, json=node)).raise_for_status()
        self._silent[name] = False
        room = {"cpu": "256", "memory": "1Ti", "pods": "500", **({GPU_RESOURCE: str(gpus)} if gpus else {})}
        await self._patch(f"{NODES}/{name}/status", {"status": reports.node(room)})
        await self._renew_lease(name)

    def vanish(self, node: str) -> None:
        """The node's machine is silent from now on: no lease, nothing of its pods changes, deleted ones stay."""
        self._silent[node] = True

    async def reappear(self, node: str) -> None:
        """The machine answers again: deleted pods go, new ones start; what ran runs on."""
        self._silent[node] = False
        await self._renew_lease(node)
        await self._look_at_all()

    async def remove_node(self, node: str) -> None:
        """The node's object is deleted, as a cloud does for a lost machine; its pods are left to the cluster."""
        self.vanish(node)
        await self._kube.delete(f"{NODES}/{node}")

    async def bind(self, namespace: str, pod: str, node: str) -> None:
        """Bind a pod by hand, where no scheduler runs."""
        target = {"metadata": {"name": pod}, "target": {"apiVersion": "v1", "kind": "Node", "name": node}}
        (await self._kube.post(f"{_pod_path(namespace, pod)}/binding", json=target)).raise_for_status()

    async def crash(self, namespace: str, pod: str, *, exit_code: int = 1) -> None:
        """The containers end now: the pod is Failed if its restart policy is Never, else it waits for a restart."""
        found = await self._pod(namespace, pod)
        await self._report(found, reports.crashed(found, exit_code))

    async def set_ready(self, namespace: str, pod: str, *, ready: bool) -> None:
        """What the readiness probe of a running pod says from now on."""
        await self._report_running(await self._pod(namespace, pod), ready=ready)

    async def _pod(self, namespace: str, name: str) -> dict[str, Any]:
        answer = await self._kube.get(_pod_path(namespace, name))
        answer.raise_for_status()
        return dict(answer.json())

    async def _watch(self) -> None:
        """Every change of every pod, from the list on; starts anew when the server hangs up or is away."""
        while True:
            try:
                version = await self._look_at_all()
                query = {"watch": "true", "resourceVersion": version}
                async with self._kube.stream("GET", "/api/v1/pods", params=query, timeout=None) as answer:
                    async for line in answer.aiter_lines():
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            break
                        self._look_at(event["object"], gone=event["type"] == "DELETED")
            except httpx.TransportError:
                pass
            await asyncio.sleep(WATCH_AGAIN_S)

    async def _look_at_all(self) -> str:
        answer = await self._kube.get("/api/v1/pods")
        answer.raise_for_status()
        found = answer.json()
        for pod in found["items"]:
            self._look_at(pod)
        return str(found["metadata"]["resourceVersion"])

    def _look_at(self, pod: dict[str, Any], *, gone: bool = False) -> None:
        uid = pod["metadata"]["uid"]
        if gone:
            self._deleted.add(uid)
            self._end_life(uid)
        elif self._silent.get(pod["spec"].get("nodeName", ""), True):
            return
        elif "deletionTimestamp" in pod["metadata"]:
            if uid not in self._deleted:
                self._deleted.add(uid)
                self._end_life(uid)
                self._lives[uid] = asyncio.create_task(self._leave(pod))
        elif uid not in self._lives and uid not in self._deleted:
            self._lives[uid] = asyncio.create_task(self._live(pod))

    def _end_life(self, uid: str) -> None:
        if task := self._lives.pop(uid, None):
            task.cancel()

    async def _live(self, pod: dict[str, Any]) -> None:
        behaviour = self._behaviour_of(pod)
        if behaviour.outcome is Outcome.IMAGE_PULL_ERROR:
            await self._report(pod, reports.waiting(pod, "ImagePullBackOff", "Back-off pulling image: not found"))
            return
        await self._report(pod, reports.waiting(pod, "ContainerCreating"))
        await self._pass(behaviour.starts_after_s)
        await self._report_running(pod, ready=False)
        if behaviour.outcome is Outcome.CRASH:
            await self._report(pod, reports.crashed(pod, 1))
        elif behaviour.outcome is Outcome.READY:
            await self._pass(behaviour.ready_after_s)
            await self._report_running(pod, ready=True)

    async def _leave(self, pod: dict[str, Any]) -> None:
        takes_s = self._behaviour_of(pod).stops_after_s
        await self._pass(pod["metadata"].get("deletionGracePeriodSeconds", 0) if takes_s is None else takes_s)
        if not self._is_silent(pod):
            await self._remove_pod(pod)

    def _behaviour_of(self, pod: dict[str, Any]) -> Behaviour:
        now = self.behaviours.get(pod["metadata"]["name"], self.default)
        return self._chosen.setdefault(pod["metadata"]["uid"], now)

    async def _pass(self, seconds: float) -> None:
        if seconds > 0:
            await self._sleep(seconds)

    async def _report_running(self, pod: dict[str, Any], *, ready: bool) -> None:
        """The address that a pod gets first is its own for life; `pod` remembers it."""
        address = pod["status"].setdefault("podIP", self._next_address())
        await self._report(pod, reports.running(pod, address, ready=ready))

    async def _report(self, pod: dict[str, Any], status: dict[str, Any]) -> None:
        """Write the pod's status; nothing of a pod that is gone, or whose node vanished."""
        if not self._is_silent(pod):
            body = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
            await self._patch(f"{_path_of(pod)}/status", body)

    def _next_address(self) -> str:
        high, low = divmod(next(self._addresses), 250)
        return f"10.244.{high}.{low + 1}"

    def _is_silent(self, pod: dict[str, Any]) -> bool:
        return self._silent.get(pod["spec"].get("nodeName", ""), True)

    async def _remove_pod(self, pod: dict[str, Any]) -> None:
        uid = {"uid": pod["metadata"]["uid"]}
        await self._kube.request("DELETE", _path_of(pod), json={"gracePeriodSeconds": 0, "preconditions": uid})

    async def _renew(self) -> None:
        while True:
            for name in [name for name, silent in self._silent.items() if not silent]:
                with contextlib.suppress(httpx.TransportError):
                    await self._renew_lease(name)
            await asyncio.sleep(LEASE_EVERY_S)

    async def _renew_lease(self, node: str) -> None:
        spec = {
            "holderIdentity": node,
            "leaseDurationSeconds": LEASE_S,
            "renewTime": reports.now("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        answer = await self._patch(f"{LEASES}/{node}", {"spec": spec})
        if answer.status_code == httpx.codes.NOT_FOUND:
            await self._kube.post(LEASES, json={"metadata": {"name": node}, "spec": spec})

    async def _patch(self, path: str, body: dict[str, Any]) -> httpx.Response:
        answer = await self._kube.patch(path, content=json.dumps(body), headers=STRATEGIC_PATCH)
        if answer.status_code not in (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT):
            answer.raise_for_status()
        return answer

    async def _clean_up(self) -> None:
        for pod in (await self._kube.get("/api/v1/pods")).json()["items"]:
            if pod["spec"].get("nodeName") in self._silent:
                await self._remove_pod(pod)
        for name in self._silent:
            await self._kube.delete(f"{NODES}/{name}")
            await self._kube.delete(f"{LEASES}/{name}")


def _pod_path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{name}"


def _path_of(pod: dict[str, Any]) -> str:
    return _pod_path(pod["metadata"]["namespace"], pod["metadata"]["name"])


@pytest.fixture
async def kubelet(kube_server: ApiServer) -> AsyncIterator[FakeKubelet]:
    """A fake kubelet that has no nodes yet."""
    async with FakeKubelet(kube_server) as kubelet:
        yield kubelet
