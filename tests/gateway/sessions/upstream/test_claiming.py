"""What an upstream asks of Redis, what it makes of the answers, and what is counted of them."""

from dataclasses import replace
from typing import Any

import pytest

from genlock_core.claims.facts import Claim, MoveCause, WorkerState
from genlock_core.claims.identity import WorkerIdentity
from genlock_core.claims.pulse import Vitals
from genlock_core.claims.silence import Silence
from genlock_core.errors import NoCapacity, StaleEpoch
from genlock_gateway.sessions.upstream import mover
from genlock_gateway.sessions.upstream.claiming import Claiming, claim_of
from tests.gateway.sessions.gateway_room import SESSION, GatewayRoom


class Asked:
    """Claims whose `move` says what it was asked."""

    def __init__(self, room: GatewayRoom) -> None:
        self._inner = room.claims
        self.moves: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def move(self, session: str, **how: Any) -> Any:
        self.moves.append({"session": session, **how})
        return await self._inner.move(session, **how)


@pytest.fixture
def asked(room: GatewayRoom) -> Asked:
    return Asked(room)


@pytest.fixture
async def claiming(room: GatewayRoom, asked: Asked) -> Claiming:
    await room.worker("w0")
    await room.record()
    return Claiming(SESSION, replace(room.hub.shared, claims=asked))  # type: ignore[arg-type]


def moves(room: GatewayRoom, result: str, cause: MoveCause = MoveCause.REFUSED) -> float | None:
    return room.figure("genlock_moves_total", cause=cause.value, result=result)


async def claimed(claiming: Claiming) -> Claim:
    event = await claiming.claim(seen_epoch=0)
    assert isinstance(event, mover.Claimed)
    return event.claim


async def test_a_claim_is_an_event_and_its_time_a_figure(room: GatewayRoom, claiming: Claiming) -> None:
    claim = await claimed(claiming)
    assert (claim.session, claim.worker.name) == (SESSION, "w0")
    assert room.figure("genlock_gateway_claim_seconds_count", operation="claim") == 1


async def test_a_move_names_the_worker_that_is_left_and_is_counted_as_won(
    room: GatewayRoom, claiming: Claiming, asked: Asked
) -> None:
    claim = await claimed(claiming)
    await room.worker("w1")
    event = await claiming.move(claim, MoveCause.REFUSED)
    assert isinstance(event, mover.Claimed)
    assert event.claim.worker.name == "w1"
    assert asked.moves == [
        {"session": SESSION, "expected_epoch": claim.epoch, "suspect": "w0", "cause": MoveCause.REFUSED}
    ]
    assert moves(room, "won") == 1
    assert room.figure("genlock_gateway_claim_seconds_count", operation="move") == 1

    again = await claiming.move(claim, MoveCause.REFUSED)
    assert again == event, "who comes second goes with the winner's claim"
    assert moves(room, "adopted") == 1
    assert moves(room, "won") == 1


async def test_a_worker_that_redis_does_not_know_any_more_is_still_the_suspect(
    room: GatewayRoom, claiming: Claiming, asked: Asked
) -> None:
    claim = replace(await claimed(claiming), worker=WorkerIdentity("w9", "gone"))
    await room.worker("w1")
    await claiming.move(claim, MoveCause.REFUSED)
    assert [move["suspect"] for move in asked.moves] == ["w9"]


async def test_a_worker_that_was_started_again_is_not_the_suspect(
    room: GatewayRoom, claiming: Claiming, asked: Asked
) -> None:
    claim = await claimed(claiming)
    await room.worker("w0", incarnation="2")
    event = await claiming.move(claim, MoveCause.REFUSED)
    assert [move["suspect"] for move in asked.moves] == [None]
    assert isinstance(event, mover.Claimed)
    assert event.claim.worker == WorkerIdentity("w0", "2")


async def test_a_move_without_room_or_of_an_old_epoch_is_counted_as_what_it_was(
    room: GatewayRoom, claiming: Claiming
) -> None:
    claim = await claimed(claiming)
    with pytest.raises(NoCapacity):
        await claiming.move(claim, MoveCause.REFUSED)
    assert moves(room, "no-capacity") == 1

    await room.worker("w0", incarnation="2")
    with pytest.raises(StaleEpoch):
        await claiming.move(replace(claim, epoch=claim.epoch - 1), MoveCause.REFUSED)
    assert moves(room, "failed") == 1
    assert moves(room, "won") is None


# -- examining ---------------------------------------------------------------------------------------------------------


async def test_there_is_nothing_to_go_by_without_a_record(room: GatewayRoom, claiming: Claiming) -> None:
    claim = await claimed(claiming)
    await room.store.flushall()
    assert await claiming.examine(claim, silence=lambda: Silence(9.0)) is None


async def test_a_session_that_somebody_else_has_moved_is_followed(room: GatewayRoom, claiming: Claiming) -> None:
    claim = await claimed(claiming)
    await room.worker("w1")
    move = await room.claims.move(SESSION, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.REFUSED)
    assert await claiming.examine(claim, silence=lambda: Silence(9.0)) == mover.Claimed(move.claim)
    assert room.figure("genlock_gateway_claim_seconds_count", operation="record") == 1


async def test_a_worker_whose_heart_beats_is_not_left_for_a_moments_silence(
    room: GatewayRoom, claiming: Claiming
) -> None:
    claim = await claimed(claiming)
    assert await claiming.examine(claim, silence=lambda: Silence(0.0)) == mover.Examined(claim.epoch, None)


async def test_a_silent_worker_is_left_and_what_redis_says_of_its_successor_by_name_says_nothing_of_it(
    room: GatewayRoom, claiming: Claiming
) -> None:
    claim = await claimed(claiming)
    view = await room.claims.worker("w0")
    assert view is not None
    assert view.state is WorkerState.READY
    stranger = replace(claim, worker=WorkerIdentity("w0", "another"))
    known = await claiming.examine(claim, silence=lambda: Silence(3.0))
    unknown = await claiming.examine(stranger, silence=lambda: Silence(3.0))
    assert isinstance(known, mover.Examined)
    assert isinstance(unknown, mover.Examined)
    assert (known.cause, unknown.cause) == (MoveCause.SILENT, None)


async def test_a_record_tells_its_claim_if_somebody_owns_it(room: GatewayRoom, claiming: Claiming) -> None:
    record = await room.claims.record(SESSION)
    assert record is not None
    assert claim_of(record) is None
    claim = await claimed(claiming)
    record = await room.claims.record(SESSION)
    assert record is not None
    assert claim_of(record) == claim


async def test_a_silent_worker_is_left_only_for_one_that_has_room_and_was_not_as_late(
    room: GatewayRoom, claiming: Claiming
) -> None:
    claim = await claimed(claiming)

    async def cause(late_ms: int) -> MoveCause | None:
        said = Vitals(alive=1, phase="stepping", late_ms=late_ms, patience_ms=1_000, patient=True)
        room.clock.advance(0.1)
        await room.claims.renew(WorkerIdentity("w1", "1"), progress=room.clock.wall_ms(), links={}, vitals=said)
        event = await claiming.examine(claim, silence=lambda: Silence(2.0))
        assert isinstance(event, mover.Examined)
        return event.cause

    await room.worker("w1")
    assert await cause(1_500) is None
    assert await cause(900) is MoveCause.SILENT
