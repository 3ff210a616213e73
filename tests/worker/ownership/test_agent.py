"""What a worker owns, told by a real Redis: its heartbeat, and the sessions that come and are withdrawn."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisAway

from genlock_core.claims import keys
from genlock_core.claims.claims import MoveCause, WorkerState
from genlock_core.claims.record import SessionRecord
from genlock_core.clock import SystemClock
from genlock_core.link.messages import RefusalReason
from genlock_core.spec.session import Phase
from genlock_core.stream_state.snapshot_store import SnapshotStore
from genlock_worker.output.gateway_channel import ChannelRefusal
from genlock_worker.ownership import agent as agents
from genlock_worker.ownership import drain
from genlock_worker.ownership.agent import Agent
from genlock_worker.worker import Worker, WorkerStopped
from tests.core.claims import probes
from tests.worker.gateway import PATIENCE_S, FakeGateway, until
from tests.worker.house import SESSION, House

PATTERN = {"type": "testPattern"}


def figure(worker: Worker, name: str, **labels: str) -> float | None:
    return worker.registry.get_sample_value(name, labels)


class RedisIsAway:
    """The claims of an agent, with one call that fails as it does while Redis is away, or answers too late."""

    def __init__(self, agent: Agent, call: str, *, answers: Callable[[], Any] | None = None) -> None:
        self._inner = agent._claims
        self._call = call
        self._answers = answers
        self.calls = 0
        agent._claims = self  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return self._fail if name == self._call else getattr(self._inner, name)

    async def _fail(self, *_: object, **__: object) -> Any:
        self.calls += 1
        if self._answers is not None:
            return await self._answers()
        raise RedisAway("away")


async def owned_record(home: House) -> SessionRecord:
    record = await home.claims.record(SESSION)
    assert record is not None
    return record


# -- the heartbeat -----------------------------------------------------------------------------------------------------


async def test_a_heartbeat_is_counted_and_both_loops_say_when_they_began_a_round(home: House) -> None:
    worker = await home.start_worker("w0")
    await until(lambda: (figure(worker, "genlock_worker_heartbeats_total", result="ok") or 0) >= 2, "two heartbeats")
    assert figure(worker, "genlock_worker_heartbeats_total", result="failed") is None
    assert (figure(worker, "genlock_worker_renew_seconds_count") or 0) >= 2
    assert set(worker.agent.rounds) == {"heartbeat", "inbox"}
    began = dict(worker.agent.rounds)
    await until(
        lambda: all(worker.agent.rounds[name] > began[name] for name in began), "another round of the two loops"
    )


async def test_the_heartbeat_says_how_far_the_engine_is_and_how_much_of_the_worker_is_taken(
    home: House, gateway: FakeGateway
) -> None:
    worker = await home.start_worker("w0")
    await home.session(cost=300, source=PATTERN)
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch)
    await until(lambda: viewer.media, "frames")
    await until(lambda: figure(worker, "genlock_worker_capacity_thousandths", state="free") == 700, "what is free")
    assert figure(worker, "genlock_worker_capacity_thousandths", state="total") == 1000
    await until(lambda: figure(worker, "genlock_worker_sessions", phase="Live") == 1, "a live session")
    assert figure(worker, "genlock_worker_sessions", phase="Assigned") == 0
    assert (figure(worker, "genlock_engine_progress") or 0) > 0


async def test_a_session_without_a_frame_counts_as_assigned(home: House) -> None:
    worker = await home.start_worker("w0")
    await home.session()
    await home.claims.claim(SESSION)
    await until(lambda: figure(worker, "genlock_worker_sessions", phase="Assigned") == 1, "an assigned session")
    assert figure(worker, "genlock_worker_sessions", phase="Live") == 0


@pytest.mark.parametrize("silent", [False, True], ids=["away", "silent"])
async def test_a_heartbeat_that_fails_is_counted_and_the_worker_serves_on(
    home: House, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    monkeypatch.setattr(agents, "ROUND_S", 0.05)
    worker = await home.start_worker("w0")
    await home.session(source=PATTERN)
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch)
    RedisIsAway(worker.agent, "renew", answers=asyncio.Event().wait if silent else None)
    await until(lambda: (figure(worker, "genlock_worker_heartbeats_total", result="failed") or 0) >= 2, "two failures")
    frames = len(viewer.media)
    await until(lambda: len(viewer.media) > frames, "the stream to go on")
    assert SESSION in worker.agent.sessions


async def test_what_a_lagging_replica_does_not_know_of_is_claimed_again_while_it_holds_back(
    home: House, gateway: FakeGateway
) -> None:
    worker = await home.start_worker("w0")
    await home.session(source=PATTERN)
    before = await probes.dump(home.store)
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch)
    await until(lambda: viewer.media, "frames")

    # The replica that takes over knows the worker, and not its claim.
    served = worker.agent.sessions[SESSION]
    async with home.store.pipeline(transaction=True) as at_once:
        at_once.flushall()
        for key, value in before.items():
            at_once.restore(key, 0, value)
        at_once.hset(keys.GUARD, "run_id", "another run")
        await at_once.execute()
    async with asyncio.timeout(PATIENCE_S):
        while (record := await home.claims.record(SESSION)) is None or record.owner is None:
            await asyncio.sleep(0.01)
    assert (record.owner, record.epoch) == (worker.identity, claim.epoch)
    await asyncio.sleep(drain.WITHDRAWAL_S)
    frames = len(viewer.media)
    await until(lambda: len(viewer.media) > frames, "the stream to go on")
    assert worker.agent.sessions[SESSION] is served


async def test_a_fence_above_every_epoch_that_redis_would_give_is_told_to_redis(
    home: House, gateway: FakeGateway
) -> None:
    """An older replica with an early clock took over, and nobody who saw the later epoch is left."""
    worker = await home.start_worker("w0")
    await until(lambda: (figure(worker, "genlock_worker_heartbeats_total", result="ok") or 0) >= 1, "a heartbeat")
    await home.store.hset(keys.GUARD, "since_ms", "0")
    await home.session(source=PATTERN)
    later = SystemClock().wall_ms() + 3_600_000
    await SnapshotStore(home.store).take_over(SESSION, later)
    await home.claims.claim(SESSION)
    async with asyncio.timeout(PATIENCE_S):
        while (await owned_record(home)).epoch <= later:
            await asyncio.sleep(0.01)
    viewer = await gateway.open(worker.address, SESSION, (await owned_record(home)).epoch)
    await until(lambda: viewer.media, "frames")


async def test_a_worker_says_why_no_session_comes_to_it_any_more(home: House) -> None:
    worker = await home.start_worker("w0")
    assert worker.agent.leaving() == ""

    await home.claims.close(worker.identity)
    await until(lambda: worker.agent.closed, "the heartbeat to say that somebody closed it")
    assert worker.agent.leaving() == "draining"

    await home.start_worker("w0")
    await until(worker.agent.superseded.is_set, "the heartbeat to say that a newer process has the name")
    assert worker.agent.leaving() == "a newer process has the name"


async def test_a_worker_that_drains_by_itself_says_so(home: House) -> None:
    worker = await home.start_worker("w0")
    assert await worker.agent.drain(5.0) is True
    assert worker.agent.leaving() == "draining"
    view = await home.claims.worker("w0")
    assert view is not None
    assert view.state is WorkerState.DRAINING


async def test_a_drain_that_finds_no_room_ends_at_its_deadline(home: House) -> None:
    worker = await home.start_worker("w0")
    await home.session(source=PATTERN)
    await home.claims.claim(SESSION)
    await until(lambda: SESSION in worker.agent.sessions, "the session")
    assert await worker.agent.drain(0.1) is False
    assert SESSION in worker.agent.sessions


async def test_a_worker_registers_once_redis_answers(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "RETRY_S", 0.01)
    worker = await home.start_worker("w0")
    away = RedisIsAway(worker.agent, "register")
    registering = asyncio.create_task(worker.agent.register())
    await until(lambda: away.calls >= 2, "two tries")
    assert not registering.done()
    worker.agent._claims = home.claims
    await registering


# -- sessions come and go ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["after its assignment", "before the worker read its inbox"])
async def test_a_session_that_is_withdrawn_tells_its_gateways_so(home: House, gateway: FakeGateway, when: str) -> None:
    worker = await home.start_worker("w0")
    await home.session(source=PATTERN)
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch)
    assert viewer.opened is not None
    if when == "after its assignment":
        await until(lambda: viewer.media, "frames")
    await home.start_worker("w1")
    await home.claims.move(SESSION, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.REFUSED)
    await until(lambda: viewer.closed is not None, "its channel closed")
    assert viewer.closed is not None
    assert viewer.closed.reason == "it was withdrawn"
    assert viewer.handovers == []


async def test_a_session_that_is_claimed_anew_closes_what_was_served_of_it(home: House, gateway: FakeGateway) -> None:
    worker = await home.start_worker("w0")
    await home.session(source=PATTERN)
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch)
    record = await owned_record(home)

    first = worker.agent.sessions[SESSION]
    assert worker.agent._start(record) is first, "the same epoch is the same session"
    again = worker.agent._start(replace(record, epoch=record.epoch + 1))
    assert again is not first
    assert worker.agent.sessions[SESSION] is again
    await until(lambda: viewer.closed is not None, "its channel closed")
    assert viewer.closed is not None
    assert viewer.closed.reason == "it was claimed anew"


async def test_a_session_that_is_served_is_taken_without_a_question_to_redis(home: House) -> None:
    worker = await home.start_worker("w0")
    await home.session(source=PATTERN)
    claim = await home.claims.claim(SESSION)
    await until(lambda: SESSION in worker.agent.sessions, "the session")
    live = worker.agent.sessions[SESSION]

    away = RedisIsAway(worker.agent, "record")
    assert await worker.agent._take(SESSION, claim.epoch) is live
    assert await worker.agent._take(SESSION, claim.epoch - 1) is live
    assert away.calls == 0
    with pytest.raises(RedisAway):
        await worker.agent._take(SESSION, claim.epoch + 1)


async def test_only_what_the_record_says_is_this_workers_is_taken(home: House) -> None:
    worker, other = await home.start_worker("w0"), await home.start_worker("w1")
    await home.session(source=PATTERN)
    claim = await home.claims.claim(SESSION)
    owner, stranger = (worker, other) if claim.worker == worker.identity else (other, worker)
    assert await stranger.agent._take("default/nobody", 1) is None
    assert await stranger.agent._take(SESSION, claim.epoch) is None
    assert stranger.agent.sessions == {}

    await until(lambda: SESSION in owner.agent.sessions, "the owner to have it")
    assert await owner.agent._take(SESSION, claim.epoch + 1) is None
    await home.claims.release(SESSION, epoch=claim.epoch, phase=Phase.ENDED)
    await until(lambda: not owner.agent.sessions, "its end to be heard of")
    assert await owner.agent._take(SESSION, claim.epoch) is None


# -- what gateways ask for ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", [False, True], ids=["away", "silent"])
async def test_while_redis_is_away_what_is_served_is_the_truth(
    home: House, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    monkeypatch.setattr(agents, "VERIFY_TIMEOUT_S", 0.02)
    worker = await home.start_worker("w0")
    await home.session(source=PATTERN)
    claim = await home.claims.claim(SESSION)
    await until(lambda: SESSION in worker.agent.sessions, "the session")
    RedisIsAway(worker.agent, "record", answers=asyncio.Event().wait if silent else None)
    assert await worker.agent.find(SESSION, claim.epoch) is worker.agent.sessions[SESSION]

    for session, epoch, known in ((SESSION, claim.epoch + 1, claim.epoch), ("default/nobody", 1, 0)):
        with pytest.raises(ChannelRefusal) as refused:
            await worker.agent.find(session, epoch)
        assert (refused.value.reason, refused.value.message) == (RefusalReason.NOT_OWNER, "Redis is away")
        assert refused.value.epoch == known


async def test_a_session_of_another_worker_or_epoch_is_refused_with_the_epoch_of_the_record(home: House) -> None:
    worker = await home.start_worker("w0")
    await home.session(source=PATTERN)
    claim = await home.claims.claim(SESSION)
    for session, epoch, known in ((SESSION, claim.epoch + 1, claim.epoch), ("default/nobody", 1, 0)):
        with pytest.raises(ChannelRefusal) as refused:
            await worker.agent.find(session, epoch)
        assert refused.value.message == "another worker or epoch has it"
        assert (refused.value.reason, refused.value.epoch) == (RefusalReason.NOT_OWNER, known)


async def test_a_gateway_may_come_before_the_inbox_but_not_to_a_worker_that_drains_or_after_the_end(
    home: House,
) -> None:
    worker = await home.start_worker("w0")
    for task in worker._tasks:  # deaf: neither the inbox nor the heartbeat brings it the session
        task.cancel()
    await home.session(source=PATTERN)
    claim = await home.claims.claim(SESSION)

    worker.agent.draining = True
    with pytest.raises(ChannelRefusal) as refused:
        await worker.agent.find(SESSION, claim.epoch)
    assert (refused.value.reason, refused.value.message) == (RefusalReason.DRAINING, "the worker drains")
    assert refused.value.epoch == claim.epoch

    worker.agent.draining = False
    live = await worker.agent.find(SESSION, claim.epoch)
    assert worker.agent.sessions == {SESSION: live}

    worker.agent.session_drain._finished[SESSION] = claim.epoch
    worker.agent.session_drain.drop(live, "the test takes it away")
    with pytest.raises(ChannelRefusal) as refused:
        await worker.agent.find(SESSION, claim.epoch)
    assert (refused.value.reason, refused.value.message) == (RefusalReason.NOT_OWNER, "it has just ended here")
    assert refused.value.epoch == claim.epoch


async def test_a_worker_that_lets_no_gateway_in_any_more_ends(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would go on to beat, and be given sessions that nobody can see."""
    worker = await home.start_worker("w0")
    monkeypatch.setattr(worker._server._doorstep, "_accept", None)
    _, writer = await asyncio.open_connection(*worker.address.split(":"))
    async with asyncio.timeout(5):
        with pytest.raises(WorkerStopped, match="no gateway can link"):
            await worker.wait()
    writer.close()
