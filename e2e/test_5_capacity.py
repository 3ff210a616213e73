"""When a session cannot be placed the cluster says why, in its condition and in an Event, and goes on by itself."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from e2e.install import NAMESPACE, STUDIO
from e2e.kubectl import Cluster, Object, apply, condition, eventually, kubectl, status
from e2e.parts import assigned
from e2e.show import session


def pool(name: str, **spec: object) -> Object:
    """A WorkerPool of small mock workers."""
    shape = {
        "model": "wan2.1-1.3b",
        "engine": "mock",
        "gpu": {"product": "NVIDIA-H100", "count": 1},
        "replicas": 0,
        "sessionNamespaces": "All",
        "scaleInAfter": "5s",
        # Without a model's timing, as the worker's image has profiles of real models alone.
        "template": {"compute": {"cpu": "200m", "memory": "384Mi"}, "env": {"GENLOCK_WORKER_INSTANT": "yes"}},
    }
    return {
        "apiVersion": "genlock.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {**shape, **spec},
    }


@pytest_asyncio.fixture
async def leaves_nothing(cluster: Cluster) -> AsyncIterator[None]:
    """What a test made besides the chart's pools and the show is gone after it."""
    yield
    await leave_nothing(cluster)


async def leave_nothing(cluster: Cluster) -> None:
    """Delete all sessions but the show, and all pools but the chart's."""
    sessions = [
        one["metadata"]["name"]
        for one in await cluster.items(f"/apis/genlock.dev/v1alpha1/namespaces/{STUDIO}/streamsessions")
        if one["metadata"]["name"] != "show"
    ]
    if sessions:
        await kubectl("delete", "ssn", "--namespace", STUDIO, *sessions)
    pools = [
        one["metadata"]["name"]
        for one in await cluster.items(f"/apis/genlock.dev/v1alpha1/namespaces/{NAMESPACE}/workerpools")
        if not one["metadata"]["name"].startswith("h100")
    ]
    if pools:
        await kubectl("delete", "wpl", "--namespace", NAMESPACE, *pools, "--timeout=60s")


async def refused(cluster: Cluster, name: str, kind: str, reason: str) -> str:
    """The message of a session's condition once it is False for that reason; an Event says the same."""
    found = await eventually(
        lambda: cluster.session(STUDIO, name),
        lambda seen: condition(seen, kind)[:2] == ("False", reason),
        what=f"{name}: {kind} False, {reason}",
    )
    await eventually(
        lambda: cluster.events(STUDIO, name),
        lambda events: any(one == reason for one, _ in events),
        what=f"an Event {reason}",
    )
    assert status(found)["phase"] == "Pending"
    return condition(found, kind)[2]


@pytest.mark.usefixtures("leaves_nothing")
async def test_a_full_pool_says_so_and_its_new_max_lets_the_next_one_in(cluster: Cluster) -> None:
    await apply(pool("tiny", model="tiny", gpu={"product": "NVIDIA-H100", "count": 1}, max=1))
    await apply(profile("tiny"))
    await apply(session("first", model="tiny"))
    await assigned(cluster, "first", within_s=60)
    await apply(session("second", model="tiny"))
    message = await refused(cluster, "second", "Assigned", "PoolFull")
    assert "tiny" in message, message
    told = await eventually(
        lambda: cluster.pool(NAMESPACE, "tiny"),
        lambda seen: condition(seen, "ScalingLimited")[:2] == ("True", "AtMax") and status(seen).get("waiting") == 1,
        what="the pool says that it is at its max",
    )
    assert status(told)["serving"] == 1
    table = await kubectl("get", "wpl", "tiny", "--namespace", NAMESPACE)
    assert "AtMax" in table or "1" in table, table
    await kubectl("patch", "wpl", "tiny", "--namespace", NAMESPACE, "--type=merge", "-p", '{"spec":{"max":2}}')
    await assigned(cluster, "second", within_s=60)


def profile(name: str) -> Object:
    row = {"gpuProduct": "NVIDIA-H100", "gpus": 1, "resolution": "832x480", "steps": 2, "fpsPerSession": 17.0}
    return {
        "apiVersion": "genlock.dev/v1alpha1",
        "kind": "ModelProfile",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"rows": [{**row, "source": "made up for a test"}]},
    }


@pytest.mark.usefixtures("leaves_nothing")
async def test_a_model_without_a_pool_or_a_profile_is_named(cluster: Cluster) -> None:
    await apply(session("no-pool", model="nobodys-model"))
    assert "nobodys-model" in await refused(cluster, "no-pool", "Placed", "NoPool")
    await apply(pool("unmeasured", model="unmeasured"), session("no-profile", model="unmeasured"))
    assert "unmeasured" in await refused(cluster, "no-profile", "Placed", "NoProfile")


@pytest.mark.usefixtures("leaves_nothing")
async def test_a_session_that_no_shape_serves_in_time_is_told_what_would_help(cluster: Cluster) -> None:
    await apply(session("greedy", qualityMode="quality", frameRate=60))
    message = await refused(cluster, "greedy", "Placed", "NoPoolOfShape")
    assert "h100x2" in message
    assert "60 fps are needed" in message


@pytest.mark.usefixtures("leaves_nothing")
async def test_workers_that_no_node_has_gpus_for_are_told_of(cluster: Cluster) -> None:
    await apply(profile("large"))
    await apply(pool("large", model="large", gpu={"product": "NVIDIA-H100", "count": 16}))
    patch = [{"op": "replace", "path": "/spec/rows/0/gpus", "value": 16}]
    await kubectl("patch", "mpf", "large", "--namespace", NAMESPACE, "--type=json", "-p", json.dumps(patch))
    await apply(session("huge", model="large"))
    message = await refused(cluster, "huge", "Assigned", "InsufficientGPUs")
    assert "nvidia.com/gpu" in message, message
    await eventually(
        lambda: cluster.pool(NAMESPACE, "large"),
        lambda seen: condition(seen, "ScalingLimited")[:2] == ("True", "InsufficientGPUs"),
        what="the pool says what it lacks",
    )


@pytest.mark.usefixtures("leaves_nothing")
async def test_two_sessions_that_fit_share_a_worker(cluster: Cluster) -> None:
    """26 frames a second were measured at 512x512 and one step: two sessions of 12 have the one worker."""
    for name in ("left", "right"):
        await apply(session(name, qualityMode="low-latency", frameRate=12))
        await assigned(cluster, name)
    left, right = [await assigned(cluster, name) for name in ("left", "right")]
    assert left["worker"] == right["worker"]
