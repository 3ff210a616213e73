"""The operator dies between any two of its actions, and the next one goes on: everything converges, nothing twice."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from genlock_operator.operator import Operator
from genlock_operator.reconcile.executor import RealAction
from tests.api_server import ApiServer
from tests.operator.operators import Cluster, Fleet, run_operator, until

pytestmark = [pytest.mark.apiserver, pytest.mark.usefixtures("crds", "priority_classes")]

MOST = 40
"""More actions than any of these scenarios needs."""


def dies_after(count: int) -> tuple[Callable[[Operator], None], list[RealAction], asyncio.Event]:
    """An operator that does `count` things and no more."""
    done: list[RealAction] = []
    dead = asyncio.Event()

    def prepare(operator: Operator) -> None:
        perform = operator.executor.perform

        async def mortal(action: RealAction) -> str:
            if len(done) >= count:
                dead.set()
                await asyncio.Event().wait()
            done.append(action)
            return await perform(action)

        operator.executor = operator.loop.sessions.executor = operator.loop.pools.executor = _Executor(mortal)  # type: ignore[assignment]

    return prepare, done, dead


class _Executor:
    def __init__(self, perform: Callable[[RealAction], object]) -> None:
        self.perform = perform


async def test_a_session_is_assigned_wherever_the_operator_before_died(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster, fleet: Fleet
) -> None:
    await cluster.profile()
    await cluster.pool("warm")
    await fleet.add("w0", f"{namespace}/warm")
    for count in range(MOST):
        name = f"demo-{count}"
        await cluster.session(name)
        prepare, done, dead = dies_after(count)
        async with run_operator(kube_server, redis_url, namespace, prepare=prepare):
            ended = asyncio.create_task(dead.wait())
            whole = asyncio.create_task(cluster.in_phase(name, "Assigned"))
            await asyncio.wait({ended, whole}, return_when=asyncio.FIRST_COMPLETED)
            lived = not dead.is_set()
            for task in (ended, whole):
                task.cancel()
        async with run_operator(kube_server, redis_url, namespace):
            status = await cluster.in_phase(name, "Assigned")
        record = await fleet.claims.record(f"{namespace}/{name}")
        assert record is not None
        assert (status["epoch"], status["moves"]) == (record.epoch, 0), f"after {count}: {done}"
        await cluster.delete("streamsessions", name)
        if lived:
            return
    pytest.fail("the scenario takes more actions than are tried")


async def test_a_pool_has_its_pods_wherever_the_operator_before_died(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster
) -> None:
    for count in range(MOST):
        name = f"warm-{count}"
        await cluster.pool(name, replicas=2, max=2)
        prepare, _done, dead = dies_after(count)

        async def settled(name: str = name) -> bool:
            status = (await cluster.get("workerpools", name)).get("status", {})
            pods = [pod for pod in await cluster.pods() if pod.startswith(f"{name}-")]
            return status.get("replicas") == 2 and len(pods) == 2

        async def ended(dead: asyncio.Event = dead, settled: Callable[[], Awaitable[bool]] = settled) -> bool:
            return dead.is_set() or await settled()

        async with run_operator(kube_server, redis_url, namespace, prepare=prepare):
            await until("dead or done", ended)
            lived = not dead.is_set()
        async with run_operator(kube_server, redis_url, namespace):
            await until(f"settled after {count}", settled)
        assert len([pod for pod in await cluster.all("pods") if pod["metadata"]["name"].startswith(f"{name}-")]) == 2
        await cluster.delete("workerpools", name)
        for pod in [pod for pod in await cluster.pods() if pod.startswith(f"{name}-")]:
            await cluster.delete("pods", pod)
        if lived:
            return
    pytest.fail("the scenario takes more actions than are tried")
