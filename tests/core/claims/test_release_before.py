"""Workers and gateways of an earlier release, by its own scripts, beside today's on one Redis: a rollout's minutes.

Those scripts know Redis' clock only. What both write must mean the same to both.
"""

import json
import zipfile
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from genlock_core import store
from genlock_core.claims import keys
from genlock_core.claims.claims import Claim, Claims
from genlock_core.claims.liveness import HOLD_MS, LEASE_MS
from genlock_core.claims.lua import decoded
from genlock_core.claims.publisher import Gateways
from tests.core.claims import samples
from tests.releases.worker_process import BEFORE_SUBMISSIONS, RELEASES

START_MS = 1_700_000_000_000
ROUND_MS = 500
FIGURES = {
    "LEASE_MS": 2_000,
    "HEARTBEAT_STALE_MS": 1_000,
    "HOLD_MS": 5_000,
    "WORKER_GONE_MS": 30_000,
    "PUBLISHER_TTL_MS": 3_000,
}
"""Of that release."""
OLD = "w0"
NEW = "w1"


class OldScripts:
    """The claims' scripts of the release, run as it ran them."""

    def __init__(self, client: store.Store) -> None:
        self._client = client
        (wheel,) = (RELEASES / BEFORE_SUBMISSIONS).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            folder = "genlock_core/claims/scripts/"
            self._parts = {
                name.removeprefix(folder).removesuffix(".lua"): archive.read(name).decode()
                for name in archive.namelist()
                if name.startswith(folder)
            }

    async def run(self, verb: str, wall_ms: int, *arguments: str | int) -> Any:
        figures = "".join(f"local {name} = {value}\n" for name, value in FIGURES.items())
        source = figures + self._parts["prelude"] + self._parts[verb]
        return decoded(await cast("Any", self._client.eval(source, 1, keys.PREFIX, str(wall_ms), *arguments)))


@dataclass
class Rollout:
    """A worker and a gateway of each release, and a session at each worker."""

    client: store.Store
    wall_ms: int = START_MS
    progress: int = 0
    with_old: bool = True
    claimed: dict[str, Claim] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.old = OldScripts(self.client)
        self.claims = Claims(self.client, now_ms=lambda: self.wall_ms)
        self.gateways = Gateways(self.client, now_ms=lambda: self.wall_ms)
        self.offers = {name: samples.offer(name) for name in (OLD, NEW)}

    async def old_registers(self) -> None:
        offer = self.offers[OLD]
        fields = {
            "name": OLD, "incarnation": offer.identity.incarnation, "pool": "a", "model": offer.model,
            "capacity": 1_000, "address": "w0:7000", "oldest": 1, "newest": 2, "gpu_product": "", "gpus": 0,
        }  # fmt: skip
        await self.old.run("register", self.wall_ms, json.dumps(fields))
        await self.old.run("gateway_announce", self.wall_ms, "g0", "http://g0", 5_000)

    async def new_registers(self) -> None:
        await self.claims.register(self.offers[NEW])
        await self.gateways.announce("g1", "http://g1", 5.0)

    async def time_passes(self, ms: int, *, round_ms: int = ROUND_MS) -> None:
        """Both gateways sweep before the workers renew."""
        for _ in range(ms // round_ms):
            self.wall_ms += round_ms
            self.progress += 1
            if self.with_old:
                self.lost += await self.old.run("expire", self.wall_ms, 100)
                await self.old.run("gateway_announce", self.wall_ms, "g0", "http://g0", 5_000)
                await self.old.run(
                    "renew", self.wall_ms, OLD, self.offers[OLD].identity.incarnation, self.progress, "{}"
                )
            self.lost += await self.claims.expire()
            await self.gateways.announce("g1", "http://g1", 5.0)
            await self.claims.renew(self.offers[NEW].identity, progress=self.progress, links={})
            for name in self.claimed:
                await self.claims.touch(f"default/{name}")

    async def claim_both(self) -> None:
        for name in ("one", "two"):
            await self.claims.create(samples.record(name, ("a", 700)))
            self.claimed[name] = await self.claims.claim(f"default/{name}")
        assert {claim.worker.name for claim in self.claimed.values()} == {OLD, NEW}

    async def clock(self) -> dict[str, str]:
        fields = await cast("Any", self.client.hgetall(keys.PREFIX + "clock"))
        return {key.decode(): value.decode() for key, value in fields.items()}


@pytest.fixture
def rollout(redis_store: store.Store) -> Rollout:
    return Rollout(redis_store)


async def test_both_releases_keep_what_they_own_and_find_each_other(rollout: Rollout) -> None:
    await rollout.old_registers()
    await rollout.new_registers()
    await rollout.claim_both()
    await rollout.time_passes(2 * HOLD_MS)
    await rollout.time_passes(21_000, round_ms=700)  # a machine with much to do: each round would be 100 ms too long
    assert rollout.lost == []
    clock = await rollout.clock()
    assert (clock["mixed"], clock["proven_ms"]) == ("1", str(rollout.wall_ms))
    assert await rollout.gateways.all() == {"g0": "http://g0", "g1": "http://g1"}
    views = await rollout.old.run("workers", rollout.wall_ms)
    assert [(name, age) for name, age, *_ in views] == [(OLD, "0"), (NEW, "0")]
    for name, claim in rollout.claimed.items():
        live = await rollout.old.run("claim", rollout.wall_ms, f"default/{name}")
        assert live[:2] == ["live", str(claim.epoch)]


async def test_either_release_takes_a_dead_workers_session_away(rollout: Rollout) -> None:
    await rollout.old_registers()
    await rollout.new_registers()
    await rollout.claim_both()
    await rollout.time_passes(2 * HOLD_MS)
    rollout.with_old = False
    await rollout.time_passes(LEASE_MS)
    assert rollout.lost == [name for name in ("default/one", "default/two") if _is_old(rollout, name)]


def _is_old(rollout: Rollout, session: str) -> bool:
    return rollout.claimed[session.removeprefix("default/")].worker.name == OLD


async def test_once_the_last_old_process_has_gone_proven_time_is_on_its_own(rollout: Rollout) -> None:
    await rollout.old_registers()
    await rollout.new_registers()
    await rollout.time_passes(2 * HOLD_MS)
    rollout.with_old = False
    await rollout.time_passes(40_000)
    assert (await rollout.clock())["mixed"] == "0"
    rollout.wall_ms += 60_000
    await rollout.claims.worker("nobody")
    assert int((await rollout.clock())["proven_ms"]) < rollout.wall_ms - 59_000


async def test_a_release_that_is_rolled_back_after_a_stall_is_waited_for_until_all_have_renewed(
    rollout: Rollout,
) -> None:
    await rollout.new_registers()
    await rollout.claims.create(samples.record("one"))
    claim = await rollout.claims.claim("default/one")
    rollout.claimed["one"] = claim
    rollout.with_old = False
    await rollout.time_passes(2 * HOLD_MS)
    rollout.wall_ms += 60_000
    await rollout.time_passes(HOLD_MS)

    # A worker of the old release comes; the next announcement of a gateway finds it.
    await rollout.old_registers()
    rollout.with_old = True
    await rollout.gateways.announce("g1", "http://g1", 5.0)
    await rollout.time_passes(HOLD_MS + 2 * LEASE_MS)
    assert (await rollout.clock())["proven_ms"] == str(rollout.wall_ms)
    record = await rollout.claims.record("default/one")
    assert record is not None
    assert (record.owner, record.epoch, rollout.lost) == (claim.worker, claim.epoch, [])
