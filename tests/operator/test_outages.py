"""Redis or the API server away, a worker gone, a watch that lost something: nothing goes wrong, all is made good."""

import asyncio
import sys
from dataclasses import replace

import pytest

from genlock_cli.redis_server import RedisProcess
from genlock_core import store as stores
from genlock_core.spec.session import Phase
from tests.api_server import ApiServer
from tests.operator.operators import Cluster, Fleet, arguments, run_operator, until

pytestmark = [pytest.mark.apiserver, pytest.mark.usefixtures("crds")]


async def test_while_redis_is_away_it_is_said_and_then_all_is_assigned(
    kube_server: ApiServer, redis_server: RedisProcess, namespace: str, cluster: Cluster
) -> None:
    store = stores.connect(redis_server.url)
    fleet = Fleet(store)
    await cluster.profile()
    await cluster.pool("warm")
    await fleet.add("w0", f"{namespace}/warm")
    async with run_operator(kube_server, redis_server.url, namespace):
        await cluster.session("before")
        await cluster.in_phase("before", "Assigned")
        redis_server.stop()
        await cluster.session("during")
        await until("it is said", lambda: cluster.reason("during", "Assigned", "StoreAway"))
        redis_server.start()
        await cluster.in_phase("during", "Assigned")
        assert (await cluster.status("before"))["worker"] == "w0"
    await fleet.stop()
    await store.aclose()


async def test_what_went_while_a_watch_was_broken_is_found_by_listing(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster
) -> None:
    async with run_operator(kube_server, redis_url, namespace) as operator:
        await cluster.session("demo")
        known = await until("it is known", lambda: operator.caches.sessions.get(f"{namespace}/demo"))
        ghost = replace(known, meta=replace(known.meta, name="ghost", uid="of one whose deletion was not heard of"))
        operator.caches.sessions.put(ghost)
        operator.watcher.listed_anew.set()
        await until("it is dropped", lambda: operator.caches.sessions.get(f"{namespace}/ghost") is None)
        assert operator.caches.sessions.get(f"{namespace}/demo") is not None


async def test_the_api_server_away_for_a_while_costs_nobody_anything_and_all_goes_on_by_itself(
    kube_server: ApiServer, redis_url: str, namespace: str, fleet: Fleet
) -> None:
    """A replica that cannot renew its lease stops; as in a pod, it is started again."""
    await fleet.add("w0", f"{namespace}/warm")
    restarting = asyncio.create_task(_kept_running(kube_server, redis_url, namespace))
    try:
        async with kube_server.async_client() as kube:
            cluster = Cluster(kube, namespace)
            await cluster.profile()
            await cluster.pool("warm")
            await cluster.session("before")
            status = await cluster.in_phase("before", "Assigned")
            await until("an Event tells of it", lambda: cluster.told("before", "Assigned"))
        with kube_server.away():
            record = await fleet.claims.record(f"{namespace}/before")
        async with kube_server.async_client() as kube:
            cluster = Cluster(kube, namespace)
            await cluster.session("after")
            await cluster.in_phase("after", "Assigned")
            assert await cluster.status("before") == status
            assert (await cluster.events("before")).count("Assigned") == 1
        assert await fleet.claims.record(f"{namespace}/before") == record
    finally:
        restarting.cancel()
        await asyncio.gather(restarting, return_exceptions=True)


async def _kept_running(server: ApiServer, redis_url: str, namespace: str) -> None:
    """The operator's process, started again whenever it ends."""
    while True:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "genlock_operator.main"),
            *arguments(server, redis_url, namespace),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def test_a_session_that_lost_its_worker_is_claimed_for_again(
    kube_server: ApiServer, redis_url: str, namespace: str, cluster: Cluster, fleet: Fleet
) -> None:
    await cluster.profile()
    await cluster.pool("warm")
    await fleet.add("w0", f"{namespace}/warm")
    async with run_operator(kube_server, redis_url, namespace):
        await cluster.session("before")
        await cluster.in_phase("before", "Assigned")
        await fleet.claims.release(
            f"{namespace}/before", epoch=(await cluster.status("before"))["epoch"], phase=Phase.PENDING
        )
        await until("it has it again", lambda: _has_an_owner(fleet, f"{namespace}/before"))


async def _has_an_owner(fleet: Fleet, session: str) -> bool:
    record = await fleet.claims.record(session)
    return record is not None and record.owner is not None
