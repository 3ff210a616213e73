"""Changes to the picture: from a data channel or REST into the session's control stream, and a nudge to the worker.

The worker reads the stream in Redis, and the link only tells it that there is something new. So a change is not lost
with a link. The record keeps the last values for those who ask.
"""

import asyncio
import json
import logging
import math
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError
from redis.exceptions import RedisError

from genlock_core.approximation.levels import Level
from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import GrantOutcome
from genlock_core.errors import NoRoomForSteps, UnknownSession
from genlock_core.process.tasks import OwnedTasks
from genlock_core.spec.rules import steps_mistake
from genlock_core.store import StoreBusy
from genlock_core.stream_state.control import ControlRequest, ControlStream
from genlock_gateway.sessions.audience import PeerResource
from genlock_gateway.sessions.hub import Hub
from genlock_gateway.sessions.session_view import ControlAccepted, LevelView
from genlock_gateway.sessions.stream import LiveStream

logger = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 64
"""Changes of one session that wait or are under way: a client's whole burst of messages, and a few more."""


@dataclass(slots=True)
class _Line:
    """Those of one session."""

    length: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """It is handed on in the order in which it was asked for."""


class Turns:
    """One change of a session at a time, in the order in which they came to this gateway.

    A change takes more than one round trip to Redis, and a later one that takes fewer would overtake it: what the user
    said last would not be what the control stream says last. A session has a line while a change of it is under way.
    """

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    def __len__(self) -> int:
        """The sessions that have a line."""
        return len(self._lines)

    @asynccontextmanager
    async def turn(self, session: str) -> AsyncIterator[None]:
        """Wait for those who asked before. Raises StoreBusy at once where MOST_AT_ONCE did."""
        line = self._lines.setdefault(session, _Line())
        if line.length >= MOST_AT_ONCE:
            raise StoreBusy(f"{session}: {line.length} changes wait")

        line.length += 1
        try:
            async with line.lock:
                yield
        finally:
            line.length -= 1
            if line.length == 0:
                del self._lines[session]


class Controls:
    """Takes changes for any session; those of one session are stored in the order in which they came here."""

    def __init__(self, claims: Claims, control: ControlStream, hub: Hub) -> None:
        self._claims = claims
        self._control = control
        self._hub = hub
        self._turns = Turns()
        self._appending = OwnedTasks()

    async def change(self, session: str, request: ControlRequest, *, client: str | None = None) -> ControlAccepted:
        """Append the change and tell the worker. `client` is whose `number` it is if it does not say.

        Steps are paid for before they are asked for: as many as there is room for. Raises RedisError, NoRoomForSteps,
        StoreBusy where too many changes of the session wait.
        """
        async with self._turns.turn(session):
            accepted = await self._store(session, request, client)
        stream = self._hub.find(session)
        if stream is not None:
            stream.nudge()
        return accepted

    async def _store(self, session: str, request: ControlRequest, client: str | None) -> ControlAccepted:
        level = None if request.steps is None else await self._pay_for(session, request.steps)

        name = request.client or client
        if name is None or request.number is None:
            name, number = uuid.uuid4().hex, 0
        else:
            number = request.number
        entry = await self._control.append(session, client=name, number=number, change=request.change)
        await self._claims.remember_control(session, request.change.to_fields(), entry)
        return ControlAccepted(id=entry, level=level)

    async def _pay_for(self, session: str, steps: int) -> LevelView | None:
        """What of these steps is granted; None where nobody serves the session. Raises RedisError, NoRoomForSteps."""
        try:
            answer = await self._claims.grant(session, steps)
        except UnknownSession:  # the record is lost, or the session has just ended: what is said of it harms nobody
            return None
        if answer.outcome is GrantOutcome.REFUSED:
            raise NoRoomForSteps(session, requested=steps, granted=answer.steps or 0)
        if answer.steps is None:
            return None
        granted = Level(answer.steps, every=answer.every)
        return LevelView.of(requested=Level(steps), granted=granted, fits=answer.outcome is GrantOutcome.FITS)

    def heard(self, stream: LiveStream, resource: PeerResource, text: str) -> None:
        """A message on a client's data channel. The answer goes there, too, whatever the message is."""
        # A client that sends too much gets no answer, as that would cost more than the message.
        if resource.messages.take(self._hub.shared.clock.monotonic()) > 0:
            return

        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            _answer(resource, {"type": "error", "detail": "a message is a JSON object with a type"})
            return

        match message.get("type"):
            case "ping":
                _answer(resource, {"type": "pong", "sentAt": _number(message.get("sentAt"))})
            case "control":
                self._control_heard(stream, resource, message)
            case _:
                _answer(resource, {"type": "error", "detail": "type is control or ping"})

    def _control_heard(self, stream: LiveStream, resource: PeerResource, message: Mapping[str, Any]) -> None:
        number = _number(message.get("number"))
        if not resource.may_control:
            _answer(resource, {"type": "error", "number": number, "detail": "to control, connect with a publish token"})
            return

        try:
            request = ControlRequest.model_validate({key: value for key, value in message.items() if key != "type"})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            detail = f"{field}: {first['msg']}" if field else first["msg"]
            _answer(resource, {"type": "error", "number": number, "detail": detail})
            return
        if mistake := steps_mistake(stream.record.session.quality_mode, request.steps):
            _answer(resource, {"type": "error", "number": number, "detail": mistake})
            return
        work = self._change_and_answer(stream.session, resource, request)
        self._appending.start(work, name=f"control change of {stream.session}")

    async def _change_and_answer(self, session: str, resource: PeerResource, request: ControlRequest) -> None:
        try:
            accepted = await self.change(session, request, client=resource.id)
        except NoRoomForSteps as full:
            _answer(resource, {"type": "error", "number": request.number, "detail": str(full)})
            return
        except (RedisError, OSError, StoreBusy) as error:
            logger.warning("%s: a change was not stored (%s)", session, type(error).__name__)
            detail = "the change could not be stored; send it again"
            _answer(resource, {"type": "error", "number": request.number, "detail": detail})
            return
        said = accepted.model_dump(mode="json", by_alias=True)
        _answer(resource, {"type": "ack", "number": request.number, **said})


def _number(value: object) -> int | float | None:
    """A number that JSON can say; Python reads `NaN` and `1e999` as numbers too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def _answer(resource: PeerResource, message: Mapping[str, Any]) -> None:
    resource.peer.send(json.dumps({key: value for key, value in message.items() if value is not None}))
