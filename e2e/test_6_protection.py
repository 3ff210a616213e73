"""What nobody may do: delete a worker that carries a stream, reach Redis or a worker's link, run as root."""

import asyncio
import json

import pytest

from e2e.install import NAMESPACE, REPOSITORY, STUDIO, TAG
from e2e.kubectl import Cluster, CommandFailed, Object, apply, eventually, kubectl, refusal
from e2e.parts import REDIS, STATE_LABEL, WORKERS
from e2e.show import Show
from e2e.watcher import Suffered

LINK_PORT, REDIS_PORT = 7_000, 6_379


async def serving(cluster: Cluster, show: Show) -> str:
    """The stream's worker, once its pod is labelled as serving."""
    worker = str((await show.live())["worker"])
    await eventually(
        lambda: cluster.pod(NAMESPACE, worker),
        lambda pod: (pod or {})["metadata"]["labels"].get(STATE_LABEL) == "Serving",
        what=f"{worker} is labelled Serving",
    )
    return worker


async def test_a_worker_that_carries_a_stream_cannot_be_deleted(
    cluster: Cluster, show: Show, undisturbed: Suffered
) -> None:
    worker = await serving(cluster, show)
    answer = await refusal("delete", "pod", worker, "--namespace", NAMESPACE)
    assert "carries live streams" in answer, answer
    assert "genlock.dev/drain" in answer  # what to do instead
    assert await cluster.pod(NAMESPACE, worker)


async def test_a_worker_that_carries_a_stream_cannot_be_evicted(
    cluster: Cluster, show: Show, undisturbed: Suffered
) -> None:
    worker = await serving(cluster, show)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": worker, "namespace": NAMESPACE}}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{worker}/eviction"
    answer = await refusal("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    assert "disruption budget" in answer, answer


async def test_a_stranger_reaches_neither_redis_nor_a_workers_link(cluster: Cluster, show: Show) -> None:
    """A pod of another namespace, and one of the sessions' own; both do reach the gateways."""
    worker = await cluster.pod(NAMESPACE, (await show.live())["worker"])
    (redis,) = [pod for pod in await cluster.pods(NAMESPACE, REDIS) if pod["status"]["phase"] == "Running"]
    gateway = await cluster.get(f"/api/v1/namespaces/{NAMESPACE}/services/front")
    assert worker is not None
    assert gateway is not None
    targets = {
        "redis": (redis["status"]["podIP"], REDIS_PORT),
        "link": (worker["status"]["podIP"], LINK_PORT),
        "gateway": (gateway["spec"]["clusterIP"], 80),
    }
    reached = await asyncio.gather(*(stranger(cluster, namespace, targets) for namespace in ("default", STUDIO)))
    for answer in reached:
        assert answer == {"redis": False, "link": False, "gateway": True}


async def stranger(cluster: Cluster, namespace: str, targets: dict[str, tuple[str, int]]) -> dict[str, bool]:
    """Which of the targets a pod of a namespace can connect to."""
    code = (
        "import json, socket, sys, time\n"
        "time.sleep(2)\n"  # a pod's first moments may precede its rules
        "def reached(host, port):\n"
        "    try: socket.create_connection((host, port), timeout=3).close(); return True\n"
        "    except OSError: return False\n"
        "print(json.dumps({name: reached(*at) for name, at in json.loads(sys.argv[1]).items()}))"
    )
    container = {
        "name": "main",
        "image": f"{REPOSITORY}/worker:{TAG}",
        "command": ["python3", "-c", code, json.dumps(targets)],
        "securityContext": {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }  # fmt: skip
    await kubectl("delete", "pod", "stranger", "--namespace", namespace, "--ignore-not-found")
    await apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "stranger", "namespace": namespace},
            "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]},
        }
    )
    await eventually(
        lambda: cluster.pod(namespace, "stranger"),
        lambda pod: (pod or {})["status"]["phase"] == "Succeeded",
        what="the stranger has tried",
    )
    answer = await kubectl("logs", "stranger", "--namespace", namespace)
    await kubectl("delete", "pod", "stranger", "--namespace", namespace, "--wait=false")
    return dict(json.loads(answer))


async def test_all_of_it_runs_at_the_restricted_level_and_streams_have_no_token(cluster: Cluster) -> None:
    """The namespaces were labelled before anything was installed: what runs there was let in by that level."""
    with pytest.raises(CommandFailed, match="restricted"):
        await kubectl("run", "root", "--image", "any", "--namespace", NAMESPACE, "--privileged")
    for pod in await cluster.pods(NAMESPACE):
        if pod["metadata"]["labels"].get("app.kubernetes.io/name") == "genlock-operator":
            continue
        assert not token_of(pod), f"{pod['metadata']['name']} has a token for the API server"
    assert await cluster.pods(NAMESPACE, WORKERS)


def token_of(pod: Object) -> bool:
    return any(
        "serviceAccountToken" in source
        for volume in pod["spec"].get("volumes", [])
        for source in volume.get("projected", {}).get("sources", [])
    )
