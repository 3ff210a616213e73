"""How sessions leave a worker: what is asked of Redis, what is waited for, and what is left behind."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest
from prometheus_client import CollectorRegistry
from redis.exceptions import ConnectionError as RedisAway

from genlock_core.claims.claims import Claim, Move, MoveCause
from genlock_core.claims.identity import WorkerIdentity
from genlock_core.errors import NoCapacity, StaleEpoch, UnknownSession
from genlock_core.link.messages import RefusalReason
from genlock_core.metrics import WorkerMetrics
from genlock_core.process.tasks import OwnedTasks
from genlock_core.spec.session import Phase
from genlock_worker.output.gateway_channel import ChannelRefusal
from genlock_worker.ownership import drain
from genlock_worker.ownership.drain import SessionDrain
from genlock_worker.session.live_session import End, LiveSession, State
from genlock_worker.session.opening import Services
from tests.worker.gateway import until

SESSION = "default/demo"
EPOCH = 3
ME = WorkerIdentity("w0", "w0-1")
SUCCESSOR = Claim(SESSION, EPOCH + 1, WorkerIdentity("w1", "w1-1"), "10.0.0.2:7000", "local", 300)
SUSPECT = End(Phase.FAILED, "the engine gave it up", elsewhere=True)


@dataclass(eq=False)
class FakeSession:
    """A live session as far as leaving goes."""

    name: str = SESSION
    epoch: int = EPOCH
    state: State = State.RUNNING
    opened: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    alone: asyncio.Event = field(default_factory=asyncio.Event)
    handed_over: list[tuple[int, str]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    flushes: int = 0
    output: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(channels=[]))

    async def flush(self) -> None:
        self.flushes += 1

    def hand_over(self, *, epoch: int, address: str) -> None:
        self.state = State.HANDED_OVER
        self.handed_over.append((epoch, address))

    async def close(self, reason: str) -> None:
        self.closed.append(reason)


@dataclass(eq=False)
class FakeClaims:
    """Redis, with its next answers: an error is raised, once."""

    errors: list[Exception] = field(default_factory=list)
    """For moves and releases."""
    closing_errors: list[Exception] = field(default_factory=list)
    moves: list[tuple[str, int, str | None, MoveCause]] = field(default_factory=list)
    releases: list[tuple[str, int, Phase, str]] = field(default_factory=list)
    closes: list[WorkerIdentity] = field(default_factory=list)

    def _answer(self) -> None:
        if self.errors:
            raise self.errors.pop(0)

    async def move(self, session: str, *, expected_epoch: int, suspect: str | None, cause: MoveCause) -> Move:
        self.moves.append((session, expected_epoch, suspect, cause))
        self._answer()
        return Move(SUCCESSOR, won=True)

    async def release(self, session: str, *, epoch: int, phase: Phase, reason: str) -> bool:
        self.releases.append((session, epoch, phase, reason))
        self._answer()
        return True

    async def close(self, identity: WorkerIdentity) -> tuple[str, ...]:
        self.closes.append(identity)
        if self.closing_errors:
            raise self.closing_errors.pop(0)
        return (SESSION,)


class Worker:
    """The table of a worker and its drain, with one session in it."""

    def __init__(self) -> None:
        self.claims = FakeClaims()
        self.registry = CollectorRegistry()
        self.metrics = WorkerMetrics(self.registry)
        self.live = FakeSession()
        self.table: dict[str, FakeSession] = {SESSION: self.live}
        self.failures: list[BaseException] = []
        self.errands = OwnedTasks(lambda _, error: self.failures.append(error))
        self.drain = SessionDrain(
            ME,
            cast("dict[str, LiveSession]", self.table),
            services=cast("Services", SimpleNamespace(claims=self.claims, metrics=self.metrics)),
            errands=self.errands,
        )

    def ended(self, end: End, live: FakeSession | None = None) -> None:
        self.drain.ended(cast("LiveSession", live or self.live), end)

    def hand_over(self, live: FakeSession | None = None) -> None:
        self.drain.hand_over(cast("LiveSession", live or self.live), epoch=EPOCH + 1, address=SUCCESSOR.address)

    def serve(self, live: FakeSession) -> FakeSession:
        self.table[live.name] = live
        return live

    async def done(self) -> None:
        """Wait until every errand is done; none may have failed."""
        await until(lambda: len(self.errands) == 0, "the errands to be done")
        assert self.failures == []

    def frames_out(self, session: str = SESSION) -> float | None:
        return self.registry.get_sample_value("genlock_worker_frames_out_total", {"session": session})


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    monkeypatch.setattr(drain, "RETRY_S", 0.001)
    made = Worker()
    yield made
    await made.errands.end()


# -- a session that leaves for a reason of its own ---------------------------------------------------------------------


async def test_a_session_that_has_ended_is_released_and_not_started_again_in_its_epoch(worker: Worker) -> None:
    worker.ended(End(Phase.ENDED, "the source has ended"))
    await worker.done()
    assert worker.claims.releases == [(SESSION, EPOCH, Phase.ENDED, "the source has ended")]
    assert worker.claims.moves == []
    assert worker.live.closed == ["the source has ended"]
    assert worker.table == {}
    assert worker.drain.has_finished(SESSION, EPOCH)
    assert not worker.drain.has_finished(SESSION, EPOCH + 1)


async def test_the_end_is_written_once_redis_is_back_and_its_reason_is_not_too_long(worker: Worker) -> None:
    worker.claims.errors = [RedisAway("away"), RedisAway("away")]
    worker.ended(End(Phase.FAILED, "w" * 501))
    await worker.done()
    assert worker.claims.releases == [(SESSION, EPOCH, Phase.FAILED, "w" * 500)] * 3


async def test_a_session_that_is_not_served_any_more_ends_without_a_word(worker: Worker) -> None:
    worker.ended(End(Phase.ENDED, "too late"), FakeSession())
    await worker.done()
    assert worker.claims.releases == []
    assert worker.table == {SESSION: worker.live}


async def test_a_session_that_may_fail_because_of_this_worker_is_given_to_another_one(worker: Worker) -> None:
    worker.ended(SUSPECT)
    await worker.done()
    assert worker.claims.moves == [(SESSION, EPOCH, ME.name, MoveCause.REFUSED)]
    assert worker.claims.releases == []
    assert worker.live.closed == ["the engine gave it up"]
    assert not worker.drain.has_finished(SESSION, EPOCH)


async def test_a_session_that_comes_back_and_fails_again_ends(worker: Worker) -> None:
    worker.ended(SUSPECT)
    await worker.done()
    back = worker.serve(FakeSession(epoch=EPOCH + 2))
    worker.ended(SUSPECT, back)
    await worker.done()
    assert len(worker.claims.moves) == 1
    assert worker.claims.releases == [(SESSION, EPOCH + 2, Phase.FAILED, "the engine gave it up")]

    # It has ended: a new session of its name is given another try.
    worker.ended(SUSPECT, worker.serve(FakeSession(epoch=EPOCH + 3)))
    await worker.done()
    assert len(worker.claims.moves) == 2


async def test_one_session_that_was_passed_on_takes_no_try_from_another(worker: Worker) -> None:
    worker.ended(SUSPECT)
    await worker.done()
    worker.ended(SUSPECT, worker.serve(FakeSession("default/other")))
    await worker.done()
    assert [session for session, *_ in worker.claims.moves] == [SESSION, "default/other"]


async def test_a_session_that_no_other_worker_has_room_for_ends_and_says_both(worker: Worker) -> None:
    full = NoCapacity(SESSION, "no other worker")
    worker.claims.errors = [full]
    worker.ended(SUSPECT)
    await worker.done()
    assert worker.claims.releases == [(SESSION, EPOCH, Phase.FAILED, f"the engine gave it up; {full}")]
    assert worker.drain.has_finished(SESSION, EPOCH)
    assert worker.table == {}


@pytest.mark.parametrize("error", [RedisAway("away"), StaleEpoch(SESSION, epoch=EPOCH, current=9)])
async def test_a_session_that_cannot_be_passed_on_is_dropped_and_may_fail_here_once_more(
    worker: Worker, error: Exception
) -> None:
    worker.claims.errors = [error]
    worker.ended(SUSPECT)
    await worker.done()
    assert worker.live.closed == ["the engine gave it up"]
    worker.ended(SUSPECT, worker.serve(FakeSession(epoch=EPOCH + 1)))
    await worker.done()
    assert len(worker.claims.moves) == 2
    assert worker.claims.releases == []


async def test_a_session_without_a_slot_is_refused_to_its_gateways_and_moved_at_request(worker: Worker) -> None:
    worker.drain.pass_by(cast("LiveSession", worker.live))
    refusal = worker.live.opened.exception()
    assert isinstance(refusal, ChannelRefusal)
    assert (refusal.reason, refusal.message, refusal.epoch) == (RefusalReason.NO_SLOT, "no slot for it", EPOCH)
    await worker.done()
    assert worker.claims.moves == [(SESSION, EPOCH, ME.name, MoveCause.REQUESTED)]
    assert worker.live.closed == ["no slot for it"]

    # It did not fail here: the first time that it does, another worker tries it.
    worker.ended(SUSPECT, worker.serve(FakeSession(epoch=EPOCH + 2)))
    await worker.done()
    assert [cause for *_, cause in worker.claims.moves] == [MoveCause.REQUESTED, MoveCause.REFUSED]


async def test_a_session_without_a_slot_anywhere_waits_for_one(worker: Worker) -> None:
    full = NoCapacity(SESSION, "all are full")
    worker.claims.errors = [full]
    worker.drain.pass_by(cast("LiveSession", worker.live))
    await worker.done()
    assert worker.claims.releases == [(SESSION, EPOCH, Phase.PENDING, f"no slot for it; {full}")]


# -- a session that another worker owns --------------------------------------------------------------------------------


@pytest.mark.parametrize("told_by", ["the heartbeat", "the session"])
async def test_a_lost_session_is_dropped_once_the_inbox_had_time_to_say_better(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, told_by: str
) -> None:
    monkeypatch.setattr(drain, "WITHDRAWAL_S", 0.05)
    if told_by == "the session":
        worker.ended(End(None, "stale"))
    else:
        worker.drain.lost(cast("LiveSession", worker.live))
    assert worker.table == {SESSION: worker.live}
    await worker.done()
    assert worker.table == {}
    assert worker.live.closed == ["it belongs to another owner"]
    assert worker.registry.get_sample_value("genlock_worker_stale_epochs_total") == 1
    assert worker.claims.releases == []


async def test_a_lost_session_that_turns_out_to_be_moved_politely_is_handed_over(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "WITHDRAWAL_S", 0.01)
    worker.drain.lost(cast("LiveSession", worker.live))
    worker.hand_over()
    worker.live.alone.set()
    await worker.done()
    assert worker.live.closed == ["handed over"]
    assert worker.registry.get_sample_value("genlock_worker_stale_epochs_total") == 0


async def test_a_session_that_is_handed_over_goes_on_until_its_gateways_have_left(worker: Worker) -> None:
    worker.hand_over()
    assert worker.table == {}
    assert worker.live.handed_over == [(EPOCH + 1, SUCCESSOR.address)]
    await until(lambda: worker.live.flushes == 1, "its newest checkpoint stored")
    assert worker.live.closed == []
    worker.live.alone.set()
    await worker.done()
    assert worker.live.closed == ["handed over"]


async def test_gateways_that_do_not_leave_after_a_handover_are_left_in_the_end(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "HANDOVER_S", 0.02)
    worker.hand_over()
    await worker.done()
    assert worker.live.closed == ["handed over"]
    await worker.drain.close_all("the worker stops")
    assert worker.live.closed == ["handed over"], "nothing of it is left"


async def test_a_handover_that_is_said_twice_is_one(worker: Worker) -> None:
    worker.hand_over()
    worker.hand_over()
    assert worker.live.handed_over == [(EPOCH + 1, SUCCESSOR.address)]


async def test_only_a_served_session_is_handed_over(worker: Worker) -> None:
    old = FakeSession(epoch=EPOCH - 1)
    worker.hand_over(old)
    assert old.handed_over == []
    assert worker.table == {SESSION: worker.live}


async def test_a_session_that_comes_back_does_not_wait_for_the_gateways_of_its_last_time_here(worker: Worker) -> None:
    other = worker.serve(FakeSession("default/other"))
    worker.hand_over()
    worker.hand_over(other)
    worker.drain.came_back(SESSION)
    await until(lambda: worker.live.closed, "the last time to be over")
    assert worker.live.closed == ["it came back"]
    assert other.closed == []
    other.alone.set()
    worker.live.alone.set()
    await worker.done()


# -- figures -----------------------------------------------------------------------------------------------------------


async def test_a_sessions_series_go_with_it(worker: Worker) -> None:
    worker.metrics.frames_out.labels(SESSION).inc()
    worker.drain.drop(cast("LiveSession", worker.live), "it was withdrawn")
    assert worker.table == {}
    await worker.done()
    assert worker.live.closed == ["it was withdrawn"]
    assert worker.frames_out() is None


async def test_its_series_stay_while_another_of_its_name_is_served_or_still_sends(worker: Worker) -> None:
    worker.metrics.frames_out.labels(SESSION).inc()
    old = FakeSession(epoch=EPOCH - 1)
    worker.drain.drop(cast("LiveSession", old), "it was claimed anew")
    await worker.done()
    assert worker.table == {SESSION: worker.live}
    assert worker.frames_out() == 1

    worker.hand_over()
    worker.drain.drop(cast("LiveSession", old), "once more")
    await until(lambda: len(old.closed) == 2, "it to be closed")
    assert worker.frames_out() == 1
    worker.live.alone.set()
    await worker.done()
    assert worker.frames_out() is None


# -- the whole worker --------------------------------------------------------------------------------------------------


async def test_a_drain_asks_for_no_more_sessions_before_it_moves_any(worker: Worker) -> None:
    worker.claims.closing_errors = [RedisAway("away"), RedisAway("away")]
    worker.live.alone.set()
    await worker.drain.move_all()
    assert worker.claims.closes == [ME] * 3
    assert worker.claims.moves == [(SESSION, EPOCH, ME.name, MoveCause.DRAIN)]
    assert worker.live.handed_over == [(EPOCH + 1, SUCCESSOR.address)]
    assert worker.live.flushes == 2, "before the move, and after the last frame"
    assert worker.live.closed == ["handed over"]


async def test_a_drain_tries_again_while_there_is_no_room_and_says_each_reason_once(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    full, empty = NoCapacity(SESSION, "all are full"), NoCapacity(SESSION, "no worker is left")
    worker.claims.errors = [full, full, full, empty, empty, RedisAway("away")]
    worker.live.alone.set()
    with caplog.at_level(logging.WARNING, "genlock_worker.ownership.drain"):
        await worker.drain.move_all()
    assert len(worker.claims.moves) == 7
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"{SESSION}: cannot move yet: {why}" for why in (full, empty, "away")]


@pytest.mark.parametrize("gone", [UnknownSession(SESSION), StaleEpoch(SESSION, epoch=EPOCH, current=9)])
async def test_a_drain_drops_what_is_not_this_workers_any_more(worker: Worker, gone: Exception) -> None:
    worker.claims.errors = [gone]
    await worker.drain.move_all()
    await worker.done()
    assert worker.live.closed == [str(gone)]
    assert worker.live.handed_over == []


async def test_a_worker_that_stops_closes_what_it_serves_and_what_is_leaving(worker: Worker) -> None:
    leaving = worker.serve(FakeSession("default/other"))
    worker.hand_over(leaving)
    await worker.drain.close_all("the worker stops")
    assert worker.live.closed == ["the worker stops"]
    assert leaving.closed == ["the worker stops"]
    assert worker.table == {}
    assert worker.claims.releases == []
