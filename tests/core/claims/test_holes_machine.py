"""Kept rooms (`scripts/choosing.lua`) in any crowd: each example begins with one, and a small session kept out of it.

What comes after is drawn: small sessions and large ones come, leave, ask, fall silent and lose their workers, in two
pools. After each step Redis is compared with a model that is told nothing by it: who is served where, who waits, and
whose room is kept for whom.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, cycle, repeat, takewhile

import hypothesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genlock_core import store
from genlock_core.claims.claims import Claims
from genlock_core.claims.identity import CAPACITY, WorkerOffer
from genlock_core.claims.liveness import HOLE_AFTER_MS, HOLE_KEPT_MS, HOLE_PAUSE_MS, WAITS_MS
from genlock_core.claims.record import PoolChoice
from genlock_core.clock import ManualClock
from genlock_core.errors import NoCapacity
from genlock_core.spec.session import Phase
from tests.core.claims.passing import time_passes
from tests.core.claims.samples import offer, record

WORKERS = {"w0": "a", "w1": "a", "w2": "b"}
POOLS = ("a", "b")
LARGE, RIVAL = "default/large", "default/rival"
SMALLEST = 100

Choices = tuple[PoolChoice, ...]
small = st.sampled_from([100, 150, 200, 300])
large = st.sampled_from([400, 500, 700, 1_000])
Opening = tuple[list[int], int, tuple[str, ...], bool]
openings = st.tuples(
    st.lists(small, min_size=1, max_size=4), large, st.sampled_from([("a",), ("a", "b"), ("b", "a")]), st.booleans()
)
steps = st.tuples(
    st.sampled_from(
        ["second"] * 6
        + ["large asks"] * 4
        + ["all ask"] * 5
        + ["one leaves"] * 5
        + ["small comes"] * 3
        + ["large comes"] * 2
        + ["one loses its worker"] * 3
        + ["large is silent", "half a minute", "a worker drains"]
    ),
    st.integers(0, 999),
)


@dataclass
class KeptRoom:
    """Of one worker, for one session."""

    session: str
    worker: str
    since_ms: int


@dataclass
class WaitingSession:
    """A session, with a worker or without."""

    choices: Choices
    worker: str | None = None
    cost: int = 0
    had_worker: bool = False
    asked_ms: int | None = None


@dataclass
class HolesModel:
    """What the rule of decision 53 says, written down once more."""

    now_ms: Callable[[], int]
    free: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WORKERS, CAPACITY))
    sessions: dict[str, WaitingSession] = field(default_factory=dict)
    since_ms: dict[tuple[str, str], int] = field(default_factory=dict)
    """By pool and session."""
    holes: dict[str, KeptRoom] = field(default_factory=dict)
    """The last one of each pool."""
    seen: Counter[str] = field(default_factory=Counter)
    draining: set[str] = field(default_factory=set)

    def serving(self, pool: str) -> list[str]:
        """The workers that take sessions."""
        return [name for name, at in WORKERS.items() if at == pool and name not in self.draining]

    def is_waiting(self, name: str) -> bool:
        one = self.sessions.get(name)
        return (
            one is not None
            and one.worker is None
            and one.asked_ms is not None
            and self.now_ms() - one.asked_ms <= WAITS_MS
        )

    def waiting(self, pool: str) -> list[str]:
        """Longest first."""
        there = [(since, name) for (at, name), since in self.since_ms.items() if at == pool and self.is_waiting(name)]
        return [name for _, name in sorted(there)]

    def kept(self, pool: str) -> KeptRoom | None:
        hole = self.holes.get(pool)
        if hole is None or hole.worker in self.draining or self.now_ms() - hole.since_ms >= HOLE_KEPT_MS:
            return None
        return hole if hole.session in self.waiting(pool) else None

    def asks(self, name: str) -> str | None:
        """The worker that it gets."""
        one = self.sessions[name]
        for choice in one.choices:
            hole = None if one.had_worker else self.kept(choice.pool)
            kept_from = hole.worker if hole is not None and hole.session != name else None
            room = [at for at in self.serving(choice.pool) if self.free[at] >= choice.cost]
            if kept_from in room:
                self.seen["kept out"] += 1
            fitting = sorted((self.free[at], at) for at in room if at != kept_from)
            if fitting:
                self._gets(name, fitting[0][1], choice.cost)
                return fitting[0][1]

        self._waits(name)
        return None

    def _gets(self, name: str, worker: str, cost: int) -> None:
        one = self.sessions[name]
        one.worker, one.cost, one.had_worker, one.asked_ms = worker, cost, True, None
        self.free[worker] -= cost
        for pool in POOLS:
            self.since_ms.pop((pool, name), None)
            if (hole := self.holes.get(pool)) is not None and hole.session == name:
                self.seen["filled"] += hole.worker == worker
                del self.holes[pool]

    def _waits(self, name: str) -> None:
        one = self.sessions[name]
        waited = self.is_waiting(name)
        one.asked_ms = self.now_ms()
        for choice in one.choices:
            if not waited or (choice.pool, name) not in self.since_ms:
                self.since_ms[choice.pool, name] = self.now_ms()

        holes = [self.kept(choice.pool) for choice in one.choices]
        if any(hole is not None and hole.session == name for hole in holes):
            return
        for choice in one.choices:
            last = self.holes.get(choice.pool)
            is_there = last is not None and last.worker not in self.draining
            if last is not None and is_there and self.now_ms() - last.since_ms < HOLE_KEPT_MS + HOLE_PAUSE_MS:
                self.seen["in a pause"] += self.kept(choice.pool) is None
                continue
            has_waited = self.now_ms() - self.since_ms[choice.pool, name] >= HOLE_AFTER_MS
            if has_waited and self.waiting(choice.pool)[0] == name:
                most, worker = max(((self.free[at], at) for at in self.serving(choice.pool)), default=(CAPACITY, ""))
                if most < choice.cost:
                    self.holes[choice.pool] = KeptRoom(name, worker, self.now_ms())
                    return

    def loses(self, name: str) -> None:
        one = self.sessions[name]
        assert one.worker is not None
        self.free[one.worker] += one.cost
        one.worker = None


class HolesRun:
    """One example: each step is done in Redis and in the model, and compared."""

    def __init__(self, client: store.Store) -> None:
        self.clock = ManualClock()
        self.client = client
        self.claims = Claims(client, now_ms=self.clock.wall_ms)
        self.model = HolesModel(self.clock.wall_ms)
        self.workers: list[WorkerOffer] = [offer(name, pool) for name, pool in WORKERS.items()]
        self.progress = 0
        self.made = 0

    async def play(self, opening: Opening, drawn: list[tuple[str, int]]) -> None:
        await self.client.flushdb()
        await self.open(*opening)
        for what, number in drawn:
            await self.step(what, number)
            await self.compare()

    async def open(self, sizes: list[int], wanted: int, pools: tuple[str, ...], has_rival: bool) -> None:
        """Both pools are full of small sessions, and the room of one worker is kept for a large one. A rival wants as
        much, came after it, and always asks before it."""
        for worker in self.workers:
            await self.claims.register(worker)
        for pool in POOLS:
            for size in chain(takewhile(partial(self._has_room, pool), cycle(sizes)), repeat(SMALLEST)):
                name = await self.comes(size, (pool,))
                if self.model.sessions[name].worker is None:
                    await self.leaves(name)
                    break

        asking = [LARGE, RIVAL] if has_rival else [LARGE]
        for name in asking:
            await self.comes(wanted, pools, name=name)
        for _ in range(HOLE_AFTER_MS // 1_000):
            await self.second()
            for name in reversed(asking):
                await self.asks(name)
        kept = self.model.kept(pools[0])
        assert kept is not None
        await self.compare()

        # One leaves, who comes is smaller, and is kept out.
        there = next(name for name, one in self.model.sessions.items() if one.worker == kept.worker)
        await self.leaves(there)
        name = await self.comes(SMALLEST, pools[:1])
        assert self.model.sessions[name].worker is None
        assert self.model.seen["kept out"] > 0
        await self.compare()

    def _has_room(self, pool: str, size: int) -> bool:
        return any(self.model.free[name] >= size for name, at in WORKERS.items() if at == pool)

    async def step(self, what: str, number: int) -> None:
        inside = [name for name, one in self.model.sessions.items() if one.worker is not None]
        pools = (POOLS, ("a",), ("b",), ("b", "a"))[number % 4]
        match what:
            case "second":
                await self.second()
            case "large asks" if LARGE in self.outside:
                await self.asks(LARGE)
            case "all ask":
                waiting = self.outside
                for place in range(len(waiting)):
                    await self.asks(waiting[(place + number) % len(waiting)])
            case "small comes":
                await self.comes((100, 150, 200, 300)[number % 4], pools)
            case "large comes":
                await self.comes((400, 600)[number % 2], pools)
            case "one leaves" if inside:
                # Mostly from where room is kept: else little would ever be filled.
                kept_at = [hole.worker for pool in POOLS if (hole := self.model.kept(pool)) is not None]
                there = [name for name in inside if self.model.sessions[name].worker in kept_at]
                among = there if there and number % 4 else inside
                await self.leaves(among[number % len(among)])
            case "one loses its worker" if inside:
                await self.loses(inside[number % len(inside)])
            case "a worker drains":
                worker = self.workers[number % len(self.workers)].identity
                await self.claims.close(worker)
                self.model.draining.add(worker.name)
            case "large is silent":
                for _ in range(WAITS_MS // 1_000 + 1):
                    await self.second()
            case "half a minute":
                for _ in range(HOLE_KEPT_MS // 1_000):
                    await self.second()
                    if LARGE in self.outside:
                        await self.asks(LARGE)
                await self.compare()

    @property
    def outside(self) -> list[str]:
        return [name for name, one in self.model.sessions.items() if one.worker is None]

    async def comes(self, cost: int, pools: tuple[str, ...], *, name: str = "") -> str:
        self.made += 1
        name = name or f"default/s{self.made:03}"
        choices = tuple(PoolChoice(pool, cost) for pool in pools)
        await self.claims.create(record(name.removeprefix("default/"), *choices))
        self.model.sessions[name] = WaitingSession(choices)
        await self.asks(name)
        return name

    async def asks(self, name: str) -> None:
        expected = self.model.asks(name)
        try:
            got = (await self.claims.claim(name)).worker.name
        except NoCapacity:
            got = None
        assert got == expected, f"{name} got {got}, not {expected}: {self.model}"

    async def leaves(self, name: str) -> None:
        if self.model.sessions[name].worker is None:
            await self.claims.set_phase(name, 0, Phase.ENDED)
        else:
            await self._released(name, Phase.ENDED)
        del self.model.sessions[name]

    async def loses(self, name: str) -> None:
        """It goes on at once, wherever there is room."""
        await self._released(name, Phase.RECOVERING)
        await self.asks(name)

    async def _released(self, name: str, phase: Phase) -> None:
        found = await self.claims.record(name)
        assert found is not None
        await self.claims.release(name, epoch=found.epoch, phase=phase)
        self.model.loses(name)

    async def second(self) -> None:
        await time_passes(self.claims, self.clock, 1.0)
        self.progress += 1
        for worker in self.workers:
            await self.claims.renew(worker.identity, progress=self.progress, links={})

    async def compare(self) -> None:
        for pool in POOLS:
            waits = await self.claims.waiting(pool)
            assert [one.session for one in waits] == self.model.waiting(pool)
            kept = self.model.kept(pool)
            expected = {} if kept is None else {kept.session: kept.worker}
            assert {one.session: one.kept_at for one in waits if one.kept_at is not None} == expected
        kept_for = [hole.session for pool in POOLS if (hole := self.model.kept(pool)) is not None]
        assert len(kept_for) == len(set(kept_for)), "in one pool at a time"


def test_kept_rooms_are_what_the_rule_says_in_any_crowd(redis_url: str) -> None:
    seen: Counter[str] = Counter()
    with asyncio.Runner() as runner:
        client = runner.run(_connected(redis_url))

        @settings(
            max_examples=20,
            derandomize=True,  # what is seen of the rule is the same in every run
            database=None,
            phases=[hypothesis.Phase.generate],  # a failure is shown as it is
            suppress_health_check=list(HealthCheck),
        )
        @given(openings, st.lists(steps, min_size=15, max_size=30))
        def play(opening: Opening, drawn: list[tuple[str, int]]) -> None:
            run = HolesRun(client)
            runner.run(run.play(opening, drawn))
            seen.update(run.model.seen)

        try:
            play()
        finally:
            runner.run(client.aclose())
    assert {"kept out", "filled", "in a pause"} <= seen.keys(), "each part of the rule was met"


async def _connected(url: str) -> store.Store:
    return store.connect(url)
