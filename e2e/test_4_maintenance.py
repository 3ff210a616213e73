"""What a platform team does on a working day, with the stream on air: drain a node, roll out, upgrade, scale."""

import asyncio
import json

import pytest

from e2e.install import CHART, NAMESPACE, NEXT_TAG, RELEASE, REPOSITORY, TAG, helm_options
from e2e.kubectl import Cluster, Object, eventually, helm, kubectl, status
from e2e.parts import POOL_LABEL, WORKERS, as_many_as_wanted, deployed, is_ready, recovered, warm_spare
from e2e.seen import say
from e2e.show import Show
from e2e.surroundings import Surroundings
from e2e.watcher import Suffered

POOLS = ("h100x1", "h100x2")
LOOK_S = 30.0
"""How long what must not change is looked at."""


async def test_the_streams_node_is_drained(cluster: Cluster, show: Show, undisturbed: Suffered) -> None:
    """`kubectl drain` waits until the stream has left, and then the node is empty of workers."""
    await warm_spare(cluster)
    before = await show.live()
    pod = await cluster.pod(NAMESPACE, before["worker"])
    assert pod is not None
    node = pod["spec"]["nodeName"]
    try:
        await kubectl(
            *("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=150s"), timeout_s=160
        )
        await recovered(show, before)
        left = [one for one in await cluster.pods(NAMESPACE, WORKERS) if one["spec"].get("nodeName") == node]
        assert not left, [one["metadata"]["name"] for one in left]
    finally:
        await kubectl("uncordon", node)
    await deployed(cluster, "genlock-gateway", 2)
    await deployed(cluster, "genlock-operator", 2)
    await warm_spare(cluster)


async def test_a_new_worker_image_is_rolled_out(cluster: Cluster, show: Show, undisturbed: Suffered) -> None:
    before = await show.live()
    pool = str(before["pool"]).removeprefix(f"{NAMESPACE}/")
    image = f"{REPOSITORY}/worker:{TAG if (await image_of(cluster, pool)).endswith(NEXT_TAG) else NEXT_TAG}"
    patch = {"spec": {"template": {"image": image}}}
    await kubectl("patch", "wpl", pool, "--namespace", NAMESPACE, "--type=merge", "-p", json.dumps(patch))
    await recovered(show, before)

    def settled(pods: list[Object]) -> bool:
        return all(is_ready(pod) and pod["spec"]["containers"][0]["image"] == image for pod in pods)

    await eventually(
        lambda: cluster.pods(NAMESPACE, f"{WORKERS},{POOL_LABEL}={pool}"),
        settled,
        what="every worker has the new image",
        within_s=150.0,
    )
    await eventually(
        lambda: cluster.pool(NAMESPACE, pool),
        lambda seen: status(seen).get("updated") == status(seen).get("replicas"),
        what="the pool says that all are updated",
    )


async def test_the_chart_is_upgraded(
    cluster: Cluster, show: Show, surroundings: Surroundings, undisturbed: Suffered, request: pytest.FixtureRequest
) -> None:
    """Operators and gateways are replaced; workers are not touched, and viewers follow to the new gateways."""
    # What a rollout has left over goes first; from then on only sessions change how many there are, and none comes.
    for pool in POOLS:
        await as_many_as_wanted(cluster, pool)
    before = await show.live()
    pods = await restarts(cluster)
    options = await helm_options(
        surroundings,
        "operator.podAnnotations.upgraded=yes",
        "gateway.podAnnotations.upgraded=yes",
        *[f"pools.{pool}.template.image={await image_of(cluster, pool)}" for pool in POOLS],
    )
    await helm("upgrade", RELEASE, str(CHART), *options, "--wait", "--timeout=3m", timeout_s=200)
    deadline = asyncio.get_running_loop().time() + LOOK_S
    while asyncio.get_running_loop().time() < deadline:
        assert await restarts(cluster) == pods
        await asyncio.sleep(1)
    after = await show.live()
    assert (after["worker"], after["epoch"]) == (before["worker"], before["epoch"])
    assert after["stats"]["sinkDigest"] == before["stats"]["sinkDigest"]
    assert undisturbed.reconnects >= 1
    say(request, f"{len(pods)} worker pods with the same uids and restart counts for {LOOK_S:.0f} s")


async def image_of(cluster: Cluster, pool: str) -> str:
    """What the pool's workers run: its template's image, else the installation's."""
    found = await cluster.pool(NAMESPACE, pool)
    assert found is not None
    return str(found["spec"]["template"].get("image") or f"{REPOSITORY}/worker:{TAG}")


async def restarts(cluster: Cluster) -> dict[str, int]:
    """The workers' pods by uid, and how often their containers were started again."""
    return {
        pod["metadata"]["uid"]: sum(one["restartCount"] for one in pod["status"].get("containerStatuses", []))
        for pod in await cluster.pods(NAMESPACE, WORKERS)
    }


async def test_a_pool_is_scaled_out_and_in(cluster: Cluster, show: Show, undisturbed: Suffered) -> None:
    """`kubectl scale` sets a floor: the worker that serves stays, whichever others go."""
    before = await show.live()
    await kubectl("scale", "wpl/h100x1", "--namespace", NAMESPACE, "--replicas=3")
    await eventually(
        lambda: cluster.pool(NAMESPACE, "h100x1"),
        lambda seen: status(seen).get("ready") == 3,
        what="three workers ready",
        within_s=90.0,
    )
    await kubectl("scale", "wpl/h100x1", "--namespace", NAMESPACE, "--replicas=1")
    await eventually(
        lambda: cluster.pool(NAMESPACE, "h100x1"),
        lambda seen: status(seen).get("replicas") == 2 and not status(seen).get("draining"),
        what="one that serves and one that is warm",
        within_s=90.0,
    )
    after = await show.live()
    assert (after["worker"], after["epoch"]) == (before["worker"], before["epoch"])
