"""One session on a worker: how it opens, what it tells its gateways, and why it leaves."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from genlock_core.approximation.levels import Level
from genlock_core.claims.claims import MoveCause
from genlock_core.claims.facts import Ceiling
from genlock_core.clock import SystemClock
from genlock_core.errors import StaleEpoch
from genlock_core.link.messages import RefusalReason
from genlock_core.media import Codec
from genlock_core.spec.session import Phase
from genlock_worker.engines.contract import EngineFailure
from genlock_worker.session import live_session, opening
from genlock_worker.session.live_session import End, LiveSession, State
from genlock_worker.worker import Worker
from tests.worker.gateway import FakeGateway, Publisher, Viewer, until
from tests.worker.house import SESSION, House, kill


class EngineThatOpens:
    """The engine of a worker whose `open` is the test's; everything else is its own."""

    def __init__(self, worker: Worker, opens: Callable[..., Awaitable[bool]]) -> None:
        self._inner = worker.agent._services.engine
        self.open = opens
        self.closed: list[str] = []
        worker.agent._services = replace(worker.agent._services, engine=self)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def close(self, session: str) -> None:
        self.closed.append(session)
        self._inner.close(session)


async def opened_on(worker: Worker, home: House, ends: list[End]) -> LiveSession:
    """A live session that nobody but the test ends, for a record that this worker owns."""
    for task in worker._tasks:
        task.cancel()
    await home.session()
    await home.claims.claim(SESSION)
    record = await home.claims.record(SESSION)
    assert record is not None
    return LiveSession(
        record, epoch=record.epoch, services=worker.agent._services, on_end=lambda _, end: ends.append(end)
    )


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (
            EngineFailure(SESSION, "no memory"),
            End(Phase.FAILED, f"the engine cannot open it: {SESSION}: no memory", elsewhere=True),
        ),
        (ValueError("no such size"), End(Phase.FAILED, "the engine cannot open it: no such size", elsewhere=True)),
        (TimeoutError("slow"), End(Phase.PENDING, "its state could not be read in time")),
        (
            StaleEpoch(SESSION, epoch=1, current=2),
            End(None, str(StaleEpoch(SESSION, epoch=1, current=2)), seen_epoch=2),
        ),
    ],
    ids=["engine", "value", "time", "stale"],
)
async def test_a_session_that_cannot_be_opened_says_so_to_who_waits_and_leaves(
    home: House, error: Exception, end: End
) -> None:
    async def fail(*_: object, **__: object) -> bool:
        raise error

    worker = await home.start_worker("w0")
    EngineThatOpens(worker, fail)
    ends: list[End] = []
    live = await opened_on(worker, home, ends)
    await live.open()
    assert live.opened.exception() is error
    assert ends == [end]
    assert live.state is State.OPENING
    await live.close("the test is over")
    assert ends == [end]


async def test_a_session_that_no_worker_can_open_fails_with_the_reason(home: House) -> None:
    async def fail(*_: object, **__: object) -> bool:
        raise EngineFailure(SESSION, "no memory")

    worker = await home.start_worker("w0")
    EngineThatOpens(worker, fail)
    await home.session()
    await home.claims.claim(SESSION)
    async with asyncio.timeout(5):
        while await home.phase() != "Failed":
            await asyncio.sleep(0.01)
    record = await home.claims.record(SESSION)
    assert record is not None
    assert record.reason.startswith(f"the engine cannot open it: {SESSION}: no memory; ")


async def test_a_state_that_cannot_be_read_in_time_leaves_the_session_pending(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_session, "OPEN_TIMEOUT_S", 0.02)
    monkeypatch.setattr(live_session, "read_state", lambda *_, **__: asyncio.Event().wait())
    worker = await home.start_worker("w0")
    ends: list[End] = []
    live = await opened_on(worker, home, ends)
    await live.open()
    assert isinstance(live.opened.exception(), TimeoutError)
    assert ends == [End(Phase.PENDING, "its state could not be read in time")]
    await live.close("the test is over")


async def test_a_session_that_leaves_while_the_engine_opens_it_is_taken_from_the_engine_again(home: House) -> None:
    opening_now, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*_: object, **__: object) -> bool:
        opening_now.set()
        await go_on.wait()
        return False

    worker = await home.start_worker("w0")
    engine = EngineThatOpens(worker, slow)
    ends: list[End] = []
    live = await opened_on(worker, home, ends)
    task = asyncio.create_task(live.open())
    await opening_now.wait()
    await live.close("it was withdrawn")
    assert engine.closed == [f"{SESSION}@{live.epoch}"]
    go_on.set()
    await task
    assert engine.closed == [f"{SESSION}@{live.epoch}"] * 2
    assert live.state is State.CLOSED
    assert not live.is_owned
    assert str(live.opened.exception()) == f"{RefusalReason.NOT_OWNER}: it was withdrawn"
    assert ends == []


async def test_what_is_granted_while_the_engine_opens_the_session_holds_before_its_first_chunk(home: House) -> None:
    opening_now, go_on = asyncio.Event(), asyncio.Event()
    limits: list[Level] = []

    async def slow(*_: object, **__: object) -> bool:
        opening_now.set()
        await go_on.wait()
        return False

    async def limit(_: str, level: Level) -> None:
        limits.append(level)

    worker = await home.start_worker("w0")
    engine = EngineThatOpens(worker, slow)
    engine.limit = limit  # type: ignore[attr-defined]
    live = await opened_on(worker, home, [])
    task = asyncio.create_task(live.open())
    await opening_now.wait()
    live.level.hear(Ceiling(steps=1, number=10**15, cost=100, due=100))
    go_on.set()
    await task

    assert limits == [Level(1)]
    await live.close("it was withdrawn")


async def test_a_session_goes_on_from_what_is_stored_and_does_not_store_it_again(
    home: House, gateway: FakeGateway, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "LAST_CHUNK_S", 0.0)
    first = await home.start_worker("w0")
    await home.session()
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(first.address, SESSION, claim.epoch, publisher=True)
    publisher.aim(gateway.link_of(viewer), viewer.channel)
    await until(lambda: viewer.reports and viewer.reports[-1].snapshot.chunk > 2, "a few snapshots")
    await kill(first)
    home.workers.remove(first)

    second = await home.start_worker("w1")
    await home.claims.move(SESSION, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.REFUSED)
    await until(lambda: SESSION in second.agent.sessions, "the new worker to have it")
    live = second.agent.sessions[SESSION]
    await live.opened
    assert live._writer is not None
    assert live._writer._stored_chunk >= 3
    assert live._writer._written, "blocks that need not be written again"
    assert live.figures.restored
    assert live.intake._former._index >= 1, "no chunk waits for a fifth picture, which the engine would not take"
    assert live.is_owned


async def test_the_publishers_gateway_alone_is_asked_for_a_key_frame(home: House, gateway: FakeGateway) -> None:
    worker = await home.start_worker("w0")
    await home.session()
    claim = await home.claims.claim(SESSION)
    source = await gateway.open(worker.address, SESSION, claim.epoch, publisher=True)
    second = FakeGateway("g1")
    try:
        watching = await second.open(worker.address, SESSION, claim.epoch)
        live = worker.agent.sessions[SESSION]
        before = source.key_frames_wanted
        live._ask_publisher(Codec.H264)
        await until(lambda: source.key_frames_wanted == before + 1, "the publisher's gateway to be asked")
        assert watching.key_frames_wanted == 0
    finally:
        await second.close()


async def test_a_session_is_alone_while_no_gateway_is_attached(home: House, gateway: FakeGateway) -> None:
    worker = await home.start_worker("w0")
    await home.session()
    claim = await home.claims.claim(SESSION)
    await until(lambda: SESSION in worker.agent.sessions, "the session")
    live = worker.agent.sessions[SESSION]
    assert live.alone.is_set()
    first, second = [await gateway.open(worker.address, SESSION, claim.epoch) for _ in range(2)]
    await until(lambda: len(live.output.channels) == 2, "both channels")
    assert not live.alone.is_set()
    gateway.link_of(first).close_channel(first.channel, "no viewer is left")
    await until(lambda: len(live.output.channels) == 1, "one to leave")
    assert not live.alone.is_set()
    gateway.link_of(second).close_channel(second.channel, "no viewer is left")
    await until(live.alone.is_set, "the other to leave")


async def test_gateways_are_told_of_a_handover_once_and_snapshots_are_the_next_owners(
    home: House, gateway: FakeGateway
) -> None:
    worker = await home.start_worker("w0")
    await home.session(source={"type": "testPattern"})
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch)
    live = worker.agent.sessions[SESSION]
    await until(lambda: viewer.media, "frames")
    assert live.shown is not None
    live.hand_over(epoch=claim.epoch + 1, address="10.0.0.2:7000")
    live.hand_over(epoch=claim.epoch + 2, address="10.0.0.3:7000")
    await until(lambda: viewer.handovers, "the handover")
    assert (live.state, live.is_owned) == (State.HANDED_OVER, False)
    assert live._from_engine._writer is None
    assert live._reports.owned is False
    frames = len(viewer.media)
    await until(lambda: len(viewer.media) > frames + 4, "frames to go on")
    (handover,) = viewer.handovers
    assert (handover.epoch, handover.address) == (claim.epoch + 1, "10.0.0.2:7000")


async def test_a_closed_session_keeps_no_encoder_and_no_picture_until_it_is_collected(
    home: House, gateway: FakeGateway
) -> None:
    worker = await home.start_worker("w0")
    await home.session(source={"type": "testPattern"})
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch)
    live = worker.agent.sessions[SESSION]
    await until(lambda: viewer.media, "frames")
    assert live.output.encoder_names
    assert not live.alone.is_set()
    await live.close("it came back")
    assert (live.output.encoder_names, live.output.last, live.output.is_drained) == ((), None, True)
    assert live.alone.is_set(), "who sees it out waits for no gateway any more"


async def test_a_gateway_hears_that_every_second_frame_is_left_out_before_it_gets_the_others(
    home: House, gateway: FakeGateway
) -> None:
    worker = await home.start_worker("w0")
    await home.session(source={"type": "testPattern"}, steps=1, approximation={"minFrameRate": 8})
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch)
    await until(lambda: len(viewer.media) > 8, "frames")
    assert viewer.reports == [] or viewer.reports[-1].frame_rate == 16
    assert {late - early for early, late in pairwise(captured(viewer)[:8])} == {62_500}

    (opened,) = worker.engine_loop.sessions.all()
    policy = opened.rows.policy
    assert policy is not None

    def is_told() -> bool:
        policy.trouble(SystemClock().monotonic())
        return bool(viewer.reports) and viewer.reports[-1].frame_rate == 8

    await until(is_told, "the report")
    before = len(viewer.media)
    await until(lambda: len(viewer.media) > before + 12, "frames")
    steps_us = [late - early for early, late in pairwise(captured(viewer))]
    assert steps_us[-6:] == [125_000] * 6, "as far apart as they stand in the source"
    assert set(steps_us) == {62_500, 125_000}
    assert steps_us.index(125_000) >= before - 1, "told before the first of them"
    assert viewer.reports[-1].steps == 1
    assert viewer.reports[-1].dropped_input == 0


def captured(viewer: Viewer) -> list[int]:
    return [media.unit.capture_us for media in viewer.media]


async def test_a_part_that_fails_ends_the_session_once_and_names_the_error(home: House) -> None:
    worker = await home.start_worker("w0")
    ends: list[End] = []
    live = await opened_on(worker, home, ends)

    async def fail(what: str) -> None:
        raise OSError(what)

    live._tasks.start(fail("the disk is full"), name="intake of it")
    live._tasks.start(fail("once more"), name="output of it")
    await until(lambda: not len(live._tasks), "both to have failed")
    assert ends == [End(Phase.FAILED, "OSError: the disk is full", elsewhere=True)]
    await live.close("the test is over")


async def test_an_engine_that_gives_a_session_up_lets_another_worker_try_it(home: House) -> None:
    worker = await home.start_worker("w0")
    ends: list[End] = []
    live = await opened_on(worker, home, ends)
    live._from_engine.gave_up("NaN in every row")
    assert ends == [End(Phase.FAILED, "the engine gave it up: NaN in every row", elsewhere=True)]
    await live.close("the test is over")


async def test_a_closed_session_tells_its_gateways_why_and_ends_no_second_time(
    home: House, gateway: FakeGateway
) -> None:
    worker = await home.start_worker("w0")
    await home.session(source={"type": "testPattern"})
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch)
    live = worker.agent.sessions[SESSION]
    await live.close("it was withdrawn")
    await until(lambda: viewer.closed is not None, "its channel closed")
    assert viewer.closed is not None
    assert viewer.closed.reason == "it was withdrawn"
    assert live.output.channels == []
    await live.close("once more")
    live._given_up("too late")
    assert SESSION in worker.agent.sessions, "nobody asked the agent to let it go"
