"""Any order of claims, moves, crashes, zombies, expiries, lost replies and losses of Redis keeps every promise.

Each step is one call by one of several gateways and worker processes, so that a competitor comes between any two steps
of another one. After each step all that Redis holds is compared with `model`, which books and indexes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
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

from genlock_cli.redis_server import RedisProcess
from genlock_core import store
from genlock_core.claims import rules
from genlock_core.claims.claims import Claim, Claims, Held, Move, MoveCause
from genlock_core.claims.identity import WorkerOffer
from genlock_core.claims.record import FINISHED
from genlock_core.errors import GenlockError
from genlock_core.spec.session import Phase
from tests.core.claims import probes, samples
from tests.core.claims.model import Model, ModelData

T = TypeVar("T")

POOLS = {"s0": [("a", 400)], "s1": [("a", 600), ("b", 500)], "s2": [("b", 300)], "s3": [("b", 700), ("a", 250)]}
WORKERS = {"w0": ("a", (1, 1)), "w1": ("a", (1, 2)), "w2": ("b", (2, 2)), "w3": ("b", (1, 2))}
START_MS = 1_700_000_000_000
MAX_PROCESSES = 7

sessions = st.sampled_from([f"default/{name}" for name in POOLS])
causes = st.sampled_from(MoveCause)
phases = st.sampled_from([Phase.LIVE, Phase.LIVE, Phase.RECOVERING, Phase.FAILED, Phase.ENDED])
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
        self.model = Model(now=START_MS)
        self.claims = Claims(setting.store, now_ms=lambda: self.model.now)
        self.processes: list[Process] = []
        self.highest: dict[str, int] = {}  # session -> the highest epoch ever granted, by Redis' answers alone
        self.replica: tuple[ModelData, dict[bytes, bytes]] | None = None
        self.last: Callable[[], None] | None = None
        self.may_restart = setting.restart is not None  # once an example: it takes a tenth of a second

    # -- how a step is made -----------------------------------------------------------------------------------------

    def both(self, real: Callable[[], Awaitable[T]], expected: Callable[[], T]) -> T | type[GenlockError]:
        """One call on Redis and on the model: the same answer. It may be repeated later, as after a lost reply."""
        self.model.now += 1

        def once() -> T | type[GenlockError]:
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

    @initialize()
    def begin(self) -> None:
        """Redis has been up for a while, and workers and claims are there."""
        self.setting.wait(probes.flush(self.setting.store))
        self.model.run = self.setting.wait(probes.run_id(self.setting.store))
        for name in POOLS:
            self.create(f"default/{name}")
        self.expire()
        self.model.now += rules.HOLD_MS
        for name in ("w0", "w1", "w2"):
            self.start_process(name)
        self.claim("default/s0")
        self.claim("default/s1")

    # -- sessions ---------------------------------------------------------------------------------------------------

    @rule(session=sessions, idle_timeout_ms=st.sampled_from([1_500, samples.IDLE_TIMEOUT_MS]))
    def create(self, session: str, idle_timeout_ms: int = samples.IDLE_TIMEOUT_MS) -> None:
        name = session.removeprefix("default/")
        record = samples.record(name, *POOLS[name], idle_timeout_ms=idle_timeout_ms)
        self.both(lambda: self.claims.create(record), lambda: self.model.create(record))

    @rule(session=sessions)
    def claim(self, session: str) -> None:
        before = self.highest.get(session, 0)
        current = self.model.data.sessions.get(session)
        owner = current.claim if current else None
        told = self.both(lambda: self.claims.claim(session), lambda: self.model.claim(session))
        if isinstance(told, Claim) and told != owner:
            assert told.epoch > before

    @rule(session=sessions, error=epoch_errors, suspect=st.sampled_from([None, *WORKERS]), cause=causes)
    def move(self, session: str, error: int, suspect: str | None, cause: MoveCause) -> None:
        epoch = self.epoch_of(session, error)
        self.both(
            lambda: self.claims.move(session, expected_epoch=epoch, suspect=suspect, cause=cause),
            lambda: self.model.move(session, epoch, suspect, cause),
        )

    @rule(
        session=sessions, suspects=st.tuples(*[st.sampled_from([None, *WORKERS])] * 2), causes=st.tuples(causes, causes)
    )
    def race_of_two_movers(
        self, session: str, suspects: tuple[str | None, str | None], causes: tuple[MoveCause, MoveCause]
    ) -> None:
        """Two gateways at once, on two connections: one winner, and both know the same claim."""
        self.model.now += 1
        epoch = self.epoch_of(session, 0)

        async def race() -> list[Move | type[GenlockError]]:
            pairs = zip(suspects, causes, strict=True)
            return await asyncio.gather(
                *[answer(self.claims.move(session, expected_epoch=epoch, suspect=s, cause=c)) for s, c in pairs]
            )

        told = self.setting.wait(race())
        moves = [one for one in told if isinstance(one, Move)]
        assert sum(one.won for one in moves) <= 1
        assert len({one.claim for one in moves}) <= 1
        for one in sorted(moves, key=lambda move: not move.won):
            self._check_grant(one)
        # The model replays the order that the answers prove: refused (nothing changed), winner, loser.
        for index in sorted((0, 1), key=lambda i: _rank(told[i])):
            replay = partial(self.model.move, session, epoch, suspects[index], causes[index])
            assert expected_answer(replay) == told[index]

    @rule(session=sessions, error=epoch_errors, phase=phases, reason=st.sampled_from(["", "why"]))
    def set_phase(self, session: str, error: int, phase: Phase, reason: str) -> None:
        epoch = self.epoch_of(session, error)
        self.both(
            lambda: self.claims.set_phase(session, epoch, phase, reason),
            lambda: self.model.set_phase(session, epoch, phase, reason),
        )

    @rule(session=sessions, phase=phases)
    def set_phase_of_unowned(self, session: str, phase: Phase) -> None:
        self.both(lambda: self.claims.set_phase(session, 0, phase), lambda: self.model.set_phase(session, 0, phase, ""))

    @rule(session=sessions, error=epoch_errors, phase=st.sampled_from([Phase.PENDING, Phase.ENDED]))
    def release(self, session: str, error: int, phase: Phase) -> None:
        epoch = self.epoch_of(session, error)
        self.both(
            lambda: self.claims.release(session, epoch=epoch, phase=phase),
            lambda: self.model.release(session, epoch, phase, ""),
        )

    @rule(session=sessions)
    def touch(self, session: str) -> None:
        self.both(lambda: self.claims.touch(session), lambda: self.model.touch(session))

    @rule(session=sessions)
    def forget_and_create(self, session: str) -> None:
        self.forget(session)
        self.create(session)

    @rule(session=sessions)
    def forget(self, session: str) -> None:
        self.both(lambda: self.claims.forget(session), lambda: self.model.forget(session))

    @rule(session=sessions, error=epoch_errors, version=st.sampled_from([0, 1, 2]))
    def note_snapshot_format(self, session: str, error: int, version: int) -> None:
        epoch = self.epoch_of(session, error)
        self.both(
            lambda: self.claims.note_snapshot_format(session, epoch=epoch, version=version),
            lambda: self.model.note_snapshot_format(session, epoch, version),
        )

    @rule(pool=st.sampled_from(["a", "b"]), reserve=st.sampled_from([0, 0, 300, 1_000]))
    def set_reserve(self, pool: str, reserve: int) -> None:
        self.both(
            lambda: self.claims.set_reserve(pool, reserve),
            lambda: self.model.data.reserve.__setitem__(pool, reserve),
        )

    # -- workers ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.processes) < MAX_PROCESSES)
    @rule(name=st.sampled_from(list(WORKERS)))
    def start_process(self, name: str) -> None:
        """A worker comes, or a crashed one comes again; its older incarnation may still run, as a zombie."""
        pool, formats = WORKERS[name]
        offer = samples.offer(name, pool, formats=formats)
        self.processes.append(Process(offer))
        self.both(lambda: self.claims.register(offer), lambda: self.model.register(offer))

    @rule(index=any_process)
    def register_again(self, index: int) -> None:
        """What a zombie must not do in life; even then nothing is owned twice."""
        offer = self.process(index).offer
        self.both(lambda: self.claims.register(offer), lambda: self.model.register(offer))

    @rule(index=any_process, stuck=st.sampled_from([False, False, False, True]))
    def renew(self, index: int, stuck: bool) -> None:
        process = self.process(index)
        process.progress += 0 if stuck else 1
        identity, progress = process.offer.identity, process.progress
        told = self.both(
            lambda: self.claims.renew(identity, progress=progress, links={"default/s0": ["g0"]}),
            lambda: self.model.renew(identity, progress),
        )
        assert not isinstance(told, type)
        if told.known:
            process.held = {name: self.held(name) for name in told.owned}

    @rule(waits_ms=st.sampled_from([200, 500, 700]))
    def all_renew(self, waits_ms: int) -> None:
        """Time goes by with every process healthy, so that workers stay fresh often enough for claims to succeed."""
        self.model.now += waits_ms
        for index in range(len(self.processes)):
            self.renew(index, stuck=False)

    @rule(index=any_process)
    def close(self, index: int) -> None:
        identity = self.process(index).offer.identity
        self.both(lambda: self.claims.close(identity), lambda: self.model.close(identity))

    @rule(index=any_process, closed=st.sampled_from([False, False, True]))
    def reassert(self, index: int, closed: bool) -> None:
        process = self.process(index)
        held = list(process.held.values())
        self.both(
            lambda: self.claims.reassert(process.offer, held, closed=closed),
            lambda: self.model.reassert(process.offer, held, closed=closed),
        )

    def held(self, session: str) -> Held:
        claim = self.model.data.sessions[session].claim
        assert claim is not None
        name = session.removeprefix("default/")
        return Held(session, claim.epoch, claim.cost, replace(samples.record(name, *POOLS[name]), phase=Phase.LIVE))

    # -- time and faults --------------------------------------------------------------------------------------------

    @rule()
    def expire(self) -> None:
        self.both(lambda: self.claims.expire(), lambda: self.model.expire())

    @rule(ms=st.sampled_from([10, 600, 1_100, 2_100, 5_000, 31_000]))
    def time_goes_by(self, ms: int) -> None:
        self.model.now += ms

    @precondition(lambda self: self.last is not None)
    @rule()
    def repeat_the_last_call(self) -> None:
        """Its reply was lost, so the client sends it again."""
        assert self.last is not None
        self.last()

    @rule(how=st.integers(0, 3))
    def redis_loses_everything(self, how: int) -> None:
        """Often with the workers healthy, so that what follows is their reasserting."""
        self.setting.wait(probes.flush(self.setting.store))
        self.model.data = ModelData()
        self.last = None
        for index in range(len(self.processes) if how else 0):
            self.reassert(index, closed=False)

    @rule()
    def replica_is_written(self) -> None:
        self.replica = self.model.copy_of_data(), self.setting.wait(probes.dump(self.setting.store))

    @precondition(lambda self: self.replica is not None)
    @rule()
    def lagging_replica_takes_over(self) -> None:
        """Redis goes back to an older state; the guard in it is that of another run."""
        assert self.replica is not None
        data, copied = self.replica
        self.setting.wait(probes.restore(self.setting.store, copied))
        self.model.data, self.replica, self.last = data, None, None
        if data.guard is not None:
            data.guard = ("another run", data.guard[1])
            self.setting.wait(probes.set_guard(self.setting.store, "another run"))

    @precondition(lambda self: self.may_restart)
    @rule()
    def redis_restarts_and_keeps_its_data(self) -> None:
        assert self.setting.restart is not None
        self.may_restart = False
        self.setting.restart()
        self.model.run = self.setting.wait(probes.run_id(self.setting.store))
        self.last = None

    # -- what is always true ----------------------------------------------------------------------------------------

    @invariant()
    def promises_hold(self) -> None:
        found = self.setting.wait(probes.look(self.setting.store))
        self.no_capacity_is_owned_twice(found)
        self.redis_holds_what_the_model_says(found)
        self.indices_agree(found)

    def no_capacity_is_owned_twice(self, found: probes.Look) -> None:
        """By Redis' own books, without the model."""
        owned = {name: session for name, session in found.sessions.items() if "owner" in session}
        for name, worker in found.workers.items():
            mine = {s: f for s, f in owned.items() if (f["owner"], f["incarnation"]) == (name, worker["incarnation"])}
            assert worker["owned"] == {s: f"{f['epoch']}:{f['cost']}" for s, f in mine.items()}
            assert int(worker["free"]) + sum(int(f["cost"]) for f in mine.values()) == int(worker["capacity"])
            assert int(worker["free"]) >= 0
        assert all(session["owner"] in found.workers for session in owned.values())
        assert sum(len(worker["owned"]) for worker in found.workers.values()) == len(owned)
        assert not any(session["phase"] in FINISHED for session in owned.values())

    def redis_holds_what_the_model_says(self, found: probes.Look) -> None:
        sessions, workers = self.model.data.sessions, self.model.data.workers
        assert {
            name: (
                (f["phase"], f["reason"], int(f["epoch"]), int(f["snapshot_format"]), int(f["active_ms"])),
                tuple(f.get(key) for key in ("owner", "incarnation", "address", "pool", "cost")),
            )
            for name, f in found.sessions.items()
        } == {
            name: ((s.phase, s.reason, s.epoch, s.format, s.active_ms), _claim_fields(s.claim))
            for name, s in sessions.items()
        }
        assert {
            name: (f["incarnation"], int(f["free"]), f["state"], int(f["heartbeat_ms"]), int(f["progress"]))
            for name, f in found.workers.items()
        } == {
            name: (w.offer.identity.incarnation, self.model.free(name), w.state, w.heartbeat_ms, w.progress)
            for name, w in workers.items()
        }

    def indices_agree(self, found: probes.Look) -> None:
        held, workers = self.model.data.sessions.items(), self.model.data.workers.values()
        active = {name: s for name, s in held if s.phase not in FINISHED}
        assert found.indices["leases"] == {name: s.lease_ms for name, s in held if s.claim}
        assert found.indices["idle"] == {name: s.active_ms + s.idle_timeout_ms for name, s in active.items()}
        assert found.indices["finished"] == {n: s.finished_ms + s.ttl_ms for n, s in held if n not in active}
        assert found.indices["heartbeats"] == {w.name: w.heartbeat_ms for w in workers}
        for pool in ("a", "b"):
            ready = [w for w in workers if w.offer.pool == pool and not w.draining]
            assert found.indices[f"pool:{pool}:free"] == {w.name: self.model.free(w.name) for w in ready}


def _rank(told: Move | type[GenlockError]) -> int:
    return (1 if told.won else 2) if isinstance(told, Move) else 0


def _claim_fields(claim: Claim | None) -> tuple[object, ...]:
    if claim is None:
        return (None,) * 5
    return claim.worker.name, claim.worker.incarnation, claim.address, claim.pool, str(claim.cost)


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
