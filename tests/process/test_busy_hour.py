"""One worker that eight sessions fill takes a ninth, on real processes: others give way, and get it back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from genlock_cli.api import GatewayProblem
from genlock_core.tokens import Role
from tests.process.eyes import Eyes
from tests.process.local import PATIENCE_S, Local, Workers, eventually, local_genlock

pytestmark = pytest.mark.process

EXAMPLE = Path(__file__).parents[2] / "examples" / "busy-hour"


@asynccontextmanager
async def watching_once_there_is_room(url: str) -> AsyncIterator[Eyes]:
    """As a page does it: it asks again when it is told that there is no room now."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            eyes = Eyes(url)
            try:
                await eyes.__aenter__()
            except GatewayProblem as problem:
                if problem.status != HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
                await asyncio.sleep(0.2)
            else:
                break
    try:
        yield eyes
    finally:
        await eyes.__aexit__(None, None, None)


async def steps_of(local: Local) -> dict[str, int]:
    """What is granted to whom."""
    listed: list[dict[str, Any]] = (await local.http[0].get("/api/v1/sessions", headers=local.token(Role.ADMIN))).json()
    return {one["name"]: one["level"]["steps"] for one in listed if one["level"] is not None}


async def test_a_ninth_session_is_shown_and_all_are_raised_again_when_two_have_left(tmp_path: Path) -> None:
    kind = Workers("mock", "NVIDIA-H100", 1, (EXAMPLE / "sessions.yaml").read_text())
    admin = {"Content-Type": "application/yaml"}
    async with local_genlock(tmp_path, kind=kind, workers=1, profiles=(EXAMPLE / "profile.yaml",)) as local:
        admin |= local.token(Role.ADMIN)
        assert set((await steps_of(local)).values()) == {4}

        # It comes in, at whatever level there is room for.
        created = await local.http[0].post(
            "/api/v1/sessions", content=(EXAMPLE / "ninth.yaml").read_text(), headers=admin
        )
        assert created.status_code == HTTPStatus.CREATED
        async with watching_once_there_is_room(f"{local.urls[0]}/whep/default/nine") as eyes:
            await eyes.until(4)
        steps = await steps_of(local)
        assert len(steps) == 9
        assert min(steps.values()) < 4

        # Whoever runs this is told why, now and then: the plan that has just been made a moment later.
        (pool,) = (await local.http[0].get("/api/v1/pools", headers=admin)).json()

        async def is_told() -> bool:
            told = (await local.http[0].get(f"/api/v1/pools/{pool['name']}", headers=admin)).json()
            assert told["levels"]["by"] == "gateway g0"
            begins = {line.partition(" ")[0] for line in told["explanation"]}
            below = {f"default/{name}" for name, count in (await steps_of(local)).items() if count < 4}
            return bool(below) and begins >= below

        await eventually(is_told, what="everybody who was lowered is named")

        # Two leave, and there is room for all that the others ask for.
        for name in ("one", "two"):
            await local.http[0].delete(f"/api/v1/sessions/default/{name}", headers=admin)

        async def is_whole() -> bool:
            return {count for name, count in (await steps_of(local)).items() if name not in ("one", "two")} == {4}

        await eventually(is_whole, what="all are raised again")
