"""The pools over REST, for who runs the installation."""

import asyncio

from genlock_core.levelling.scaling import ScalingTold
from genlock_core.levelling.telling import LevelsTold
from genlock_core.levelling.told import ToldPools
from genlock_core.tokens import Role
from tests.core.claims.samples import offer
from tests.gateway.installation import Installation

WITHIN_S = 20.0
"""It takes 3 s at most, until it looks which pools there are."""
PATH = "/api/v1/pools"
TOLD = LevelsTold(
    by="gateway g9",
    at_ms=1_700_000_000_000,
    sessions=9,
    below=2,
    waiting=1,
    quality=8.5,
    bound=8.6,
    gap=0.0116,
    sentences=("default/one runs 2 of 4 steps: w0 is full; it is raised when 25 thousandths are free",),
    left_out=3,
)


async def test_a_pool_tells_how_it_stands_and_why(installation: Installation) -> None:
    pool = "media/gpus"
    await installation.claims.register(offer("w0", pool))
    assert await installation.claims.decide(pool, holder="somebody", rank=0), "or the gateway would tell of it"
    gateway = await installation.gateway()
    await ToldPools(installation.store).tell_levels(pool, TOLD)
    headers = installation.token(role=Role.ADMIN)

    (listed,) = (await gateway.http.get(PATH, headers=headers)).json()
    shown = (await gateway.http.get(f"{PATH}/{pool}", headers=headers)).json()

    assert (listed["name"], listed["workers"], listed["ready"], listed["capacity"]) == (pool, 1, 1, 1_000)
    assert listed["levels"]["by"] == "gateway g9"
    assert listed["levels"]["at"] == "2023-11-14T22:13:20Z"
    assert {name: shown[name] for name in listed if name != "levels"} == {
        name: value for name, value in listed.items() if name != "levels"
    }
    assert shown["explanation"] == list(TOLD.sentences)
    assert shown["leftOut"] == 3


async def test_a_pool_that_nobody_decides_on_says_so(installation: Installation) -> None:
    await installation.claims.register(offer("w0", "local"))
    assert await installation.claims.decide("local", holder="somebody", rank=0)
    gateway = await installation.gateway()
    headers = installation.token(role=Role.ADMIN)
    shown = (await gateway.http.get(f"{PATH}/local", headers=headers)).json()
    assert (shown["name"], shown["levels"], shown["explanation"], shown["autoscaling"]) == ("local", None, [], None)
    unknown = await gateway.http.get(f"{PATH}/nobody/nothing", headers=headers)
    assert (unknown.status_code, unknown.json()["title"]) == (404, "Not Found")


async def test_a_pool_tells_how_its_number_of_workers_comes_about_also_while_it_has_none(
    installation: Installation,
) -> None:
    gateway = await installation.gateway()
    headers = installation.token(role=Role.ADMIN)
    scaling = ScalingTold(
        at_ms=1_700_000_000_000,
        mode="SLO",
        desired=1,
        reason="Waiting",
        terms={"need": 1, "budget": None},
        speed=1.0,
        sentences=("1 worker should be there.",),
    )
    await ToldPools(installation.store).tell_scaling("media/gpus", scaling)
    shown = (await gateway.http.get(f"{PATH}/media/gpus", headers=headers)).json()
    assert (shown["workers"], shown["levels"]) == (0, None)
    assert shown["autoscaling"] == {
        "at": "2023-11-14T22:13:20Z",
        "mode": "SLO",
        "desired": 1,
        "reason": "Waiting",
        "terms": {"need": 1, "budget": None},
        "speed": 1.0,
        "explanation": ["1 worker should be there."],
    }


async def test_a_gateway_decides_where_nobody_else_does(installation: Installation) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    headers = installation.token(role=Role.ADMIN)
    told = None
    async with asyncio.timeout(WITHIN_S):
        while told is None:
            told = (await gateway.http.get(f"{PATH}/{worker.pool}", headers=headers)).json()["levels"]
            await asyncio.sleep(0.1)
    assert told["by"] == "gateway g0"
    assert gateway.metric("genlock_level_gap", pool=worker.pool) == 0


async def test_it_names_everybodys_sessions_so_it_takes_an_admin_token(installation: Installation) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    for path in (PATH, f"{PATH}/{worker.pool}"):
        assert (await gateway.http.get(path)).status_code == 401
        assert (await gateway.http.get(path, headers=installation.token())).status_code == 403
