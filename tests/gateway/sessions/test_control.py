"""Changes to the picture: what a client's message is answered, and what comes of it in the session's control stream."""

import asyncio
import json
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisAway

from genlock_core.claims.facts import GrantAnswer
from genlock_core.store import StoreBusy
from genlock_core.stream_state.control import ControlChange, ControlRequest
from genlock_gateway.sessions.control import MOST_AT_ONCE, Controls
from genlock_gateway.sessions.hub import MESSAGE_BURST, MESSAGES_PER_S
from genlock_gateway.sessions.stream import LiveStream
from tests.gateway.installation import until
from tests.gateway.sessions.gateway_room import SESSION, GatewayRoom


class Desk:
    """One client of one session, and what it is answered."""

    def __init__(self, room: GatewayRoom, stream: LiveStream, *, may_control: bool = True) -> None:
        self.controls = Controls(room.claims, room.control, room.hub)
        self.stream = stream
        self.resource, self.peer = room.client("a-client", may_control=may_control)

    def say(self, message: object) -> dict[str, Any]:
        """What is answered at once."""
        text = message if isinstance(message, str) else json.dumps(message)
        self.controls.heard(self.stream, self.resource, text)
        return self.peer.said.pop() if self.peer.said else {}

    async def change(self, **fields: object) -> dict[str, Any]:
        """What is answered once the change is stored, or is not."""
        self.controls.heard(self.stream, self.resource, json.dumps({"type": "control", **fields}))
        await until(lambda: bool(self.peer.said))
        return self.peer.said.pop()


@pytest.fixture
async def desk(room: GatewayRoom) -> Desk:
    return Desk(room, await room.stream())


async def test_a_ping_is_answered_with_its_time(desk: Desk) -> None:
    assert desk.say({"type": "ping", "sentAt": 12.5}) == {"type": "pong", "sentAt": 12.5}
    assert desk.say({"type": "ping", "sentAt": True}) == {"type": "pong"}
    assert desk.say({"type": "ping", "sentAt": "noon"}) == {"type": "pong"}


@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity"])
async def test_an_answer_is_json_whatever_a_client_calls_a_number(desk: Desk, number: str) -> None:
    assert desk.say(f'{{"type": "ping", "sentAt": {number}}}') == {"type": "pong"}
    answer = desk.say(f'{{"type": "control", "number": {number}, "prompt": "ink"}}')
    assert (answer["type"], answer["detail"].partition(":")[0]) == ("error", "number")


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "7", "[" * 100_000])
async def test_what_is_no_object_is_answered_with_what_a_message_is(desk: Desk, text: str) -> None:
    assert desk.say(text) == {"type": "error", "detail": "a message is a JSON object with a type"}


async def test_an_unknown_type_is_answered_with_those_that_there_are(desk: Desk) -> None:
    assert desk.say({"type": "dance"}) == {"type": "error", "detail": "type is control or ping"}


async def test_who_may_not_control_is_told_what_it_takes(room: GatewayRoom) -> None:
    desk = Desk(room, await room.stream(), may_control=False)
    assert desk.say({"type": "control", "number": 3, "prompt": "neon"}) == {
        "type": "error",
        "number": 3,
        "detail": "to control, connect with a publish token",
    }


@pytest.mark.parametrize(
    ("wish", "detail"),
    [
        ({"steps": 9}, "steps: Input should be less than or equal to 4"),
        ({"steps": True}, "steps: Input should be a valid integer"),
        ({"prompt": "ink", "client": "a:b"}, "client: String should match pattern '^[A-Za-z0-9._-]{1,64}$'"),
        ({"prompt": "\ud800"}, "prompt: Input should be a valid string, unable to parse raw data as a unicode string"),
        ({"mood": "blue"}, "mood: Extra inputs are not permitted"),
        ({}, "Value error, nothing to change: give prompt, steps, noiseScale, paused or reset"),
    ],
)
async def test_a_mistaken_change_is_answered_with_its_number_and_the_first_mistake(
    desk: Desk, wish: dict[str, object], detail: str
) -> None:
    answer = desk.say({"type": "control", "number": 4, **wish})
    assert answer == {"type": "error", "number": 4, "detail": detail}


async def test_steps_that_do_not_go_with_the_sessions_mode_are_answered_with_their_number(room: GatewayRoom) -> None:
    desk = Desk(room, await room.stream(qualityMode="low-latency"))
    answer = desk.say({"type": "control", "number": 4, "steps": 4})
    assert (answer["type"], answer["number"]) == ("error", 4)
    assert answer["detail"].startswith("steps ")
    assert await room.control.read(SESSION) == []


async def test_a_change_is_stored_under_its_clients_name_and_acknowledged_with_its_id(
    room: GatewayRoom, desk: Desk
) -> None:
    answer = await desk.change(number=3, prompt="neon")
    (entry,) = await room.control.read(SESSION)
    assert answer == {"type": "ack", "number": 3, "id": entry.id}
    assert (entry.client, entry.number, entry.change) == ("a-client", 3, ControlChange(prompt="neon"))
    record = await room.claims.record(SESSION)
    assert record is not None
    assert (record.control["prompt"].value, record.control["prompt"].id) == ("neon", entry.id)

    again = await desk.change(number=3, prompt="neon")
    assert again == answer, "the same number is the same change"


async def test_a_change_that_cannot_be_stored_is_to_be_sent_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object, **__: object) -> str:
        raise RedisAway("away")

    monkeypatch.setattr(desk.controls._control, "append", away)
    answer = await desk.change(number=3, prompt="neon")
    assert answer == {"type": "error", "number": 3, "detail": "the change could not be stored; send it again"}


async def test_a_client_that_sends_too_much_is_not_answered_until_it_slows_down(room: GatewayRoom, desk: Desk) -> None:
    for _ in range(int(MESSAGE_BURST)):
        assert desk.say({"type": "ping"}) == {"type": "pong"}
    assert desk.say({"type": "ping"}) == {}
    room.clock.advance(1.0)
    answers = [desk.say({"type": "ping"}) for _ in range(int(MESSAGES_PER_S) + 1)]
    assert answers == [{"type": "pong"}] * int(MESSAGES_PER_S) + [{}]


# -- in order ----------------------------------------------------------------------------------------------------------


class SlowGrants:
    """What pays for steps answers once it is told to."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self._grant = desk.controls._claims.grant
        self.asked: list[int] = []
        self.answers = asyncio.Event()
        monkeypatch.setattr(desk.controls._claims, "grant", self._slowly)

    async def _slowly(self, session: str, steps: int) -> GrantAnswer:
        self.asked.append(steps)
        await self.answers.wait()
        return await self._grant(session, steps)


async def test_changes_are_stored_in_the_order_in_which_they_came_whatever_each_takes(
    room: GatewayRoom, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    grants = SlowGrants(desk, monkeypatch)
    wishes: list[dict[str, object]] = [{"steps": 3}, {"prompt": "ink"}, {"steps": 2}, {"reset": True}]
    for number, wish in enumerate(wishes):
        desk.controls.heard(desk.stream, desk.resource, json.dumps({"type": "control", "number": number, **wish}))
    patch = asyncio.create_task(desk.controls.change(SESSION, ControlRequest(prompt="neon")))

    # A gateway's other sessions wait for none of this.
    await room.record("other")
    await desk.controls.change("default/other", ControlRequest(prompt="fog"))
    assert await room.control.read(SESSION) == []
    assert grants.asked == [3]

    grants.answers.set()
    accepted = await patch
    entries = await room.control.read(SESSION)
    assert [entry.change for entry in entries] == [
        ControlChange(steps=3),
        ControlChange(prompt="ink"),
        ControlChange(steps=2),
        ControlChange(reset=True),
        ControlChange(prompt="neon"),
    ]
    assert entries[-1].id == accepted.id
    assert [said["number"] for said in desk.peer.said] == [0, 1, 2, 3]
    assert len(desk.controls._turns) == 0


async def test_a_change_that_fails_or_is_given_up_keeps_none_from_its_turn(
    room: GatewayRoom, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    grants = SlowGrants(desk, monkeypatch)
    given_up = [asyncio.create_task(desk.controls.change(SESSION, ControlRequest(steps=steps))) for steps in (3, 2)]
    last = asyncio.create_task(desk.controls.change(SESSION, ControlRequest(prompt="ink")))
    await until(lambda: grants.asked == [3])
    for task in reversed(given_up):
        task.cancel()
    await asyncio.wait_for(last, 5.0)
    assert [entry.change for entry in await room.control.read(SESSION)] == [ControlChange(prompt="ink")]
    assert len(desk.controls._turns) == 0


async def test_so_many_changes_of_a_session_wait_and_no_more(
    room: GatewayRoom, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    grants = SlowGrants(desk, monkeypatch)
    ahead = [asyncio.create_task(desk.controls.change(SESSION, ControlRequest(steps=2))) for _ in range(MOST_AT_ONCE)]
    await until(lambda: bool(grants.asked))
    with pytest.raises(StoreBusy):
        await desk.controls.change(SESSION, ControlRequest(prompt="ink"))
    answer = await desk.change(number=3, prompt="ink")
    assert answer == {"type": "error", "number": 3, "detail": "the change could not be stored; send it again"}

    grants.answers.set()
    await asyncio.gather(*ahead)
    assert (await desk.change(number=3, prompt="ink"))["type"] == "ack"


# -- over REST, where the request says whose it is ---------------------------------------------------------------------


async def test_a_request_without_a_number_is_a_change_of_its_own_each_time(room: GatewayRoom, desk: Desk) -> None:
    request = ControlRequest(prompt="neon")
    accepted = [await desk.controls.change(SESSION, request, client="a-client") for _ in range(2)]
    entries = await room.control.read(SESSION)
    assert [entry.id for entry in entries] == [one.id for one in accepted]
    assert [entry.number for entry in entries] == [0, 0]
    assert len({entry.client for entry in entries} | {"a-client"}) == 3


async def test_a_number_of_nobody_names_no_change(room: GatewayRoom, desk: Desk) -> None:
    for _ in range(2):
        await desk.controls.change(SESSION, ControlRequest(prompt="neon", number=5))
    assert [entry.number for entry in await room.control.read(SESSION)] == [0, 0]


async def test_a_client_that_names_itself_is_that_client(room: GatewayRoom, desk: Desk) -> None:
    await desk.controls.change(SESSION, ControlRequest(prompt="neon", client="me", number=5), client="a-client")
    (entry,) = await room.control.read(SESSION)
    assert (entry.client, entry.number) == ("me", 5)


async def test_the_worker_is_told_that_there_is_something_new(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    nudges: list[str] = []
    monkeypatch.setattr(LiveStream, "nudge", lambda self: nudges.append(self.session))
    await desk.controls.change(SESSION, ControlRequest(paused=True))
    await desk.controls.change("default/elsewhere", ControlRequest(paused=True))
    assert nudges == [SESSION]
