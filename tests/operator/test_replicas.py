"""Two replicas: one acts, the other knows everything; when the first dies, the second goes on and repeats nothing."""

import asyncio
import logging
import os
import signal
import sys
import time

import pytest

from genlock_operator.kube.lease import DURATION_S
from genlock_operator.reconcile.executor import ActionResult, RealAction
from tests.api_server import ApiServer
from tests.operator.operators import Cluster, Fleet, arguments, run_operator, until

logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.apiserver, pytest.mark.usefixtures("crds", "priority_classes")]


async def start(server: ApiServer, redis_url: str, namespace: str, name: str) -> asyncio.subprocess.Process:
    """A replica as a process of its own, once it has listed everything."""
    command = [sys.executable, "-m", "genlock_operator.main", *arguments(server, redis_url, namespace)]
    process = await asyncio.create_subprocess_exec(
        *command, "--identity", name, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    line = await process.stdout.readline()
    assert line.startswith(b"ready "), (await process.communicate())[1].decode()
    return process


async def holder(cluster: Cluster) -> str:
    return str((await cluster.lease("genlock-operator"))["spec"]["holderIdentity"])


async def test_the_second_replica_goes_on_where_the_first_was_killed(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster, fleet: Fleet
) -> None:
    acted_s: list[float] = []

    def acted(_action: RealAction, _result: ActionResult) -> None:
        acted_s.append(time.monotonic())

    await cluster.profile()
    await cluster.pool("warm")
    await fleet.add("w0", f"{namespace}/warm")
    first = await start(kube_server, redis_url, namespace, "first")
    await until("the first one leads", lambda: _holds(cluster, "first"))
    await until("it decides on levels", lambda: fleet.is_decided_on_by(f"{namespace}/warm", "operator first"))
    async with run_operator(kube_server, redis_url, namespace, "--identity", "second") as second:
        await cluster.session("before")
        status = await cluster.in_phase("before", "Assigned")
        await until("an Event tells of it", lambda: cluster.told("before", "Assigned"))
        assert not second.leader.may_act()
        second.executor.done = acted
        os.kill(first.pid, signal.SIGKILL)
        killed_s = time.monotonic()
        await cluster.session("after")
        await cluster.in_phase("after", "Assigned")
        await until("so does the other one", lambda: fleet.is_decided_on_by(f"{namespace}/warm", "operator second"))
        lease = (await cluster.lease("genlock-operator"))["spec"]
        assert await cluster.status("before") == status
    logger.info("from SIGKILL of the leader to the next one's first action: %.2f s", acted_s[0] - killed_s)
    await first.communicate()
    assert (lease["holderIdentity"], lease["leaseTransitions"]) == ("second", 2)
    assert lease["leaseDurationSeconds"] == DURATION_S
    assert (await cluster.events("before")).count("Assigned") == 1


async def test_a_replica_that_is_told_to_stop_gives_the_lease_back_and_ends_well(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster
) -> None:
    process = await start(kube_server, redis_url, namespace, "first")
    await until("it leads", lambda: _holds(cluster, "first"))
    process.terminate()
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert await holder(cluster) == ""


async def test_a_replica_whose_lease_was_taken_stops_with_status_1(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster
) -> None:
    process = await start(kube_server, redis_url, namespace, "first")
    await until("it leads", lambda: _holds(cluster, "first"))
    await cluster.take_lease("genlock-operator", "somebody")
    _, said = await process.communicate()
    assert process.returncode == 1
    assert b"the lease was lost" in said


async def _holds(cluster: Cluster, name: str) -> bool:
    leases = [one for one in await cluster.all("leases") if one["spec"].get("holderIdentity") == name]
    return bool(leases)
