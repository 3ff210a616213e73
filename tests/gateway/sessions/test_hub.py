"""The streams and clients of one gateway: who is let in, who is turned away, and what is left when all have gone."""

import asyncio
from dataclasses import replace

import pytest

from genlock_core.tokens import Role
from genlock_gateway.access.problems import Problem
from genlock_gateway.sessions import stream as streams
from genlock_gateway.sessions.sse import Listener
from tests.gateway.installation import until
from tests.gateway.sessions.gateway_room import SESSION, GatewayRoom


async def test_one_session_has_one_stream_which_has_the_newest_record(room: GatewayRoom) -> None:
    record = await room.record()
    stream = room.hub.stream(record)
    await room.worker()
    claim = await room.claims.claim(SESSION)
    newer = await room.claims.record(SESSION)
    assert newer is not None
    assert room.hub.stream(newer) is stream
    assert stream.record.epoch == claim.epoch
    assert room.hub.find(SESSION) is stream
    assert room.hub.find("default/nobody") is None
    assert room.hub.streams == (stream,)


async def test_a_client_is_known_by_its_name_until_its_peer_is_closed(room: GatewayRoom) -> None:
    stream = await room.stream()
    one, _ = room.client("one", "whip")
    two, _ = room.client("two")
    assert room.hub.empty.is_set()
    for resource in (one, two):
        stream.enter(resource)
        room.hub.add(stream, resource)
    assert room.hub.peers == 2
    assert not room.hub.empty.is_set()
    assert room.hub.resource("one") == (stream, one)
    assert list(room.hub.resources()) == [(stream, one), (stream, two)]

    room.hub.remove(one)
    room.hub.remove(one)
    assert (room.hub.peers, room.hub.resource("one")) == (1, None)
    assert not room.hub.empty.is_set()
    assert stream.audience.publisher is None
    assert room.hub.find(SESSION) is stream

    room.hub.remove(two)
    assert room.hub.empty.is_set()
    assert room.hub.find(SESSION) is None, "nobody uses it"


@pytest.mark.parametrize(("kind", "role"), [("whip", "publish"), ("whep", "view")])
async def test_a_full_gateway_turns_everybody_away_and_counts_them_by_role(
    room: GatewayRoom, kind: str, role: str
) -> None:
    other = {"publish": "view", "view": "publish"}[role]
    with room.hub.reserve(SESSION, "whip"), room.hub.reserve(SESSION, "whip"):
        with pytest.raises(Problem) as refused, room.hub.reserve(SESSION, kind):  # type: ignore[arg-type]
            pass
    assert refused.value.status == 503
    assert refused.value.detail == "this gateway is full"
    assert refused.value.extra["reason"] == "gateway-full"
    assert refused.value.headers["Retry-After"] == "5"
    assert room.figure("genlock_blocked_total", role=role) == 1
    assert room.figure("genlock_blocked_total", role=other) is None

    with room.hub.reserve(SESSION, "whip"), room.hub.reserve(SESSION, "whip"):
        pass  # the places were given back


async def test_a_place_that_is_taken_counts_beside_those_that_are_being_let_in(room: GatewayRoom) -> None:
    stream = await room.stream()
    resource, _ = room.client("one", "whip")
    room.hub.add(stream, resource)
    with room.hub.reserve(SESSION, "whip"):
        with pytest.raises(Problem), room.hub.reserve(SESSION, "whip"):
            pass


async def test_a_session_with_all_its_viewers_turns_away_viewers_and_no_publisher(room: GatewayRoom) -> None:
    stream = await room.stream()
    stream.audience.viewers.add(room.client("viewer")[0])
    with pytest.raises(Problem) as refused, room.hub.reserve(SESSION, "whep"):
        pass
    assert refused.value.detail == f"{SESSION} has all the viewers that it may have here"
    assert refused.value.extra["reason"] == "session-full"
    assert refused.value.headers["Retry-After"] == "5"
    assert room.figure("genlock_blocked_total", role="view") == 1
    with room.hub.reserve(SESSION, "whip"), room.hub.reserve("default/other", "whep"):
        pass


async def test_listeners_are_counted_over_all_sessions_and_bounded(room: GatewayRoom) -> None:
    stream = await room.stream()
    room.hub.check_room_for_listener()
    listener = Listener(["state"], Role.VIEW)
    room.hub.listen(stream, listener)
    assert room.hub.listeners == 1
    with pytest.raises(Problem) as refused:
        room.hub.check_room_for_listener()
    assert refused.value.detail == "this gateway has too many event streams"
    assert refused.value.extra["reason"] == "gateway-full"
    assert refused.value.headers["Retry-After"] == "5"

    room.hub.unlisten(stream, listener)
    assert room.hub.listeners == 0
    assert room.hub.find(SESSION) is None


async def test_strangers_leave_event_streams_to_each_other_and_to_who_has_a_token(room: GatewayRoom) -> None:
    room.hub._limits = replace(room.hub._limits, event_streams=8)
    stream = await room.stream()

    def listens(stranger: str | None) -> Listener | None:
        try:
            room.hub.check_room_for_listener(stranger)
        except Problem:
            return None
        listener = Listener(["state"], Role.VIEW, stranger=stranger)
        room.hub.listen(stream, listener)
        return listener

    mine = [listens("192.0.2.1") for _ in range(5)]
    assert [one is not None for one in mine] == [True, True, False, False, False]
    others = [listens(f"192.0.2.{number // 2 + 2}") for number in range(6)]
    assert [one is not None for one in others] == [True, True, True, True, False, False]
    assert [listens(None) is not None for _ in range(3)] == [True, True, False]

    assert mine[0] is not None
    room.hub.unlisten(stream, mine[0])
    assert listens("192.0.2.9") is not None


async def test_a_stream_that_somebody_still_uses_is_kept(room: GatewayRoom) -> None:
    stream = await room.stream()
    listener = Listener(["state"], Role.VIEW)
    room.hub.listen(stream, listener)
    room.hub.drop_if_unused(stream)
    assert room.hub.find(SESSION) is stream


async def test_an_old_stream_takes_the_new_one_of_its_name_not_with_it(room: GatewayRoom) -> None:
    old = await room.stream()
    room.hub.drop_if_unused(old)
    new = room.hub.stream(old.record)
    room.hub.drop_if_unused(old)
    assert room.hub.find(SESSION) is new


async def test_sessions_with_a_publisher_are_counted(room: GatewayRoom) -> None:
    for name in ("one", "two"):
        stream = room.hub.stream(await room.record(name))
        stream.enter(room.client(name, "whip" if name == "one" else "whep")[0])
    room.hub.tick()
    assert room.figure("genlock_gateway_publishers") == 1


async def test_a_session_that_is_over_tells_its_clients_and_closes_them(
    room: GatewayRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "FAREWELL_S", 0.0)
    stream = await room.stream()
    resource, peer = room.client("one")
    stream.enter(resource)
    room.hub.add(stream, resource)
    stream.end_reason = "the session was deleted"
    room.hub.tick()
    assert room.hub.find(SESSION) is None, "its name is free at once"
    await until(lambda: bool(peer.closed))
    assert peer.closed == ["the session was deleted"]
    assert peer.said[-1]["type"] == "state"


async def test_what_was_started_ends_with_the_hub(room: GatewayRoom) -> None:
    await room.stream()
    ended: list[str] = []

    async def chore() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("chore")

    room.hub.start(chore(), name="a chore")
    await asyncio.sleep(0)
    await room.hub.close()
    assert ended == ["chore"]
    assert room.hub.streams == ()
