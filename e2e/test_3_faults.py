"""Things die under the stream: it goes on, with its sinks, and whoever watches sees no cut."""

import asyncio
import time

import pytest

from e2e.install import NAMESPACE, STUDIO
from e2e.kubectl import Cluster, apply, eventually, kubectl, run
from e2e.parts import GATEWAYS, OPERATORS, REDIS, assigned, deployed, is_ready, kill, recovered, warm_spare
from e2e.seen import say
from e2e.show import FRAME_RATE, Show, session
from e2e.surroundings import Surroundings
from e2e.watcher import Suffered


async def test_a_workers_pod_dies(cluster: Cluster, show: Show, undisturbed: Suffered) -> None:
    await warm_spare(cluster)
    before = await show.live()
    await kill(before["worker"])
    after = await recovered(show, before)
    await show.told(after["worker"])
    told = await cluster.events(STUDIO, show.name)
    assert "Moved" in {reason for reason, _ in told}, told
    await warm_spare(cluster)  # the pool has made up for the loss


async def test_a_workers_process_dies(
    cluster: Cluster, show: Show, surroundings: Surroundings, undisturbed: Suffered
) -> None:
    await warm_spare(cluster)
    before = await show.live()
    await kill_process(cluster, surroundings, before["worker"])
    after = await recovered(show, before)
    await show.told(after["worker"])


async def kill_process(cluster: Cluster, surroundings: Surroundings, pod: str) -> None:
    """SIGKILL to what runs in a pod, from its node: PID 1 of a container does not hear it from inside."""
    found = await cluster.pod(NAMESPACE, pod)
    assert found is not None
    uid = found["metadata"]["uid"]
    script = (
        f"for process in $(grep -lE '{uid}|{uid.replace('-', '_')}' /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3); do "
        "[ $(cat /proc/$process/comm) = pause ] || kill -9 $process; done"
    )
    await run(*surroundings.on_node, found["spec"]["nodeName"], "sh", "-c", script)


async def test_a_gateway_leaves(cluster: Cluster, show: Show, undisturbed: Suffered) -> None:
    """`kubectl delete pod` of every gateway, one after the other: clients are asked to reconnect, and follow."""
    for pod in await cluster.pods(NAMESPACE, GATEWAYS):
        await kubectl("delete", "pod", "--namespace", NAMESPACE, pod["metadata"]["name"])
        await deployed(cluster, "genlock-gateway", 2)
    assert undisturbed.reconnects >= 1


async def test_all_gateways_die_at_once(cluster: Cluster, show: Show, request: pytest.FixtureRequest) -> None:
    """Nobody can hide that: clients find the new ones by themselves, and the stream is the old one."""
    before = await show.live()
    with show.watcher.excused(), show.watcher.since() as suffered:
        await kill(*(pod["metadata"]["name"] for pod in await cluster.pods(NAMESPACE, GATEWAYS)))
        await asyncio.sleep(1)  # so that the old pictures are over
        await show.watcher.frames(20)
        await deployed(cluster, "genlock-gateway", 2)
        # The viewer may be back before the publisher is: then its pictures stop once more, for the same reason.
        await eventually(show.view, lambda seen: seen.get("publisher"), what="the publisher is back")
        after = await show.live()
        await show.watcher.frames(3 * FRAME_RATE)
    say(request, str(suffered))
    assert after["stats"]["sinkDigest"] == before["stats"]["sinkDigest"]


async def test_both_operators_die_and_a_worker_after_them(
    cluster: Cluster, show: Show, undisturbed: Suffered, request: pytest.FixtureRequest
) -> None:
    await warm_spare(cluster)
    before = await show.live()
    await kubectl("scale", "deployment/genlock-operator", "--namespace", NAMESPACE, "--replicas=0")
    await eventually(lambda: cluster.pods(NAMESPACE, OPERATORS), lambda pods: not pods, what="no operator")
    await kill(before["worker"])
    after = await recovered(show, before)  # the gateway has moved it by itself
    await kubectl("scale", "deployment/genlock-operator", "--namespace", NAMESPACE, "--replicas=2")
    began = time.monotonic()
    await show.told(after["worker"])
    say(request, f"status true again {time.monotonic() - began:.1f} s after the operator was wanted back")
    await warm_spare(cluster)


async def test_the_leading_operator_dies(cluster: Cluster, show: Show, request: pytest.FixtureRequest) -> None:
    await deployed(cluster, "genlock-operator", 2)
    leader = await lease_holder(cluster)
    names = [pod["metadata"]["name"] for pod in await cluster.pods(NAMESPACE, OPERATORS)]
    await kill(next(name for name in names if name in leader))
    began = time.monotonic()
    await eventually(lambda: lease_holder(cluster), lambda now: now and now != leader, what="another leader")
    took_s = time.monotonic() - began
    say(request, f"another leader after {took_s:.1f} s")
    await apply(session("after-failover", qualityMode="low-latency", frameRate=12))
    await assigned(cluster, "after-failover")
    say(request, f"its first assignment {time.monotonic() - began:.1f} s after the kill")
    await kubectl("delete", "ssn", "after-failover", "--namespace", STUDIO)
    assert took_s < 15  # under 5 s where the machine has nothing else to do


async def lease_holder(cluster: Cluster) -> str:
    leases = await cluster.items(f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases")
    return next(
        (str(one["spec"].get("holderIdentity", "")) for one in leases if "operator" in one["metadata"]["name"]), ""
    )


async def test_redis_dies_with_all_that_it_knew(cluster: Cluster, show: Show, undisturbed: Suffered) -> None:
    before = await show.live()
    (redis,) = await cluster.pods(NAMESPACE, REDIS)
    await kill(redis["metadata"]["name"])
    await eventually(
        lambda: cluster.pods(NAMESPACE, REDIS),
        lambda pods: any(is_ready(pod) for pod in pods if pod["metadata"]["uid"] != redis["metadata"]["uid"]),
        what="another Redis",
        within_s=90.0,
    )
    await asyncio.sleep(8)  # longer than nobody is moved by lease after a loss
    after = await show.live()
    assert after["worker"] == before["worker"]
    assert after["stats"]["sinkDigest"] == before["stats"]["sinkDigest"]
    await apply(session("after-the-loss", qualityMode="low-latency", frameRate=12))
    await assigned(cluster, "after-the-loss")
    await kubectl("delete", "ssn", "after-the-loss", "--namespace", STUDIO)
