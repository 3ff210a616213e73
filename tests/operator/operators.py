"""Operators in the test's own loop, on a real API server and a real Redis; workers that are registered by hand.

`run_operator` is one replica, from start to a polite end. `Fleet` plays worker processes: each registers, and keeps its
leases alive until it is told to stop.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from redis.exceptions import RedisError

from genlock_core import store as stores
from genlock_core.claims.claims import Claims
from genlock_core.claims.identity import CAPACITY, FormatRange, WorkerIdentity, WorkerOffer
from genlock_core.clock import SystemClock
from genlock_core.levelling.told import ToldPools
from genlock_core.store import Store
from genlock_core.stream_state.control import ControlChange, ControlStream
from genlock_operator.kube import credentials
from genlock_operator.operator import Operator
from genlock_operator.settings import parse_settings
from tests.api_server import ApiServer

TIMEOUT_S = 20.0
POLL_S = 0.02
GROUP = "/apis/genlock.dev/v1alpha1"
ROOTS = {
    "pods": "/api/v1",
    "resourcequotas": "/api/v1",
    "events": "/apis/events.k8s.io/v1",
    "leases": "/apis/coordination.k8s.io/v1",
}
"""Of what is not Genlock's."""


def arguments(server: ApiServer, redis_url: str, namespace: str, *more: str) -> list[str]:
    """The command line of an operator for one namespace."""
    return [
        *("--redis", redis_url, "--namespaces", namespace, "--kubeconfig", str(server.kubeconfig)),
        *("--health", "127.0.0.1:0", "--public-url", "https://live.example.org/", "--worker-image", "worker:1"),
        *more,
    ]


@asynccontextmanager
async def run_operator(
    server: ApiServer,
    redis_url: str,
    namespace: str,
    *more: str,
    prepare: Callable[[Operator], None] = lambda _operator: None,
) -> AsyncIterator[Operator]:
    """An operator that has listed everything; `prepare` may change it before it starts."""
    settings = parse_settings(arguments(server, redis_url, namespace, *more), {})
    store = stores.connect(redis_url)
    configuration = await credentials.load(Path(server.kubeconfig))
    operator = Operator(settings, configuration=configuration, store=store, clock=SystemClock())
    prepare(operator)
    stop, ready = asyncio.Event(), asyncio.Event()
    await operator.start()
    running = asyncio.create_task(operator.run(stop, ready=ready))
    try:
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({running, waiting}, timeout=TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        assert ready.is_set(), "the operator has not listed everything in time"
        yield operator
    finally:
        stop.set()
        with suppress(asyncio.CancelledError):
            await running
        await store.aclose()


class Fleet:
    """Worker processes as Redis knows them."""

    def __init__(self, store: Store) -> None:
        self.claims, self._control = Claims(store), ControlStream(store)
        self.told = ToldPools(store)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._followed: set[str] = set()

    async def add(
        self, name: str, pool: str, *, model: str = "wan2.1-1.3b", capacity: int = CAPACITY
    ) -> WorkerIdentity:
        """A worker of the pool `namespace/name`, ready for claims."""
        identity = WorkerIdentity.fresh(name)
        await self.claims.register(
            WorkerOffer(identity, pool, model, CAPACITY, f"{name}:7000", FormatRange(1, 1), "NVIDIA-H100", 4)
        )
        self._tasks[name] = asyncio.create_task(self._beat(identity))
        return identity

    async def follow(self, cluster: "Cluster") -> None:
        """Be the worker process in every ready pod of the namespace, until it goes."""
        while True:
            there = {}
            for pod in await cluster.all("pods"):
                conditions = {one["type"]: one["status"] for one in pod.get("status", {}).get("conditions", [])}
                labels = pod["metadata"]["labels"]
                if conditions.get("Ready") == "True" and labels.get("genlock.dev/role") == "worker":
                    there[pod["metadata"]["name"]] = labels["genlock.dev/pool"]
            for name, pool in there.items():
                if name not in self._tasks:
                    await self.add(name, f"{cluster.namespace}/{pool}")
            for name in [name for name in self._followed if name not in there]:
                self._tasks.pop(name).cancel()
            self._followed = set(there)
            await asyncio.sleep(0.1)

    def play(self, cluster: "Cluster") -> None:
        """`follow` until `stop`."""
        self._tasks["follow"] = asyncio.create_task(self.follow(cluster))

    async def has_no(self, session: str) -> bool:
        """Whether the session has no record."""
        return await self.claims.record(session) is None

    async def is_decided_on_by(self, pool: str, who: str) -> bool:
        """Whether that one has told last how the levels of the pool stand."""
        told = await self.told.levels(pool)
        return told is not None and told.by == who

    async def changes(self, session: str) -> list[ControlChange]:
        """What the session's control stream holds."""
        return [entry.change for entry in await self._control.read(session)]

    async def stop(self) -> None:
        """End all of them; a cancellation may be taken for a fault of Redis, so it is said until it is heard."""
        pending = set(self._tasks.values())
        while pending:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=0.5)

    async def _beat(self, identity: WorkerIdentity) -> None:
        for progress in itertools.count(1):
            with suppress(RedisError):
                await self.claims.renew(identity, progress=progress, links={})
            await asyncio.sleep(0.3)


async def until(what: str, check: Callable[[], Any], *, timeout_s: float = TIMEOUT_S) -> Any:
    """The first truthy answer of `check`, which may be a coroutine function. Fails with `what` after a while."""
    answer: Any = None
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while True:
                answer = check()
                if asyncio.iscoroutine(answer):
                    answer = await answer
                if answer:
                    return answer
                await asyncio.sleep(POLL_S)
    raise AssertionError(f"{what}: not within {timeout_s:g} s; last seen {answer!r}")


class Cluster:
    """What a person does with kubectl, in one namespace."""

    def __init__(self, kube: httpx.AsyncClient, namespace: str) -> None:
        self._kube, self.namespace = kube, namespace

    def path(self, plural: str, name: str = "") -> str:
        return f"{ROOTS.get(plural, GROUP)}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    async def create(self, plural: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        version = ROOTS.get(plural, GROUP).removeprefix("/apis/").removeprefix("/api/")
        body = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}
        return await self._answer(self._kube.post(self.path(plural), json=body))

    async def session(self, name: str, **spec: Any) -> dict[str, Any]:
        """Create a StreamSession."""
        return await self.create("streamsessions", "StreamSession", name, {"source": {"type": "testPattern"}, **spec})

    async def pool(self, name: str, **spec: Any) -> dict[str, Any]:
        """Create a WorkerPool of four H100s; without `max` it makes no pods of its own."""
        whole = {
            "model": "wan2.1-1.3b",
            "engine": "mock",
            "gpu": {"product": "NVIDIA-H100", "count": 4},
            "replicas": 0,
            "max": 0,
            "scaleInAfter": "1h",
            **spec,
        }
        return await self.create("workerpools", "WorkerPool", name, whole)

    async def profile(self, fps: dict[int, float] | None = None) -> dict[str, Any]:
        """Create the model's profile: frames per second at one step by the number of GPUs, and in proportion."""
        rows = [
            {
                "resolution": "832x480",
                "steps": steps,
                "gpuProduct": "NVIDIA-H100",
                "gpus": gpus,
                "fpsPerSession": at_one_step / steps,
                "source": "a test",
            }
            for gpus, at_one_step in (fps or {4: 64.0}).items()
            for steps in (1, 2, 3, 4)
        ]
        return await self.create("modelprofiles", "ModelProfile", "wan2.1-1.3b", {"rows": rows})

    async def get(self, plural: str, name: str) -> dict[str, Any]:
        return await self._answer(self._kube.get(self.path(plural, name)))

    async def all(self, plural: str) -> list[dict[str, Any]]:
        answer = await self._answer(self._kube.get(self.path(plural)))
        return list(answer["items"])

    async def patch(self, plural: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/merge-patch+json"}
        return await self._answer(self._kube.patch(self.path(plural, name), json=body, headers=headers))

    async def delete(self, plural: str, name: str) -> None:
        await self._answer(self._kube.delete(self.path(plural, name)))

    async def condition(self, plural: str, name: str, type_: str) -> dict[str, Any]:
        """The condition as it is stored, {} without one."""
        conditions = (await self.get(plural, name)).get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == type_), {})

    async def status(self, name: str) -> dict[str, Any]:
        """A session's status, {} while it has none."""
        return dict((await self.get("streamsessions", name)).get("status", {}))

    async def in_phase(self, name: str, phase: str) -> dict[str, Any]:
        """A session's status, once it is in that phase."""

        async def look() -> dict[str, Any]:
            status = await self.status(name)
            return status if status.get("phase") == phase else {}

        return dict(await until(f"{name} is {phase}", look))

    async def pods(self, state: str | None = None) -> dict[str, dict[str, Any]]:
        """The pods that are not on their way out, by name (of this state)."""
        return {
            pod["metadata"]["name"]: pod
            for pod in await self.all("pods")
            if "deletionTimestamp" not in pod["metadata"]
            and state in (None, pod["metadata"]["labels"].get("genlock.dev/state"))
        }

    async def has_pods(self, count: int, state: str | None = None) -> bool:
        """Whether there are that many pods (of this state)."""
        return len(await self.pods(state)) == count

    async def lease(self, name: str) -> dict[str, Any]:
        """A Lease of the namespace."""
        return await self.get("leases", name)

    async def take_lease(self, name: str, holder: str) -> None:
        """Be the holder, as if the clock of the one before stood still."""
        await self.patch("leases", name, {"spec": {"holderIdentity": holder}})

    async def is_on(self, name: str, worker: str) -> bool:
        """Whether that worker has the session."""
        return (await self.status(name)).get("worker") == worker

    async def observed(self, name: str, generation: int) -> bool:
        """Whether the session's status speaks of that generation."""
        return (await self.status(name)).get("observedGeneration") == generation

    async def reason(self, name: str, condition: str, reason: str) -> bool:
        """Whether the session's condition has that reason."""
        return (await self.condition("streamsessions", name, condition)).get("reason") == reason

    async def told(self, name: str, reason: str) -> bool:
        """Whether there is an Event about an object of that name, with that reason."""
        return reason in await self.events(name)

    async def events(self, name: str) -> list[str]:
        """The reasons of the Events about an object of that name."""
        return [one["reason"] for one in await self.all("events") if one["regarding"]["name"] == name]

    async def _answer(self, request: Any) -> dict[str, Any]:
        answer = await request
        assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.text}"
        return dict(answer.json())
