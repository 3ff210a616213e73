"""No order of plans, wishes, settlements, deaths and losses lets a session run what nobody pays for.

Two deciders go by what they read at some time. A worker's engine follows late, and what it settles arrives late, twice
or never. After each step: free and costs make the capacity; nothing runs above its price; no worker is granted what it
cannot keep, and no claim more than its limit.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import hypothesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from genlock_core import store
from genlock_core.claims import keys, liveness
from genlock_core.claims.claims import Claims, GrantOutcome, LimitOutcome, MoveCause
from genlock_core.claims.record import SessionRecord, from_fields
from genlock_core.errors import GenlockError
from genlock_core.spec.session import Phase
from tests.core.claims import probes, promises, samples
from tests.core.claims.level_actors import CHOICES, NEVER_LOWERED, Decider, Process, Settlement, price
from tests.core.claims.passing import STEP_MS

EXAMPLES = int(os.environ.get("GENLOCK_LEVELS_EXAMPLES", "10"))
"""`make nightly` tries many."""
START_MS = 1_700_000_000_000
WORKERS = ("w0", "w1", "w2")
LEAVES_OUT_NO_FRAME = "w1"
KNOWS_NO_CEILINGS = "w2"
"""As a worker of an older release: it runs what its users ask for."""

sessions = st.sampled_from([f"default/{name}" for name in CHOICES])
workers = st.integers(0, len(WORKERS) - 1)
deciders = st.sampled_from([0, 1])
levels = st.sampled_from([(1, 1), (1, 1), (2, 1), (3, 1), (1, 2), (1, 2)])
impolite = st.sampled_from([MoveCause.REFUSED, MoveCause.DRAIN, MoveCause.REQUESTED])


class LevelsMachine(RuleBasedStateMachine):
    def __init__(self, runner: asyncio.Runner, client: store.Store) -> None:
        super().__init__()
        self.runner = runner
        self.client = client
        self.wall_ms = START_MS
        self.claims = Claims(client, now_ms=lambda: self.wall_ms)
        self.processes: list[Process] = []
        self.deciders = (Decider(), Decider())
        self.settlements: list[Settlement] = []
        self.wishes = 0
        self.copied: dict[bytes, bytes] | None = None
        self.excused: set[tuple[str, int]] = set()
        """Claims of which Redis has forgotten something: their worker has to hear twice of it, and to follow."""

    def wait(self, work: Any) -> Any:
        self.wall_ms += 1
        return self.runner.run(work)

    def run(self, call: Callable[[], Any]) -> Any:
        """What it answers; None where there is no room, or nobody has the session."""

        async def tried() -> Any:
            with suppress(GenlockError):
                return await call()

        return self.wait(tried())

    def record(self, session: str) -> SessionRecord | None:
        return self.runner.run(self.claims.record(session))

    @initialize()
    def begin(self) -> None:
        self.wait(probes.flush(self.client))
        for name in CHOICES:
            self.create(name)
        self.wait(self.claims.expire())
        self.time_passes(liveness.HOLD_MS + STEP_MS)
        for name in WORKERS:
            self.processes.append(self.start(name))
        for name in CHOICES:
            self.claim(f"default/{name}")
        self.all_beat()

    def create(self, name: str) -> None:
        self.wait(self.claims.create(samples.record(name, CHOICES[name], steps=4, adaptive=name != NEVER_LOWERED)))

    def start(self, name: str) -> Process:
        process = Process(samples.offer(name, halves=name != LEAVES_OUT_NO_FRAME), self.claims)
        self.wait(self.claims.register(process.offer))
        self.forget_what_an_old_one_does_not_know()
        return process

    def reassert_all(self) -> None:
        for process in self.processes:
            self.wait(process.reassert())
        self.forget_what_an_old_one_does_not_know()

    def forget_what_an_old_one_does_not_know(self) -> None:
        """It registers by today's script here."""
        self.wait(cast("Any", self.client.hdel(f"{keys.PREFIX}worker:{KNOWS_NO_CEILINGS}", "ceilings", "halves")))

    # -- who decides ------------------------------------------------------------------------------------------------

    @rule(who=deciders)
    def decider_looks(self, who: int) -> None:
        self.deciders[who].known = {record.name: record for record in self.wait(self.claims.records())}

    @rule(who=deciders, session=sessions, level=levels | st.just((None, 1)))
    def decider_limits(self, who: int, session: str, level: tuple[int | None, int]) -> None:
        """By what it read at some time; it may have been paused since."""
        known = self.deciders[who].known.get(session)
        if known is None or known.granted is None:
            return
        before = self.record(session)
        steps, every = level
        outcome = self.wait(
            self.claims.limit(session, epoch=known.epoch, number=known.granted.number, steps=steps, every=every)
        )
        now = self.record(session)
        is_old = before is None or before.owner is None or before.granted is None
        is_old = is_old or (known.epoch, known.granted.number) != (before.epoch, before.granted.number)  # type: ignore[union-attr]
        if is_old:
            assert outcome is LimitOutcome.STALE
        if outcome is LimitOutcome.STALE:
            assert now == before

    @rule(who=deciders, session=sessions, level=levels | st.just((None, 1)), overtakes=st.booleans())
    def decider_limits_by_what_is_true(
        self, who: int, session: str, level: tuple[int | None, int], *, overtakes: bool
    ) -> None:
        """`overtakes`: what the worker settled before arrives now."""
        if overtakes:
            for index in range(len(self.processes)):
                self.engine_follows(index, session)
        self.decider_looks(who)
        self.decider_limits(who, session, level)
        for one in [one for one in self.settlements if overtakes and one.session == session]:
            self.wait(self.claims.settle(session, epoch=one.epoch, number=one.number))

    # -- users ------------------------------------------------------------------------------------------------------

    @rule(session=sessions, steps=st.integers(1, 4), written=st.sampled_from([True, True, True, False]))
    def user_steers(self, session: str, steps: int, *, written: bool) -> None:
        """A gateway has it paid for before it writes it down; it may die in between."""
        answer = self.run(lambda: self.claims.grant(session, steps))
        if answer is None or answer.outcome is GrantOutcome.REFUSED or not written:
            return
        self.wishes += 1
        self.wait(self.claims.remember_control(session, {"steps": str(steps)}, f"{self.wishes}-0"))

    @rule(session=sessions)
    def claim(self, session: str) -> None:
        self.run(lambda: self.claims.claim(session))

    @rule(session=sessions, cause=impolite)
    def move(self, session: str, cause: MoveCause) -> None:
        before = self.record(session)
        if before is None or before.owner is None:
            return
        epoch = before.epoch
        moved = self.run(lambda: self.claims.move(session, expected_epoch=epoch, suspect=None, cause=cause))
        polite = cause is not MoveCause.REFUSED
        if moved is not None and moved.won and polite and before.granted is not None:
            after = self.record(session)
            assert after is not None
            assert after.granted is not None
            least = min(before.granted.steps, before.requested_steps)
            assert after.granted.every <= before.granted.every
            assert after.granted.steps >= least, "a polite move takes nothing away"

    @rule(session=sessions)
    def session_leaves_and_comes_back(self, session: str) -> None:
        record = self.record(session)
        if record is not None and record.owner is not None:
            self.wait(self.claims.release(session, epoch=record.epoch, phase=Phase.PENDING))

    # -- workers ----------------------------------------------------------------------------------------------------

    @rule(index=workers)
    def worker_beats(self, index: int) -> None:
        self.wait(self.processes[index].beat())

    @rule()
    def all_beat(self) -> None:
        for process in self.processes:
            self.wait(process.beat())

    @rule(index=workers, session=sessions)
    def engine_follows(self, index: int, session: str) -> None:
        settlement = self.processes[index].follow(session)
        if settlement is not None:
            self.settlements.append(settlement)

    @rule(which=st.integers(0, 50), again=st.sampled_from([True, False, False]))
    def settlement_arrives(self, which: int, *, again: bool) -> None:
        """In whatever order; `again`: once more later, as after a lost answer."""
        if not self.settlements:
            return
        at = which % len(self.settlements)
        one = self.settlements[at] if again else self.settlements.pop(at)
        self.wait(self.claims.settle(one.session, epoch=one.epoch, number=one.number))

    @rule(index=workers, session=sessions)
    def level_takes_hold(self, index: int, session: str) -> None:
        """At once, as in most cases."""
        self.worker_beats(index)
        one = self.processes[index].follow(session)
        if one is not None:
            self.wait(self.claims.settle(one.session, epoch=one.epoch, number=one.number))

    @rule(index=workers)
    def worker_dies_and_comes_anew(self, index: int) -> None:
        """What the old one settles may still arrive."""
        self.processes[index] = self.start(WORKERS[index])

    @rule(index=workers)
    def worker_is_silent_until_its_claims_expire(self, index: int) -> None:
        for _ in range(5):
            self.time_passes(STEP_MS)
            for other, process in enumerate(self.processes):
                if other != index:
                    self.wait(process.beat())
        self.wait(self.claims.expire())

    # -- time and the store -----------------------------------------------------------------------------------------

    @rule(ms=st.sampled_from([STEP_MS, STEP_MS, STEP_MS, liveness.ROOM_KEPT_MS, liveness.GIVE_BACK_MS]))
    def everybody_is_well_for(self, ms: int) -> None:
        for _ in range(ms // STEP_MS):
            self.time_passes(STEP_MS)
            self.all_beat()

    def time_passes(self, ms: int) -> None:
        for _ in range(ms // STEP_MS):
            self.wall_ms += STEP_MS
            self.wait(self.claims.worker("nobody"))

    @rule()
    def replica_copies(self) -> None:
        self.copied = self.wait(probes.dump(self.client))

    @rule()
    def replica_that_lagged_takes_over(self) -> None:
        if self.copied is None:
            return
        self.wait(probes.restore(self.client, self.copied))
        self.wait(probes.set_guard(self.client, "another run"))
        self._has_forgotten()
        self.reassert_all()

    @rule()
    def redis_loses_everything(self) -> None:
        self.wait(probes.flush(self.client))
        self.reassert_all()
        for name in CHOICES:
            self.create(name)

    def _has_forgotten(self) -> None:
        """Redis may say less than what is known: a worker that is told so twice follows."""
        self.excused = {
            (session, one.record.epoch) for process in self.processes for session, one in process.serves.items()
        }

    # -- what is always true ----------------------------------------------------------------------------------------

    @invariant()
    def promises_hold(self) -> None:
        found = self.runner.run(probes.look(self.client))
        promises.no_capacity_is_owned_twice(found)
        records = {name: from_fields(fields) for name, fields in found.sessions.items()}
        for process in self.processes:
            for session, served in process.serves.items():
                record = records.get(session)
                if record is not None and (record.owner, record.epoch) == (process.offer.identity, served.record.epoch):
                    self._what_runs_is_paid_for(process, session, record)
        for session, record in records.items():
            if record.owner is not None:
                self._nobody_is_granted_what_it_cannot_keep(session, record)

    def _what_runs_is_paid_for(self, process: Process, session: str, record: SessionRecord) -> None:
        served = process.serves[session]
        if process.offer.identity.name == KNOWS_NO_CEILINGS:
            running = price(session, record.requested_steps)
        else:
            running = price(session, served.running.steps, served.running.every)
        claim = session, record.epoch
        if claim in self.excused:
            if record.granted is not None and served.running.number >= record.granted.number and running <= record.cost:
                self.excused.discard(claim)
            return
        assert running <= record.cost, f"{session} runs what costs {running} and pays {record.cost}"

    def _nobody_is_granted_what_it_cannot_keep(self, session: str, record: SessionRecord) -> None:
        assert record.owner is not None
        assert record.granted is not None
        if record.owner.name in (LEAVES_OUT_NO_FRAME, KNOWS_NO_CEILINGS):
            assert record.granted.every == 1
        if record.owner.name == KNOWS_NO_CEILINGS:
            assert record.limit is None
        assert price(session, record.granted.steps, record.granted.every) <= record.cost
        if record.limit is not None and (session, record.epoch) not in self.excused:
            granted = 0 if record.granted.every == 2 else record.granted.steps
            assert granted <= (0 if record.limit.every == 2 else record.limit.steps)


def test_no_order_of_events_runs_what_is_not_paid_for(redis_url: str) -> None:
    with asyncio.Runner() as runner:
        client = store.connect(redis_url)
        try:
            run_state_machine_as_test(
                cast("Any", lambda: LevelsMachine(runner, client)),
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=50,
                    deadline=None,
                    phases=[hypothesis.Phase.generate],  # a failure is shown as it is: shrinking it would take minutes
                    suppress_health_check=list(HealthCheck),
                    database=None,
                ),
            )
        finally:
            runner.run(client.aclose())
