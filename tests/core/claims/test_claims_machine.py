"""Any order of claims, moves, crashes, zombies, expiries, lost replies and losses of Redis keeps every promise.

Each step is one call by one of several gateways and worker processes, so that a competitor comes between any two steps
of another one. After each step all that Redis holds is compared with `model`, which books and indexes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar, cast

import hypothesis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.exceptions import RedisError

from genlock_cli.redis_server import RedisProcess
from genlock_core import store
from genlock_core.claims import liveness
from genlock_core.claims.claims import Claim, Claims, Held, Move, MoveCause
from genlock_core.claims.identity import WorkerOffer
from genlock_core.claims.pulse import Vitals
from genlock_core.claims.record import ControlValue, Granted, HalfRate, PoolChoice
from genlock_core.errors import GenlockError
from genlock_core.spec.session import Phase
from tests.core.claims import probes, promises, samples
from tests.core.claims.model import Model
from tests.core.claims.model_data import ModelData

T = TypeVar("T")

POOLS = {
    "s0": (PoolChoice("a", 400, (200, 400, 600, 800), half=HalfRate(1, 120)),),
    "s1": (PoolChoice("a", 700, (500, 700, 900, 1_000)), PoolChoice("b", 500, (250, 500, 500, 1_000))),
    "s2": (PoolChoice("b", 300),),  # as the release before sizes it
    "s3": (PoolChoice("b", 700, (300, 700, 700, 900)), PoolChoice("a", 250, (100, 250, 300, 1_000))),
    "s4": (
        PoolChoice("b", 900, (600, 900, 900, 1_000), half=HalfRate(2, 350)),
        PoolChoice("a", 300, (150, 300, 450, 600), model="small"),
    ),
}
NEVER_LOWERED = "s3"
WORKERS = {"w0": ("a", (1, 1)), "w1": ("a", (1, 2)), "w2": ("b", (2, 2)), "w3": ("b", (1, 2))}
START_MS = 1_700_000_000_000
LEAVES_OUT_NO_FRAME = "w1"
MAX_PROCESSES = 7

sessions = st.sampled_from([f"default/{name}" for name in POOLS])
causes = st.sampled_from(MoveCause)
suspects = st.sampled_from([None, None, *WORKERS])
phases = st.sampled_from([Phase.LIVE, Phase.LIVE, Phase.RECOVERING, Phase.FAILED, Phase.ENDED])
versions = st.sampled_from([None, None, 1, 2])
failures = st.sampled_from(["lose", "lose, reassert", "lose, compete", "copy", "copy", "go back", "restart"])
pools = st.sampled_from(["a", "b"])
levels = st.sampled_from([(None, 1), (1, 1), (1, 1), (2, 1), (3, 1), (1, 2), (2, 2)])
any_process = st.integers(0, MAX_PROCESSES - 1)
epoch_errors = st.sampled_from([0, 0, 0, -1, 1])


@dataclass
class Setting:
    """A real Redis or Redis Cluster, the event loop that talks to it, and a way to restart it (None: there is none)."""

    runner: asyncio.Runner
    store: store.Store
    restart: Callable[[], None] | None

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)


@dataclass
class Process:
    """A worker process as it sees itself; it lives on as a zombie when a newer incarnation has come."""

    offer: WorkerOffer
    progress: int = 0
    held: dict[str, Held] = field(default_factory=dict)


async def answer(call: Awaitable[T]) -> T | type[GenlockError]:
    """What Redis answered, or which of our errors was raised."""
    try:
        return await call
    except GenlockError as error:
        return type(error)


def expected_answer(call: Callable[[], T]) -> T | type[GenlockError]:
    """The same of the model."""
    try:
        return call()
    except GenlockError as error:
        return type(error)


class ClaimsMachine(RuleBasedStateMachine):
    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setting = setting
        self.model = Model(wall=START_MS)
        self.claims = Claims(setting.store, now_ms=lambda: self.model.wall)
        self.processes: list[Process] = []
        self.highest: dict[str, int] = {}  # session -> the highest epoch ever granted, by Redis' answers alone
        self.replica: tuple[ModelData, dict[bytes, bytes]] | None = None
        self.last: Callable[[], None] | None = None
        self.may_restart = setting.restart is not None  # once an example: it takes a tenth of a second

    # -- how a step is made -----------------------------------------------------------------------------------------

    def both(self, real: Callable[[], Awaitable[T]], expected: Callable[[], T]) -> T | type[GenlockError]:
        """One call on Redis and on the model: the same answer. It may be repeated later, as after a lost reply."""
        self.model.wall += 1

        def once() -> T | type[GenlockError]:
            self.model.prove()
            told = self.setting.wait(answer(real()))
            assert told == expected_answer(expected)
            return told

        self.last = lambda: self._check_grant(once())
        told = once()
        self._check_grant(told)
        return told

    def _check_grant(self, told: object) -> None:
        """A move that wins has a higher epoch than any claim before it, whatever Redis lost meanwhile."""
        claim = told.claim if isinstance(told, Move) else told
        if not isinstance(claim, Claim):
            return
        highest = self.highest.get(claim.session, 0)
        assert not (isinstance(told, Move) and told.won) or claim.epoch > highest
        self.highest[claim.session] = max(highest, claim.epoch)

    def process(self, index: int) -> Process:
        return self.processes[index % len(self.processes)]

    def epoch_of(self, session: str, error: int) -> int:
        found = self.model.data.sessions.get(session)
        return max(found.epoch + error, 0) if found else 7

    def seen_epoch(self, session: str, error: int) -> int:
        """What a gateway goes by that has seen every claim: more than Redis knows where that went back."""
        highest = self.highest.get(session, 0)
        return highest if highest > self.epoch_of(session, 0) else self.epoch_of(session, error)

    @initialize()
    def begin(self) -> None:
        """Redis has been up for a while, and workers and claims are there."""
        self.setting.wait(probes.flush(self.setting.store))
        self.model.run = self.setting.wait(probes.run_id(self.setting.store))
        for name in POOLS:
            self.create(f"default/{name}")
        self.expire()
        self.time_passes(liveness.HOLD_MS)
        for name in ("w0", "w1", "w2"):
            self.start_process(name)
        for name in POOLS:
            self.claim(f"default/{name}")
        self.all_renew(waits_ms=0)

    # -- sessions ---------------------------------------------------------------------------------------------------

    @rule(
        session=sessions, how=st.sampled_from(["create", "impatient", "touch", "reserve", "reserve", "forget", "anew"])
    )
    def tend(self, session: str, how: str) -> None:
        match how:
            case "create":
                self.create(session)
            case "impatient":
                self.create(session, idle_timeout_ms=1_500)
            case "touch":
                self.both(lambda: self.claims.touch(session), lambda: self.model.touch(session))
            case "reserve":
                self.set_reserve("a" if session < "default/s2" else "b")
            case _:
                self.both(lambda: self.claims.forget(session), lambda: self.model.forget(session))
                if how == "anew":
                    self.create(session)
                    self.claim(session)

    def create(
        self,
        session: str,
        idle_timeout_ms: int = samples.IDLE_TIMEOUT_MS,
        pools: Sequence[PoolChoice] | None = None,
        steps: int | None = None,
    ) -> None:
        """Each time for another object of that name: the record keeps the uid that it was made with."""
        name, uid = session.removeprefix("default/"), f"uid {self.model.wall}"
        record = samples.record(
            name,
            *(pools or POOLS[name]),
            idle_timeout_ms=idle_timeout_ms,
            uid=uid,
            steps=steps,
            adaptive=name != NEVER_LOWERED,
        )
        self.both(lambda: self.claims.create(record), lambda: self.model.create(record))

    @rule(
        session=sessions,
        error=epoch_errors,
        change=st.sampled_from(["none", "back", "steps", "dearer", "cheaper", "pools", "no levels"]),
    )
    def fit(self, session: str, error: int, change: str) -> None:
        """A session's spec was changed: it asks for more or less of a worker, or for workers of another pool."""
        match change:
            case "back":
                self.create(session)
            case "steps":
                self.create(session, steps=3)
            case "dearer" | "cheaper":
                by = 250 if change == "dearer" else -100
                self.create(session, pools=[_dearer(choice, by) for choice in POOLS[session.removeprefix("default/")]])
            case "no levels":  # an operator of the release before
                pools = [replace(choice, levels=()) for choice in POOLS[session.removeprefix("default/")]]
                self.create(session, pools=pools)
            case "pools":
                self.create(session, pools=[PoolChoice("b" if session < "default/s2" else "a", 300)])
        epoch = self.epoch_of(session, error)
        self.both(lambda: self.claims.fit(session, expected_epoch=epoch), lambda: self.model.fit(session, epoch))

    @rule(session=sessions, steps=st.integers(1, 4), until=st.sampled_from(["paid for", "written down", "given back"]))
    def steer(self, session: str, steps: int, until: str) -> None:
        """A user asks for steps. The gateway may die after it has had them paid for; the worker before it settles."""
        self.both(lambda: self.claims.grant(session, steps), lambda: self.model.grant(session, steps))
        if until == "paid for":
            return
        self.model.wall += 1
        wish = self.model.wall
        self.both(
            lambda: self.claims.remember_control(session, {"steps": str(steps)}, f"{wish}-0"),
            lambda: self.model.wish(session, steps, wish),
        )
        if until == "given back":
            self.all_renew(waits_ms=0)
            self.all_renew(waits_ms=liveness.GIVE_BACK_MS)

    @rule(session=sessions, error=epoch_errors, is_newest=st.sampled_from([True, True, True, False]))
    def settle(self, session: str, error: int, is_newest: bool) -> None:
        found = self.model.data.sessions.get(session)
        epoch, number = self.epoch_of(session, error), (found.number if found else 7) - (0 if is_newest else 1)
        self.both(
            lambda: self.claims.settle(session, epoch=epoch, number=number),
            lambda: self.model.settle(session, epoch, number),
        )

    @rule(
        session=sessions,
        error=epoch_errors,
        is_newest=st.sampled_from([True, True, True, False]),
        level=levels,
        then=st.sampled_from(["nothing", "settled", "beats"]),
    )
    def limit(self, session: str, error: int, is_newest: bool, level: tuple[int | None, int], then: str) -> None:
        """Somebody decides on levels, by what is true, or by what was; nobody knows who else does."""
        found = self.model.data.sessions.get(session)
        epoch, number = self.epoch_of(session, error), (found.number if found else 7) - (0 if is_newest else 1)
        steps, every = level
        self.both(
            lambda: self.claims.limit(session, epoch=epoch, number=number, steps=steps, every=every),
            lambda: self.model.limit(session, epoch, number, steps, every),
        )
        match then:
            case "settled":
                self.settle(session, error=0, is_newest=True)
            case "beats":
                self.all_renew(waits_ms=100)

    @rule(pool=pools, holder=st.sampled_from([("operator", 0), ("g0", 1), ("g1", 1)]))
    def decide(self, pool: str, holder: tuple[str, int]) -> None:
        name, rank = holder
        self.both(lambda: self.claims.decide(pool, holder=name, rank=rank), lambda: self.model.decide(pool, name, rank))

    @rule(pool=pools)
    def who_waits(self, pool: str) -> None:
        self.both(lambda: self.claims.waiting(pool), lambda: self.model.waiting(pool))

    def set_reserve(self, pool: str) -> None:
        """On, or off again."""
        reserve = 1_000 - self.model.data.reserve.get(pool, 0)
        self.setting.wait(self.claims.set_reserve(pool, reserve))  # it is no script: no time passes
        self.model.data.reserve[pool] = reserve

    @rule(session=sessions)
    def claim_anew(self, session: str) -> None:
        self.all_renew(waits_ms=0)
        epoch = self.epoch_of(session, 0)
        self.both(
            lambda: self.claims.release(session, epoch=epoch, phase=Phase.PENDING),
            lambda: self.model.release(session, epoch, Phase.PENDING, ""),
        )
        self.claim(session)

    @rule(session=sessions)
    def claim(self, session: str) -> None:
        before = self.highest.get(session, 0)
        found = self.model.data.sessions.get(session)
        owned = found.claim if found else None
        told = self.both(
            lambda: self.claims.claim(session, seen_epoch=before), lambda: self.model.claim(session, before)
        )
        assert not isinstance(told, Claim) or told == owned or told.epoch > before

    @rule(large=sessions, small=sessions)
    def a_large_one_waits_for_long_and_a_small_one_comes(self, large: str, small: str) -> None:
        """Both never had a worker. The large one would have one to itself, the small one all that is left anywhere."""
        self.make_anew(large, 1_000)
        for _ in range(liveness.HOLE_AFTER_MS // 2_100 + 2):
            self.all_renew(waits_ms=0)
            self.claim(large)
            self.time_passes(2_100)
        if small != large:
            left = [self.model.free(name) for name, one in self.model.data.workers.items() if one.offer.pool == "a"]
            self.make_anew(small, max([1, *left]))
            self.all_renew(waits_ms=0)
            self.claim(small)

    def make_anew(self, session: str, cost: int) -> None:
        epoch = self.epoch_of(session, 0)
        self.both(
            lambda: self.claims.release(session, epoch=epoch, phase=Phase.ENDED),
            lambda: self.model.release(session, epoch, Phase.ENDED, ""),
        )
        self.both(lambda: self.claims.forget(session), lambda: self.model.forget(session))
        self.create(session, pools=[PoolChoice("a", cost)])

    @rule(
        session=sessions,
        error=epoch_errors,
        suspect=suspects,
        cause=causes,
        version=versions,
        steps=st.sampled_from([None, None, 1, 3]),
    )
    def move(
        self, session: str, error: int, suspect: str | None, cause: MoveCause, version: int | None, steps: int | None
    ) -> None:
        """With every worker healthy; a `version` is that of a snapshot which the owner has just written."""
        self.all_renew(waits_ms=100)
        if version is not None:
            self.note_snapshot_format(session, self.epoch_of(session, 0), version)
        epoch = self.seen_epoch(session, error)
        self.both(
            lambda: self.claims.move(session, expected_epoch=epoch, suspect=suspect, cause=cause, steps=steps),
            lambda: self.model.move(session, epoch, suspect, cause, steps=steps),
        )

    @rule(session=sessions, who=st.tuples(suspects, suspects), why=st.tuples(causes, causes))
    def race_of_two_movers(
        self, session: str, who: tuple[str | None, str | None], why: tuple[MoveCause, MoveCause]
    ) -> None:
        """Two gateways at once, on two connections: one winner, and both know the same claim."""
        self.all_renew(waits_ms=0)
        self.model.wall += 1
        self.model.prove()
        epoch = self.seen_epoch(session, 0)

        async def race() -> list[Move | type[GenlockError]]:
            pairs = zip(who, why, strict=True)
            return await asyncio.gather(
                *[answer(self.claims.move(session, expected_epoch=epoch, suspect=s, cause=c)) for s, c in pairs]
            )

        told = self.setting.wait(race())
        moves = [one for one in told if isinstance(one, Move) and one.claim.epoch != epoch]
        assert sum(one.won for one in moves) <= 1
        assert len({one.claim for one in moves}) <= 1
        for one in sorted(moves, key=lambda move: not move.won):
            self._check_grant(one)
        # The model replays the order that the answers prove: who changed nothing (refused, or EXPIRED of a live lease),
        # the winner, the loser.
        for index in sorted((0, 1), key=lambda i: _rank(told[i], epoch)):
            replay = partial(self.model.move, session, epoch, who[index], why[index])
            assert expected_answer(replay) == told[index]

    @rule(
        session=sessions,
        error=epoch_errors,
        what=st.sampled_from(["phase", "format", "release", "unowned"]),
        phase=phases,
        version=st.sampled_from([0, 1, 2]),
    )
    def write(self, session: str, error: int, what: str, phase: Phase, version: int) -> None:
        """An owner writes, or somebody who was one; nothing of a stale epoch gets through."""
        epoch = 0 if what == "unowned" else self.epoch_of(session, error)
        claims, model = self.claims, self.model
        match what:
            case "format":
                self.note_snapshot_format(session, epoch, version)
            case "release":
                self.both(
                    lambda: claims.release(session, epoch=epoch, phase=phase, reason="done"),
                    lambda: model.release(session, epoch, phase, "done"),
                )
            case _:
                self.both(
                    lambda: claims.set_phase(session, epoch, phase), lambda: model.set_phase(session, epoch, phase, "")
                )

    def note_snapshot_format(self, session: str, epoch: int, version: int) -> None:
        self.both(
            lambda: self.claims.note_snapshot_format(session, epoch=epoch, version=version),
            lambda: self.model.note_snapshot_format(session, epoch, version),
        )

    # -- workers ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.processes) < MAX_PROCESSES)
    @rule(name=st.sampled_from(list(WORKERS)))
    def start_process(self, name: str) -> None:
        """A worker comes, or a crashed one comes again; its older incarnation may still run, as a zombie."""
        pool, formats = WORKERS[name]
        halves = name != LEAVES_OUT_NO_FRAME
        process = Process(samples.offer(name, pool, formats=formats, halves=halves))
        self.processes.append(process)
        self.register(process)

    def register(self, process: Process) -> None:
        self.both(lambda: self.claims.register(process.offer), lambda: self.model.register(process.offer))

    @rule(
        index=any_process,
        stuck=st.sampled_from([False, False, False, True]),
        overloaded=st.sampled_from([None, None, False, True]),
    )
    def renew(self, index: int, stuck: bool, overloaded: bool | None = None) -> None:
        """`overloaded`: what the worker says of that; None: it says nothing of itself, as in an older release."""
        process = self.process(index)
        process.progress += 0 if stuck else 1
        identity, progress = process.offer.identity, process.progress
        said = None if overloaded is None else Vitals(1, "stepping", 0, 0, patient=False, overloaded=overloaded)
        told = self.both(
            lambda: self.claims.renew(identity, progress=progress, links={"default/s0": ["g0"]}, vitals=said),
            lambda: self.model.renew(identity, progress, overloaded=overloaded),
        )
        assert not isinstance(told, type)
        if told.known:
            process.held = {name: self.held(name) for name in told.owned}

    @rule(
        session=sessions,
        overloaded=st.lists(st.sampled_from([True, True, False]), min_size=MAX_PROCESSES, max_size=MAX_PROCESSES),
        is_new=st.booleans(),
    )
    def a_session_wants_a_worker_while_some_are_overloaded(
        self, session: str, overloaded: list[bool], *, is_new: bool
    ) -> None:
        """It gives its place back, and asks for one: as a new one, or as one that had a worker before."""
        for index in range(len(self.processes)):
            self.renew(index, stuck=False, overloaded=overloaded[index])
        epoch, phase = self.epoch_of(session, 0), Phase.ENDED if is_new else Phase.PENDING
        self.both(
            lambda: self.claims.release(session, epoch=epoch, phase=phase),
            lambda: self.model.release(session, epoch, phase, ""),
        )
        if is_new:
            self.both(lambda: self.claims.forget(session), lambda: self.model.forget(session))
            self.create(session)
        self.claim(session)

    def all_renew(self, waits_ms: int) -> None:
        """Time goes by with every process healthy."""
        self.time_passes(waits_ms)
        for index in range(len(self.processes)):
            self.renew(index, stuck=False)

    @rule(index=any_process, what=st.sampled_from(["close", "register", "reassert", "reassert", "reassert closed"]))
    def act_as_worker(self, index: int, what: str) -> None:
        """Also what a zombie must not do in life, such as registering again: even then nothing is owned twice."""
        process = self.process(index)
        identity = process.offer.identity
        match what:
            case "close":
                self.both(lambda: self.claims.close(identity), lambda: self.model.close(identity))
            case "register":
                self.register(process)
            case _:
                self.reassert(process, closed=what == "reassert closed")

    def reassert(self, process: Process, *, closed: bool, held: list[Held] | None = None) -> None:
        held = list(process.held.values()) if held is None else held
        self.both(
            lambda: self.claims.reassert(process.offer, held, closed=closed),
            lambda: self.model.reassert(process.offer, held, closed=closed),
        )

    def held(self, session: str) -> Held:
        found = self.model.data.sessions[session]
        claim = found.claim
        assert claim is not None
        name = session.removeprefix("default/")
        record = samples.record(name, *POOLS[name], adaptive=name != NEVER_LOWERED)
        granted = found.last_granted
        known = replace(
            record,
            phase=Phase.LIVE,
            epoch=claim.epoch,
            granted=None if granted is None else Granted(granted.steps, found.number, found.granted_ms, granted.every),
            limit=found.limit[1] if found.limit is not None and found.limit[0] == claim.epoch else None,
            below_since_ms=found.below_ms,
            stand_in=found.stand_in,
            control={} if found.wish is None else {"steps": ControlValue(str(found.wish), f"{found.wish_id}-0")},
        )
        return Held(session, claim.epoch, claim.cost, known)

    # -- time and faults --------------------------------------------------------------------------------------------

    @rule()
    def expire(self) -> None:
        self.both(lambda: self.claims.expire(), lambda: self.model.expire())

    @rule(ms=st.sampled_from([10, 600, 1_100, 2_100, 5_000, 31_000]))
    def time_passes(self, ms: int) -> None:
        """Redis takes writes all the while: somebody asks it twice a second, as a gateway does."""

        async def ask() -> None:
            for until_ms in range(ms, 0, -500):
                self.model.wall += min(until_ms, 500)
                self.model.prove()
                await self.claims.worker("nobody")

        self.setting.wait(ask())

    @rule(ms=st.sampled_from([900, 3_000, 8_000, 60_000, 7_200_000]), back=st.booleans())
    def redis_stalls_or_its_clock_steps(self, ms: int, back: bool) -> None:
        """Nobody can tell the one from the other."""
        self.model.wall += -ms if back else ms

    @precondition(lambda self: self.setting.restart is not None)  # nodes of a cluster are told otherwise
    @rule(ms=st.sampled_from([600, 3_000, 31_000]), refusal=st.sampled_from(probes.Refusal))
    def redis_takes_no_writes(self, ms: int, refusal: probes.Refusal) -> None:
        """Whatever is asked meanwhile, nothing changes: the model is not told."""

        async def all_ask() -> None:
            async with probes.refusing(self.setting.store, refusal):
                self.model.wall += ms
                asked = [self.claims.renew(one.offer.identity, progress=10**9, links={}) for one in self.processes]
                for call in (self.claims.expire(), *asked):
                    with suppress(RedisError):
                        await call

        self.setting.wait(all_ask())

    @precondition(lambda self: self.last is not None)
    @rule()
    def repeat_the_last_call(self) -> None:
        """Its reply was lost, so the client sends it again."""
        assert self.last is not None
        self.last()

    @rule(how=failures)
    def redis_fails(self, how: str) -> None:
        match how:
            case "copy":
                self.replica = self.model.copy_of_data(), self.setting.wait(probes.dump(self.setting.store))
            case "go back" if self.replica is not None:
                self.lagging_replica_takes_over(*self.replica)
            case "restart" if self.may_restart and self.setting.restart is not None:
                self.may_restart = False
                self.setting.restart()
                self.model.run = self.setting.wait(probes.run_id(self.setting.store))
            case _ if how.startswith("lose"):
                self.redis_loses_everything(compete=how == "lose, compete", reassert=how != "lose")
        self.last = None

    def redis_loses_everything(self, *, compete: bool, reassert: bool) -> None:
        """`compete`: before the workers reassert, new claims take the room that some of them need."""
        self.setting.wait(probes.flush(self.setting.store))
        self.model.data = ModelData()
        if compete:
            self.reassert(self.processes[0], held=[], closed=False)
            for session in ("default/s1", "default/s3"):
                self.create(session)
                self.claim(session)
        for process in self.processes if reassert else ():
            self.reassert(process, closed=False)

    def lagging_replica_takes_over(self, data: ModelData, copied: dict[bytes, bytes]) -> None:
        """Redis goes back to an older state; the guard in it is that of another run."""
        self.setting.wait(probes.restore(self.setting.store, copied))
        self.model.data, self.replica = data, None
        if data.guard is not None:
            data.guard = ("another run", data.guard[1])
            self.setting.wait(probes.set_guard(self.setting.store, "another run"))

    # -- what is always true ----------------------------------------------------------------------------------------

    @invariant()
    def promises_hold(self) -> None:
        found = self.setting.wait(probes.look(self.setting.store))
        promises.no_capacity_is_owned_twice(found)
        promises.redis_holds_what_the_model_says(found, self.model)
        promises.indices_agree(found, self.model)


def _dearer(choice: PoolChoice, by: int) -> PoolChoice:
    return replace(choice, cost=choice.cost + by, levels=tuple(min(1_000, max(1, cost + by)) for cost in choice.levels))


def _rank(told: Move | type[GenlockError], expected_epoch: int) -> int:
    if not isinstance(told, Move) or told.claim.epoch == expected_epoch:
        return 0
    return 1 if told.won else 2


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def run_machine(setting: Setting, *, examples: int) -> None:
    try:
        run_state_machine_as_test(
            cast("Any", lambda: ClaimsMachine(setting)),
            settings=settings(
                max_examples=examples,
                stateful_step_count=50,
                deadline=None,
                phases=[hypothesis.Phase.generate],  # a failure is shown as it is: shrinking it would take minutes
                suppress_health_check=list(HealthCheck),
                database=None,
            ),
        )
    finally:
        setting.wait(setting.store.aclose())


def test_promises_hold_on_a_redis_that_restarts(redis_server: RedisProcess, runner: asyncio.Runner) -> None:
    setting = Setting(runner, store.connect(redis_server.url), redis_server.restart)
    run_machine(setting, examples=30)


def test_promises_hold_on_a_redis_cluster(redis_cluster: list[str], runner: asyncio.Runner) -> None:
    address = "redis+cluster://" + ",".join(url.removeprefix("redis://").removesuffix("/0") for url in redis_cluster)
    run_machine(Setting(runner, store.connect(address), None), examples=15)
