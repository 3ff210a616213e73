"""A pool that is full and at its max lets one more in: others go on with fewer steps, and get them back.

By the rows of `examples/busy-hour` a worker holds eight sessions at four steps, and one step costs half of four.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import pytest_asyncio
import yaml

from e2e.install import NAMESPACE, STUDIO, front_url
from e2e.kubectl import Cluster, Object, apply, eventually, kubectl, status
from e2e.parts import OPERATORS, assigned, deployed, kill
from e2e.seen import say
from e2e.show import view_of
from e2e.surroundings import ROOT
from e2e.test_5_capacity import leave_nothing, pool
from e2e.watcher import CUT_S
from genlock_cli.api import GatewayProblem
from genlock_cli.clients.whep import WhepViewer
from genlock_core.media import Codec
from genlock_core.process.tasks import end_tasks

BUSY = ROOT / "examples" / "busy-hour"
EIGHT = ("one", "two", "three", "four", "five", "six", "seven", "eight")
WATCHED = EIGHT[:4]
WITHOUT_OPERATOR = ("ninth", "tenth")
"""Sessions that no resource stands for."""
FRAME_RATE = 8
MISS_BUDGET = 0.01
AT_ONCE_S = 3.0
RAISED_WITHIN_S = 60.0


def manifests(name: str) -> list[Object]:
    """Those of a file of the example, in the namespace of the sessions."""
    documents = [one for one in yaml.safe_load_all((BUSY / name).read_text()) if one]
    return [one | {"metadata": {**one["metadata"], "namespace": STUDIO}} for one in documents]


@dataclass(slots=True)
class Audience:
    """Viewers outside, one for each session. `longest_s` tells for each the longest time between two pictures."""

    url: str
    longest_s: dict[str, float] = field(default_factory=dict)
    let_in_s: dict[str, float] = field(default_factory=dict)
    """After how long each offer was answered: there was a worker then."""
    _tasks: "dict[str, asyncio.Task[None]]" = field(default_factory=dict)

    async def joins(self, name: str, *, within_s: float = 30.0) -> float:
        """Somebody watches; after how many seconds the first picture came."""
        began_s = time.monotonic()
        viewer = await self._let_in(name, began_s + within_s)
        self.let_in_s[name] = time.monotonic() - began_s
        try:
            async with asyncio.timeout(within_s):
                first = await viewer.frames.get()
        except BaseException:
            await viewer.close()
            raise
        took_s = time.monotonic() - began_s
        self.longest_s[name] = 0.0
        self._tasks[name] = asyncio.create_task(self._watch(name, viewer, first.received_s), name=f"viewer of {name}")
        return took_s

    async def close(self) -> None:
        await end_tasks(list(self._tasks.values()))

    async def _let_in(self, name: str, until_s: float) -> WhepViewer:
        """Tried until it is: a session that was only just applied is not known yet."""
        while True:
            viewer = WhepViewer(f"{self.url}/whep/{STUDIO}/{name}")
            try:
                await viewer.watch((Codec.H264,))
            except BaseException as error:
                await viewer.close()
                if not isinstance(error, GatewayProblem | TimeoutError) or time.monotonic() > until_s:
                    raise
                await asyncio.sleep(0.1)
            else:
                return viewer

    async def _watch(self, name: str, viewer: WhepViewer, last_s: float) -> None:
        try:
            while True:
                frame = await viewer.frames.get()
                self.longest_s[name] = max(self.longest_s[name], frame.received_s - last_s)
                last_s = frame.received_s
        finally:
            await viewer.close()


@pytest_asyncio.fixture
async def audience() -> AsyncIterator[Audience]:
    made = Audience(await front_url())
    yield made
    await made.close()


@pytest_asyncio.fixture(scope="module")
async def busy(cluster: Cluster) -> AsyncIterator[None]:
    """One worker, the only one that its pool may have, with eight sessions at four steps: it is full."""
    (profile,) = [
        one | {"metadata": {"name": "busy-hour", "namespace": NAMESPACE}} for one in manifests("profile.yaml")
    ]
    # It paints for all who watch.
    template = {"compute": {"cpu": "500m", "memory": "384Mi"}, "env": {"GENLOCK_WORKER_INSTANT": "yes"}}
    await apply(profile, pool("busy", model="busy-hour", replicas=1, max=1, template=template))
    await apply(*manifests("sessions.yaml"))
    for name in EIGHT:
        await assigned(cluster, name, within_s=90.0)
    yield
    await asked_in_a_gateway("end", *(f"{STUDIO}/{name}" for name in WITHOUT_OPERATOR))
    await leave_nothing(cluster)


async def everybody_has_all(cluster: Cluster, names: Sequence[str], *, within_s: float = RAISED_WITHIN_S) -> None:
    """None of them has less than it asks for."""

    async def lowered() -> list[str]:
        return [name for name in names if "level" in status(await cluster.session(STUDIO, name))]

    await eventually(
        lowered, lambda found: not found, what=f"{', '.join(names)} have what they ask for", within_s=within_s
    )


async def levels(cluster: Cluster) -> dict[str, Object]:
    """What the resources say of sessions that have less than they ask for."""
    found = await cluster.items(f"/apis/genlock.dev/v1alpha1/namespaces/{STUDIO}/streamsessions")
    return {one["metadata"]["name"]: status(one)["level"] for one in found if "level" in status(one)}


ASKED_IN_A_GATEWAY = """
import asyncio, json, os, sys
from dataclasses import replace
from genlock_core import store as stores
from genlock_core.claims.claims import Claims
from genlock_core.claims.record import SessionRecord
from genlock_core.spec.session import Phase, SessionKey

async def main(what="look", *names):
    store = stores.connect(os.environ["GENLOCK_GATEWAY_REDIS"])
    claims = Claims(store)
    if what == "make":
        new, model = names
        like = await claims.record(model)
        session = like.session.model_copy(update={"key": SessionKey.parse(new)})
        await claims.create(SessionRecord(session, like.pools, key_ids=like.key_ids))
    if what == "end":
        for record in (await claims.records_of(names)).values():
            await claims.release(record.name, epoch=record.epoch, phase=Phase.ENDED, reason="Deleted")
            await claims.set_phase(record.name, 0, Phase.ENDED, "Deleted")
            await claims.forget(record.name)
    records = {record.name: record for record in await claims.records()}
    told = [
        {
            "worker": view.identity.name,
            "pool": view.pool,
            "capacity": view.capacity,
            "free": view.free,
            "costs": {name: records[name].cost for name in view.sessions if name in records},
            "owned": all(name in records and records[name].owner == view.identity for name in view.sessions),
        }
        for view in await claims.workers()
    ]
    await store.aclose()
    print(json.dumps(told))

asyncio.run(main(*sys.argv[1:]))
"""


async def asked_in_a_gateway(*arguments: str) -> list[dict[str, Any]]:
    """What Redis says of the workers, as a gateway's pod reads it.

    `make NEW LIKE` first makes the record of a session like that one, which the operator does while there is one; `end
    NAME...` ends such sessions.
    """
    told = await kubectl(
        *("exec", "--stdin", "--namespace", NAMESPACE, "deployment/genlock-gateway", "--", "python", "-", *arguments),
        stdin=ASKED_IN_A_GATEWAY,
    )
    return list(json.loads(told.splitlines()[-1]))


async def nobody_is_charged_twice() -> None:
    """On each worker what is free and what its sessions cost are its capacity."""
    for worker in await asked_in_a_gateway():
        assert worker["free"] + sum(worker["costs"].values()) == worker["capacity"], worker
        assert worker["owned"], worker


@pytest.mark.usefixtures("busy")
async def test_a_ninth_session_comes_into_a_full_pool_and_who_made_room_gets_it_back(
    cluster: Cluster, audience: Audience, request: pytest.FixtureRequest
) -> None:
    for name in WATCHED:
        await audience.joins(name)
    before = {name: (await view_of(cluster, STUDIO, name))["stats"] for name in WATCHED}

    # The ninth comes in.
    (ninth,) = manifests("ninth.yaml")
    await apply(ninth | {"spec": {**ninth["spec"], "steps": 1}})
    took_s = await audience.joins("nine")
    say(request, f"the ninth session's first picture came {took_s:.2f} s after it was applied")
    assert took_s < AT_ONCE_S

    told = await eventually(lambda: levels(cluster), bool, what="a session says that it was lowered")
    assert {level["reason"] for level in told.values()} <= {"Busy", "NoRoom"}, told
    assert all(level["steps"] < 4 and level["frameRate"] == FRAME_RATE for level in told.values()), told
    name = next(iter(told))
    view = await view_of(cluster, STUDIO, name)
    assert view["level"]["reason"] in ("busy", "no-room"), view["level"]
    assert f"{view['level']['steps']} of 4 steps" in view["level"]["detail"]
    table = await kubectl("get", "ssn", name, "--namespace", STUDIO, "--output", "wide")
    assert "Busy" in table or "NoRoom" in table, table

    # Its user wants more steps than there is room for, is told what it gets, and its neighbours go on as before.
    answer = await steered("nine", steps=4)
    assert (answer["level"]["requested"], answer["level"]["reason"]) == (4, "no-room"), answer
    assert f"{answer['level']['steps']} of 4 steps" in answer["level"]["detail"]
    for name in WATCHED:
        stats = (await view_of(cluster, STUDIO, name))["stats"]
        assert stats["outputFps"] > FRAME_RATE / 2, (name, stats)

    # Two leave, and all have what they ask for.
    began_s = time.monotonic()
    await kubectl("delete", "ssn", "seven", "eight", "--namespace", STUDIO)
    left = [*EIGHT[:6], "nine"]
    await everybody_has_all(cluster, left)
    say(request, f"all had their four steps again {time.monotonic() - began_s:.1f} s after two left")
    await nobody_is_charged_twice()
    for name in WATCHED:
        after = (await view_of(cluster, STUDIO, name))["stats"]
        say(
            request,
            f"{name}: {after['freezes'] - before[name]['freezes']} freezes, {after['missShare']:.2%} late, "
            f"longest {audience.longest_s[name]:.2f} s between two pictures",
        )
        assert after["worker"] == before[name]["worker"]
        assert after["missShare"] <= MISS_BUDGET, (name, after)
        assert audience.longest_s[name] < CUT_S


async def steered(name: str, **change: Any) -> dict[str, Any]:
    """What PATCH answers."""
    async with httpx.AsyncClient(base_url=await front_url(), timeout=10.0) as http:
        answer = await http.patch(f"/api/v1/sessions/{STUDIO}/{name}/control", json=change)
    answer.raise_for_status()
    return dict(answer.json())


@pytest_asyncio.fixture
async def operator_is_back(cluster: Cluster) -> AsyncIterator[None]:
    """Whatever becomes of the test, the next one finds an operator."""
    yield
    await kubectl("scale", "deployment/genlock-operator", "--namespace", NAMESPACE, "--replicas=2")
    await deployed(cluster, "genlock-operator", 2)


@pytest.mark.usefixtures("busy", "operator_is_back")
async def test_without_an_operator_the_full_pool_lets_one_more_in_also_while_the_operator_is_killed(
    cluster: Cluster, audience: Audience, request: pytest.FixtureRequest
) -> None:
    # What the test before left: seven sessions, all with their four steps.
    (eighth,) = [one for one in manifests("sessions.yaml") if one["metadata"]["name"] == "eight"]
    await apply(eighth)
    await assigned(cluster, "eight")
    await audience.joins("one")
    await asked_in_a_gateway("make", f"{STUDIO}/ninth", f"{STUDIO}/one")

    # Its operator dies while others are being lowered: whoever decides next ends it.
    ninth = asyncio.create_task(audience.joins("ninth"))
    await kill(*[pod["metadata"]["name"] for pod in await cluster.pods(NAMESPACE, OPERATORS)])
    await kubectl("scale", "deployment/genlock-operator", "--namespace", NAMESPACE, "--replicas=0")
    say(request, f"a session's first picture came after {await ninth:.2f} s while the operator was killed")
    await eventually(lambda: cluster.pods(NAMESPACE, OPERATORS), lambda pods: not pods, what="no operator")
    await nobody_is_charged_twice()

    # There is none any more, and there was no room left.
    await asked_in_a_gateway("make", f"{STUDIO}/tenth", f"{STUDIO}/one")
    took_s = await audience.joins("tenth")
    say(request, f"without an operator the next one's first picture came after {took_s:.2f} s")
    assert took_s < AT_ONCE_S
    await nobody_is_charged_twice()
    assert audience.longest_s["one"] < CUT_S
