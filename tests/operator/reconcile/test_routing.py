"""Whose plan a change concerns: the keys that are queued for it, in their order."""

from dataclasses import replace

import pytest

from genlock_core.clock import ManualClock
from genlock_operator.kube.api import MODEL_PROFILES, NODES, PODS, STREAM_SESSIONS, WORKER_POOLS, Body, Resource
from genlock_operator.observed import Demand, Meta, PoolResource, SessionResource
from genlock_operator.plan.policy import POOL_LABEL, ROLE_LABEL
from genlock_operator.reconcile.pending import PendingSessions
from genlock_operator.reconcile.queue import WorkKey, WorkQueue, pool_key, session_key
from genlock_operator.reconcile.routing import Router
from genlock_operator.watch import facts
from genlock_operator.watch.caches import Caches, Profile

WARM = "studio/warm"
PROFILE = "studio/wan2.1-1.3b"


class Routed:
    """A router over caches that the test fills, and what it queued and told."""

    def __init__(self) -> None:
        self.caches = Caches()
        self.pending = PendingSessions()
        self.queue = WorkQueue(ManualClock())
        self.heard: list[tuple[Resource, str]] = []
        self.router = Router(self.caches, self.pending, self.queue, heard=self._hear)
        self._version = 0

    def _hear(self, resource: Resource, key: str) -> None:
        self.heard.append((resource, key))

    def metadata(self, key: str) -> Body:
        self._version += 1
        namespace, name = key.split("/")
        return {"namespace": namespace, "name": name, "uid": f"uid of {key}", "resourceVersion": f"{self._version}"}

    def session(self, key: str) -> None:
        self.caches.sessions.put(SessionResource(facts.meta_of({"metadata": self.metadata(key)}), b"{}", b""))

    def pool(self, key: str = WARM, *, replicas: int = 0, gpus: int = 4) -> PoolResource:
        gpu = {"product": "NVIDIA-H100", "count": gpus}
        spec = {"model": "wan2.1-1.3b", "engine": "mock", "gpu": gpu, "replicas": replicas}
        pool = facts.pool_of({"metadata": self.metadata(key), "spec": spec})
        self.caches.pools.put(pool)
        return pool

    def profile(self, rows: list[Body]) -> None:
        body = {"metadata": self.metadata(PROFILE), "spec": {"rows": rows}}
        self.caches.profiles.put(Profile(facts.meta_of(body), facts.rows_of(body)))

    def changed(self, resource: Resource, key: str) -> list[WorkKey]:
        """Tell of a change; the keys that it queues."""
        self.router.changed(resource, key)
        keys = []
        while (taken := self.queue.take()) is not None:
            keys.append(taken)
            self.queue.done(taken, failed=False)
        return keys


@pytest.fixture
def routed() -> Routed:
    return Routed()


def test_a_session_concerns_itself_and_is_heard_of_first(routed: Routed) -> None:
    assert routed.changed(STREAM_SESSIONS, "studio/a") == [session_key("studio/a")]
    assert routed.heard == [(STREAM_SESSIONS, "studio/a")]


def test_a_pod_concerns_its_pool_also_when_it_is_gone(routed: Routed) -> None:
    labels = {POOL_LABEL: "warm", ROLE_LABEL: "worker"}
    pod = facts.pod_of({"metadata": {**routed.metadata("studio/warm-0"), "labels": labels}})
    assert pod is not None
    routed.caches.pods.put(pod)
    assert routed.changed(PODS, "studio/warm-0") == [pool_key(WARM)]

    routed.caches.pods.drop("studio/warm-0", pod.meta.uid)

    assert routed.changed(PODS, "studio/warm-0") == [pool_key(WARM)]
    assert routed.changed(PODS, "studio/warm-0") == []


def test_a_node_concerns_every_pool(routed: Routed) -> None:
    routed.pool(WARM)
    routed.pool("studio/large")

    assert set(routed.changed(NODES, "/node-a")) == {pool_key(WARM), pool_key("studio/large")}


def test_a_new_pool_concerns_every_session_and_first_those_that_wait(routed: Routed) -> None:
    for name in ("studio/a", "studio/b", "studio/c"):
        routed.session(name)
    routed.pending.note("studio/c", Demand("studio/c", WARM, 250, 0))
    routed.pool()

    keys = routed.changed(WORKER_POOLS, WARM)

    assert keys[:2] == [pool_key(WARM), session_key("studio/c")]
    assert set(keys[2:]) == {session_key("studio/a"), session_key("studio/b")}


def test_of_a_pool_only_what_placement_reads_concerns_sessions(routed: Routed) -> None:
    routed.session("studio/a")
    routed.pool()
    routed.changed(WORKER_POOLS, WARM)

    routed.pool(replicas=3)
    assert routed.changed(WORKER_POOLS, WARM) == [pool_key(WARM)]

    routed.pool(gpus=8)
    assert routed.changed(WORKER_POOLS, WARM) == [pool_key(WARM), session_key("studio/a")]


def test_a_pool_that_goes_concerns_every_session(routed: Routed) -> None:
    routed.session("studio/a")
    pool = routed.pool()
    routed.changed(WORKER_POOLS, WARM)

    routed.caches.pools.drop(WARM, pool.meta.uid)

    assert routed.changed(WORKER_POOLS, WARM) == [pool_key(WARM), session_key("studio/a")]


def test_of_a_profile_only_other_rows_concern_sessions(routed: Routed) -> None:
    routed.session("studio/a")
    row = {
        "resolution": {"width": 832, "height": 480},
        "steps": 2,
        "gpuProduct": "NVIDIA-H100",
        "gpus": 4,
        "fpsPerSession": 32.0,
        "source": "a test",
    }
    routed.profile([row])
    assert routed.changed(MODEL_PROFILES, PROFILE) == [session_key("studio/a")]

    routed.profile([row])
    assert routed.changed(MODEL_PROFILES, PROFILE) == []

    routed.profile([{**row, "fpsPerSession": 16.0}])
    assert routed.changed(MODEL_PROFILES, PROFILE) == [session_key("studio/a")]


def test_an_object_made_anew_under_its_name_is_another_pool(routed: Routed) -> None:
    routed.session("studio/a")
    pool = routed.pool()
    routed.changed(WORKER_POOLS, WARM)
    meta: Meta = replace(pool.meta, uid="another", resource_version="100")

    routed.caches.pools.put(replace(pool, meta=meta))

    assert session_key("studio/a") in routed.changed(WORKER_POOLS, WARM)
