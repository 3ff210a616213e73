"""Any order of offers, connections, silences, deaths, lost replies and losses of Redis leaves one publisher at most.

Each step is one call, so that a competitor comes between any two steps of another one. What Redis answers is compared
with `Slot`, which knows the rules and no Redis.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from genlock_core import store
from genlock_core.claims.facts import LostSlot, PublicationLost, PublisherConflict, TooManyCandidates
from genlock_core.claims.liveness import PUBLISHER_CANDIDATE_MS, PUBLISHER_CANDIDATES, PUBLISHER_TTL_MS
from genlock_core.claims.publisher import Contender, Gateways, Publication, Publishers
from tests.core.claims.passing import ProvenTime

SESSION = "default/demo"
START_MS = 1_700_000_000_000
GATEWAYS = ("g0", "g1", "g2")
KEYS = ("a", "b", "c", "d")
LATELY = 3
"""What gateways do, they mostly do for those who came last."""

# Quiet most of the time, or nothing would ever get far.
failures = st.sampled_from(
    ["a moment"] * 8 + ["slot", "candidates", "gateway", "redis"] + ["stall", "clock forward", "clock back"]
)


@dataclass
class Slot:
    """The rules, in Python. Times in ms."""

    wall: int = START_MS
    time: ProvenTime = field(default_factory=ProvenTime)
    up: set[str] = field(default_factory=lambda: set(GATEWAYS))
    key: str = ""
    holder: Publication | None = None
    run: int = 0
    expires: int = 0
    silent: bool = False
    previous: Publication | None = None
    candidates: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Key -> its resource, and when its time is over."""

    @property
    def now(self) -> int:
        return self.wall if self.time.proven_ms is None else self.time.proven_ms

    @property
    def held(self) -> bool:
        return self.holder is not None and self.holder.gateway in self.up and self.expires > self.now

    def may_have(self, one: Contender) -> bool:
        return not self.held or self.silent or one.take_over or one.key == self.key

    def enter(self, one: Contender) -> object:
        self.candidates = {key: found for key, found in self.candidates.items() if found[1] > self.now}
        if not self.may_have(one):
            return PublisherConflict
        strangers = set(self.candidates) - {one.key, self.key}
        if one.key != self.key and len(strangers) >= PUBLISHER_CANDIDATES:
            return TooManyCandidates
        self.candidates[one.key] = one.resource, self.now + PUBLISHER_CANDIDATE_MS
        return self.run

    def promote(self, one: Contender, run_seen: int, highest: int) -> object:
        if self.holder is not None and (self.holder.gateway, self.holder.resource) == (one.gateway, one.resource):
            return self.run, self.previous
        if self.run != run_seen:
            return LostSlot.OVERTAKEN if self.held else LostSlot.GONE
        resource, until = self.candidates.get(one.key, ("", 0))
        if resource != one.resource or until <= self.now:
            return LostSlot.REPLACED
        if not self.may_have(one):
            return LostSlot.ANSWERED
        del self.candidates[one.key]
        self.take(one, highest)
        return self.run, self.previous

    def take(self, one: Contender, highest: int) -> None:
        self.previous = self.holder if self.held else None
        self.run = max(self.run + 1, highest + 1, self.now, self.wall)
        self.key, self.holder, self.silent = one.key, Publication(one.gateway, one.resource, self.run), False
        self.expires = self.now + PUBLISHER_TTL_MS

    def keep(self, one: Contender, *, silent: bool, run: int, highest: int) -> int | None:
        if self.holder is None or self.holder.resource != one.resource:
            if self.held:
                return None
            before = self.run
            self.take(one, highest)
            if run > before and run >= highest:
                self.run = run
                self.holder = Publication(one.gateway, one.resource, run)
        self.silent, self.expires = silent, self.now + PUBLISHER_TTL_MS
        return self.run

    def leave(self, one: Contender) -> bool:
        self.candidates = {key: found for key, found in self.candidates.items() if found[0] != one.resource}
        if self.holder is None or self.holder.resource != one.resource:
            return False
        self.holder, self.previous, self.silent = None, None, False
        return True


@dataclass
class Setting:
    runner: asyncio.Runner
    store: store.Store


class PublisherMachine(RuleBasedStateMachine):
    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setting = setting
        self.slot = Slot()
        self.publishers = Publishers(setting.store, now_ms=lambda: self.slot.wall)
        self.gateways = Gateways(setting.store, now_ms=lambda: self.slot.wall)
        self.admitted: list[tuple[Contender, int]] = []
        self.promoted: list[Contender] = []
        self.highest = 0  # run ever granted, by Redis' answers alone
        self.runs: dict[Contender, int] = {}
        self.offers = 0
        setting.runner.run(self._begin())

    async def _begin(self) -> None:
        await self.setting.store.flushall()
        for name in self.slot.up:
            self.slot.time.prove(self.slot.wall)
            await self.gateways.announce(name, f"http://{name}", ttl_s=10_000)

    def ask(self, call: Any) -> Any:
        self.slot.wall += 1
        self.slot.time.prove(self.slot.wall)
        return self.setting.runner.run(call())

    # -- what gateways do ---------------------------------------------------------------------------------------------

    @rule(key=st.sampled_from(KEYS), gateway=st.sampled_from(GATEWAYS), take_over=st.sampled_from([False, False, True]))
    def offer(self, key: str, gateway: str, take_over: bool) -> None:
        self.offers += 1
        one = Contender(key, gateway, f"r{self.offers}", take_over)

        async def enter() -> object:
            try:
                return await self.publishers.enter(SESSION, one)
            except (PublisherConflict, TooManyCandidates) as error:
                return type(error)

        told = self.ask(enter)
        assert told == self.slot.enter(one)
        if isinstance(told, int):
            self.admitted.append((one, told))

    @precondition(lambda self: self.admitted)
    @rule(data=st.data(), repeat=st.booleans())
    def connect(self, data: st.DataObject, repeat: bool) -> None:
        one, run_seen = data.draw(st.sampled_from(self.admitted[-LATELY:]))
        before = self.highest

        async def promote() -> object:
            try:
                slot = await self.publishers.promote(SESSION, one, run_seen=run_seen, highest_run=before)
            except PublicationLost as lost:
                return lost.why
            return slot.run, slot.previous

        for _ in range(1 + repeat):  # a reply may be lost
            told = self.ask(promote)
            assert told == self.slot.promote(one, run_seen, before)
            if isinstance(told, tuple):
                run = told[0]
                assert run > before or one in self.promoted, "a new publication has a higher run than any before"
                self.highest = max(self.highest, run)
                self.runs[one] = run
        if isinstance(told, tuple) and one not in self.promoted:
            self.promoted.append(one)

    @precondition(lambda self: self.promoted)
    @rule(data=st.data(), silent=st.booleans())
    def keep(self, data: st.DataObject, silent: bool) -> None:
        one = data.draw(st.sampled_from(self.promoted[-LATELY:]))

        async def kept() -> int | None:
            kept = await self.publishers.keep(
                SESSION,
                key=one.key,
                gateway=one.gateway,
                resource=one.resource,
                silent=silent,
                run=self.runs[one],
                highest_run=self.highest,
            )
            return None if kept is None else kept.run

        told = self.ask(kept)
        assert told == self.slot.keep(one, silent=silent, run=self.runs[one], highest=self.highest)
        if told is None:
            self.promoted.remove(one)  # its gateway closes it
        else:
            self.runs[one] = told
            self.highest = max(self.highest, told)

    @precondition(lambda self: self.admitted)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        one, _ = data.draw(st.sampled_from(self.admitted[-LATELY:]))
        assert self.ask(lambda: self.publishers.leave(SESSION, resource=one.resource)) == self.slot.leave(one)
        self.admitted = [each for each in self.admitted if each[0] != one]
        self.promoted = [each for each in self.promoted if each != one]

    # -- what happens -------------------------------------------------------------------------------------------------

    @rule(what=failures)
    def something_happens(self, what: str) -> None:
        match what:
            case "a moment":
                self.time_passes(900)
            case "slot":
                self.time_passes(PUBLISHER_TTL_MS)
            case "candidates":
                self.time_passes(PUBLISHER_CANDIDATE_MS)
            case "stall":
                self.slot.wall += 8_000
            case "clock forward":
                self.slot.wall += 3_600_000
            case "clock back":
                self.slot.wall -= 60_000
            case "gateway" if len(self.slot.up) == len(GATEWAYS):
                self.slot.up.discard(GATEWAYS[0])
                self.ask(lambda: self.gateways.withdraw(GATEWAYS[0]))
            case "gateway":
                self.slot.up.add(GATEWAYS[0])
                self.ask(lambda: self.gateways.announce(GATEWAYS[0], "http://g0", ttl_s=10_000))
            case "redis":
                self.slot = Slot(wall=self.slot.wall, up=self.slot.up)
                self.setting.runner.run(self._begin())

    def time_passes(self, ms: int) -> None:
        """While Redis takes writes."""

        async def write() -> None:
            for _ in range(ms // 450):
                self.slot.wall += 450
                self.slot.time.prove(self.slot.wall)
                await self.gateways.all()

        self.setting.runner.run(write())

    # -- what is always true ------------------------------------------------------------------------------------------

    @invariant()
    def candidates_are_few(self) -> None:
        kept = self.setting.runner.run(self._candidates())
        assert kept <= PUBLISHER_CANDIDATES + 2  # the last publisher's, and one that was the last before

    async def _candidates(self) -> int:
        return await self.setting.store.hlen(f"genlock:{{genlock}}:publisher:{SESSION}:candidates")


@pytest.fixture
def setting(redis_url: str) -> Iterator[Setting]:
    with asyncio.Runner() as runner:
        client = store.connect(redis_url)
        yield Setting(runner, client)
        runner.run(client.aclose())


def test_whatever_happens_one_publisher_has_the_slot(setting: Setting) -> None:
    run_state_machine_as_test(
        cast("Any", lambda: PublisherMachine(setting)),
        settings=settings(
            max_examples=200,
            stateful_step_count=30,
            deadline=None,
            phases=[Phase.generate],  # a failure is shown as it is: shrinking it would take minutes
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
