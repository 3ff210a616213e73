"""One live session at a gateway: what it is told to be, who enters and leaves, and what a newer record changes."""

from dataclasses import replace
from functools import partial

import pytest

from genlock_core.claims.facts import MoveCause, Publishing
from genlock_core.claims.record import ControlValue, Granted, LevelLimit, SessionRecord
from genlock_core.media import SourcePosition
from genlock_core.situation.states import SessionState
from genlock_core.slo.stages import StageTimes
from genlock_core.spec.session import Phase
from genlock_core.tokens import Role
from genlock_gateway.sessions.stream import LiveStream
from genlock_gateway.sessions.upstream.mover import MoveStage
from tests.gateway.installation import until
from tests.gateway.sessions.gateway_room import SESSION, GatewayRoom


@pytest.fixture
async def stream(room: GatewayRoom) -> LiveStream:
    """A session that a worker owns."""
    await room.worker("w0")
    await room.record()
    await room.claims.claim(SESSION)
    record = await room.claims.record(SESSION)
    assert record is not None
    return room.hub.stream(record)


def faults(monkeypatch: pytest.MonkeyPatch, stream: LiveStream) -> list[MoveCause]:
    """The causes of the moves that this stream hears of from now on."""
    heard: list[MoveCause] = []
    monkeypatch.setattr(stream, "moving", heard.append)
    return heard


def phase(stream: LiveStream) -> Phase:
    """As it is now: mypy takes a property for what it was."""
    return stream.phase


def stage(stream: LiveStream) -> MoveStage:
    """As it is now."""
    return stream.upstream.situation.stage


# -- people ------------------------------------------------------------------------------------------------------------


async def test_the_claim_of_whoever_enters_is_taken_and_no_other_is_asked_for(
    room: GatewayRoom, stream: LiveStream
) -> None:
    claim = await room.claims.claim(SESSION)
    stream.enter(room.client("one")[0], claim)
    assert stream.upstream.situation.claim == claim
    assert stream.upstream.situation.stage is not MoveStage.CLAIMING


async def test_without_a_claim_one_is_asked_for(stream: LiveStream, room: GatewayRoom) -> None:
    stream.enter(room.client("one")[0])
    assert stream.upstream.situation.claim is None
    await until(lambda: stream.upstream.situation.claim is not None)


async def test_a_publisher_takes_over_from_the_one_before(room: GatewayRoom, stream: LiveStream) -> None:
    first, second = room.client("first", "whip")[0], room.client("second", "whip")[0]
    assert stream.enter(first) is None
    assert stream.enter(second) is first
    assert stream.audience.publisher is second
    stream.leave(first)
    assert stream.audience.publisher is second, "the one before leaves no gap"
    stream.leave(second)
    assert stream.audience.publisher is None


async def test_viewers_are_counted(room: GatewayRoom, stream: LiveStream) -> None:
    one, two = room.client("one")[0], room.client("two")[0]
    assert stream.enter(one) is None
    stream.enter(two)
    assert room.figure("genlock_gateway_viewers", session=SESSION) == 2
    stream.leave(one)
    stream.leave(one)
    assert room.figure("genlock_gateway_viewers", session=SESSION) == 1
    assert stream.wanted


async def test_the_last_that_leaves_lets_the_session_rest(room: GatewayRoom, stream: LiveStream) -> None:
    publisher, viewer = room.client("publisher", "whip")[0], room.client("viewer")[0]
    stream.enter(publisher)
    stream.enter(viewer)
    stream.leave(viewer)
    assert stage(stream) is not MoveStage.IDLE
    stream.leave(publisher)
    assert stage(stream) is MoveStage.IDLE
    assert not stream.wanted
    assert stream.unused


async def test_the_worker_is_asked_for_what_viewers_here_watch(room: GatewayRoom, stream: LiveStream) -> None:
    claim = await room.claims.claim(SESSION)
    stream.enter(room.client("viewer")[0], claim)
    request = stream.open_request(claim)
    assert (request.session, request.epoch, request.gateway) == (SESSION, claim.epoch, "g0")
    assert (request.codecs, request.publisher, request.after) == (("vp8",), False, None)
    stream.enter(room.client("publisher", "whip")[0])
    assert stream.open_request(claim).publisher is True


async def test_a_publication_that_redis_had_lost_goes_on_under_its_new_number(
    room: GatewayRoom, stream: LiveStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(stream.source, "announce", lambda: said.append("announced"))
    monkeypatch.setattr(stream.source, "request_key_frame", lambda: said.append("key frame"))
    publisher = room.client("publisher", "whip")[0]
    stream.enter(publisher)
    said.clear()
    stream.renumber(publisher, 1)
    stream.renumber(room.client("stranger", "whip")[0], 2)
    assert (publisher.run, said) == (1, [])
    stream.renumber(publisher, 2)
    assert (publisher.run, said) == (2, ["announced", "key frame"])


# -- what it is told to be ---------------------------------------------------------------------------------------------


async def test_its_phase_is_the_records_until_a_frame_of_the_epoch_was_shown(
    room: GatewayRoom, stream: LiveStream
) -> None:
    assert phase(stream) is Phase.ASSIGNED
    stream.output.shown_epoch = stream.record.epoch
    assert phase(stream) is Phase.ASSIGNED, "nobody watches"
    stream.enter(room.client("viewer")[0])
    stream.enter(room.client("publisher", "whip")[0])
    assert phase(stream) is Phase.LIVE
    stream.moving(MoveCause.REFUSED)
    assert phase(stream) is Phase.RECOVERING
    stream.record = replace(stream.record, phase=Phase.ENDED)
    assert phase(stream) is Phase.ENDED


async def test_a_session_without_an_owner_is_not_live(room: GatewayRoom) -> None:
    stream = await room.stream()
    stream.enter(room.client("viewer")[0])
    assert phase(stream) is Phase.PENDING


async def test_without_a_publisher_nothing_is_live_whatever_was_shown(room: GatewayRoom, stream: LiveStream) -> None:
    publisher = room.client("publisher", "whip")[0]
    stream.enter(room.client("viewer")[0])
    stream.enter(publisher)
    stream.output.shown_epoch = stream.record.epoch
    stream.record = replace(stream.record, phase=Phase.LIVE)
    assert stream.publishing is Publishing.NOW
    stream.leave(publisher)
    assert (phase(stream), stream.publishing) == (Phase.ASSIGNED, Publishing.GONE)
    assert stream.view(Role.VIEW).state is SessionState.NOBODY_PUBLISHES
    # Somebody publishes at another gateway.
    stream.surroundings = replace(stream.surroundings, publishing=Publishing.NOW)
    assert phase(stream) is Phase.LIVE


async def test_what_time_alone_changes_is_told(room: GatewayRoom, stream: LiveStream) -> None:
    publisher, peer = room.client("publisher", "whip")
    stream.enter(publisher)
    stream.output.shown_epoch = stream.record.epoch

    def states_after(seconds: float) -> list[str]:
        room.clock.advance(seconds)
        stream.tick()
        told, peer.said = [message["state"] for message in peer.said if message["type"] == "state"], []
        return told

    stream.stats.source_frame(1, watched=True)
    stream.stats.shown(SourcePosition(1, 0), StageTimes(), arrived_us=0, own_run=None)
    assert states_after(1.0) == ["live"]
    assert states_after(0.6) == []
    stream.stats.source_frame(1, watched=True)
    assert states_after(1.0) == ["stalled"], "the source moves, and no picture comes"
    assert states_after(2.0) == ["source-still"]


async def test_it_is_shown_with_its_worker_and_who_is_here(room: GatewayRoom, stream: LiveStream) -> None:
    assert stream.view(Role.VIEW).stats is None
    stream.enter(room.client("viewer")[0])
    stream.surroundings = replace(stream.surroundings, gpus=4)
    view = stream.view(Role.VIEW)
    assert (view.name, view.worker, view.epoch, view.gpus) == ("demo", "w0", stream.record.epoch, 4)
    assert (view.viewers, view.publisher) == (1, False)
    assert view.stats is not None
    assert (view.stats.viewers, view.stats.worker, view.stats.epoch) == (1, "w0", stream.record.epoch)


# -- a newer record ----------------------------------------------------------------------------------------------------


async def test_an_older_record_changes_nothing(stream: LiveStream) -> None:
    before = stream.record
    stream.updated(replace(before, epoch=0, phase=Phase.ENDED))
    assert stream.record is before
    assert stream.end_reason == ""


@pytest.mark.parametrize(("reason", "why"), [("", "the session has ended"), ("idle", "the session has ended (idle)")])
async def test_a_record_that_is_finished_ends_it_with_the_first_reason(
    stream: LiveStream, reason: str, why: str
) -> None:
    stream.updated(replace(stream.record, phase=Phase.ENDED, reason=reason))
    stream.updated(replace(stream.record, phase=Phase.ENDED, reason="later"))
    assert stream.end_reason == why


async def test_a_move_that_somebody_else_made_because_of_a_fault_is_one_here_too(
    room: GatewayRoom, stream: LiveStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await room.worker("w1")
    heard = faults(monkeypatch, stream)
    moved = replace(stream.record, epoch=stream.record.epoch + 1, owner=other, phase=Phase.RECOVERING, reason="silent")
    stream.updated(moved)
    assert heard == [MoveCause.SILENT]
    stream.updated(replace(moved, epoch=moved.epoch + 1, owner=replace(other, name="w2"), reason="a word"))
    assert heard == [MoveCause.SILENT, MoveCause.REFUSED], "an unknown reason is a fault"


async def test_what_is_no_move_or_no_fault_or_shown_already_is_none(
    room: GatewayRoom, stream: LiveStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await room.worker("w1")
    first = stream.record
    heard = faults(monkeypatch, stream)

    stream.updated(replace(first, owner=other, phase=Phase.RECOVERING, reason="silent"))
    stream.record = first
    stream.updated(replace(first, epoch=first.epoch + 1, phase=Phase.RECOVERING, reason="silent"))
    stream.record = first
    stream.updated(replace(first, epoch=first.epoch + 1, owner=other, phase=Phase.LIVE, reason="silent"))
    stream.record = first
    stream.output.shown_epoch = first.epoch + 1
    stream.updated(replace(first, epoch=first.epoch + 1, owner=other, phase=Phase.RECOVERING, reason="silent"))
    assert heard == []


async def test_a_polite_move_shows_no_gap(room: GatewayRoom, stream: LiveStream) -> None:
    stream.output.shown_epoch = stream.record.epoch
    stream.enter(room.client("viewer")[0])
    for cause in (MoveCause.DRAIN, MoveCause.REQUESTED):
        stream.moving(cause)
        assert not stream.output.lost
    stream.moving(MoveCause.SILENT)
    assert stream.output.lost


async def test_a_key_frame_is_asked_for_as_soon_as_a_worker_is_lost_and_for_no_polite_move(
    stream: LiveStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[MoveCause] = []
    for cause in MoveCause:
        monkeypatch.setattr(stream.source, "request_key_frame", partial(asked.append, cause))
        stream.moving(cause)
    assert set(asked) == set(MoveCause) - {MoveCause.DRAIN, MoveCause.REQUESTED}


@pytest.mark.parametrize(("paused", "rests"), [("true", 1), ("false", 0)])
async def test_a_pause_is_no_freeze(
    stream: LiveStream, monkeypatch: pytest.MonkeyPatch, paused: str, rests: int
) -> None:
    rested: list[None] = []
    monkeypatch.setattr(stream.stats, "rest", lambda: rested.append(None))
    stream.updated(stream.record)
    stream.updated(replace(stream.record, control={"paused": ControlValue(paused, "1-0")}))
    assert len(rested) == rests


async def test_a_record_that_is_gone_is_missing_since_it_was_first_looked_for(
    room: GatewayRoom, stream: LiveStream
) -> None:
    await room.store.flushall()
    since_s = room.clock.monotonic()
    stream.refresh()
    await until(lambda: stream.missing_since_s is not None)
    room.clock.advance(5.0)
    await stream._read_record()
    assert stream.missing_since_s == since_s
    await room.claims.create(stream.record)
    await stream._read_record()
    assert stream.missing_since_s is None


async def test_the_first_frame_of_an_epoch_is_written_to_the_record(room: GatewayRoom, stream: LiveStream) -> None:
    stream.live(stream.record.epoch)
    await until(lambda: not len(stream._chores))
    record = await room.claims.record(SESSION)
    assert record is not None
    assert record.phase is Phase.LIVE


async def test_a_closed_stream_leaves_no_series(room: GatewayRoom, stream: LiveStream) -> None:
    stream.enter(room.client("viewer")[0])
    stream.close()
    assert room.figure("genlock_gateway_viewers", session=SESSION) is None


async def test_figures_that_tremble_round_the_bound_change_the_state_at_most_once(
    room: GatewayRoom, stream: LiveStream
) -> None:
    publisher, peer = room.client("publisher", "whip")
    stream.enter(publisher)
    stream.output.shown_epoch = stream.record.epoch
    stream.tick()

    def states_of(shares: list[float]) -> list[str]:
        """What the publisher is told while its worker reports these shares of late pictures, one a second."""
        peer.said.clear()
        for share in shares:
            room.clock.advance(1.0)
            stream.stats.source_frame(1, watched=True)
            stream.stats.shown(SourcePosition(1, 0), StageTimes(), arrived_us=0, own_run=None)
            stream.stats.reported({"outputFps": 16.0, "missShare": share, "strained": True})
            stream.tick()
        return [message["state"] for message in peer.said if message["type"] == "state"]

    assert states_of([0.09, 0.11] * 20) == ["machine-busy"]
    assert states_of([0.12] * 6 + [0.09, 0.11] * 20) == ["too-slow"]
    stream.stats.moved()
    assert states_of([0.12]) == ["machine-busy"], "its next worker keeps a pace of its own"
    assert states_of([0.12] * 6) == ["too-slow"]
    assert states_of([0.0] * 20) == ["machine-busy"]


async def test_just_after_a_change_of_level_figures_of_the_level_before_tell_of_no_overload(
    room: GatewayRoom, stream: LiveStream
) -> None:
    publisher, peer = room.client("publisher", "whip")
    stream.enter(publisher)
    stream.output.shown_epoch = stream.record.epoch
    lowered = replace(stream.record, granted=Granted(1, 7), limit=LevelLimit(1, 1, 0))

    def states_of(record: SessionRecord, seconds: int) -> list[str]:
        """What the publisher is told from this record on, while its worker still runs one of two steps."""
        peer.said.clear()
        stream.updated(record)
        for _ in range(seconds):
            room.clock.advance(1.0)
            stream.stats.source_frame(1, watched=True)
            stream.stats.shown(SourcePosition(1, 0), StageTimes(), arrived_us=0, own_run=None)
            stream.stats.reported({"outputFps": 16.0, "steps": 1, "requestedSteps": 2})
            stream.tick()
        return [message["state"] for message in peer.said if message["type"] == "state"]

    assert set(states_of(lowered, 1)) == {"lowered"}
    raised = replace(lowered, granted=Granted(2, 8), limit=None)
    assert set(states_of(raised, 1)) == {"live"}
    assert states_of(raised, 3)[-1] == "approximated", "it had time, and its machine is too slow"
