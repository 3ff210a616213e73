"""One client's ICE through its restarts: the way that DTLS, RTP and RTCP take, and by which they come in.

A restart (RFC 8445 section 9, RFC 9725 section 4.3.3) gives both ends new credentials and new addresses, while DTLS and
SRTP go on. Each pair of credentials is a *generation*, with an ICE agent of its own. The generation that carries
packets does so until a pair of the next one is nominated; then the next one takes its place, with all that was bound
to it. A generation that comes to nothing ends without a trace, and a newer one ends it.

`new -> checking -> completed -> closed`: `start` begins the checks, a nominated pair completes them, and it closes by
`close` or by lost consent (RFC 7675).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from genlock_core.bounds import OBJECT_BYTES, ByteBound, ByteLimit, Holdings
from genlock_core.clock import Clock
from genlock_core.process.tasks import OwnedTasks
from genlock_gateway.rtc.sdp.ice_credentials import IceCredentials
from genlock_gateway.rtc.transport.aiortc_private import SharedPortConnection
from genlock_gateway.rtc.transport.demultiplexer import MAX_DATAGRAM_BYTES, Route
from genlock_gateway.rtc.transport.send_budget import SendBudget
from genlock_gateway.rtc.transport.udp_port import UdpPort

logger = logging.getLogger(__name__)

RESTART_TIMEOUT_S: Final = 30.0
"""As long as consent lasts: whoever has not come by then has lost the old way as well."""
MAX_RESTARTS: Final = 6
RESTART_WINDOW_S: Final = 10.0
"""So many restarts in this time: a phone that walks through doors needs fewer, and each one starts a new agent."""
REMEMBERED_GENERATIONS: Final = 16
"""Whose late candidates are known as such; older ones would look like a restart."""
MAX_QUEUED_DATAGRAMS: Final = 2048
INBOX_LIMIT: Final = ByteLimit(
    "datagrams that were not read yet",
    MAX_QUEUED_DATAGRAMS * (MAX_DATAGRAM_BYTES + OBJECT_BYTES),
    each="peer, publisher or viewer",
    when_full="the newest ones are dropped, as by a network",
)

IceState = Literal["new", "checking", "completed", "closed"]


class TooManyRestarts(Exception):
    """The client restarts more often than is done for it; `retry_after_s` says when it may again."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"more than {MAX_RESTARTS} ICE restarts in {RESTART_WINDOW_S:g} s")
        self.retry_after_s = retry_after_s


@dataclass(slots=True, eq=False)
class _Generation:
    """One pair of credentials of the client, and our agent for it."""

    agent: SharedPortConnection
    remote: IceCredentials


@dataclass(slots=True)
class _Inbox:
    """What came in and was not read yet; None stands for the end."""

    held: ByteBound
    queue: "asyncio.Queue[bytes | None]" = field(default_factory=asyncio.Queue)
    heard: bool = False

    def put(self, data: bytes) -> None:
        self.heard = True
        if self.held.take(len(data) + OBJECT_BYTES):
            self.queue.put_nowait(data)

    async def get(self) -> bytes | None:
        data = await self.queue.get()
        if data is not None:
            self.held.give(len(data) + OBJECT_BYTES)
        return data


class IceTransport:
    """The gateway's end; see the module for its states. `on_lost` is called once, when the client has gone."""

    def __init__(
        self,
        port: UdpPort,
        remote: IceCredentials,
        *,
        clock: Clock,
        on_lost: Callable[[], None],
        holdings: Holdings | None = None,
    ) -> None:
        self._port = port
        self._clock = clock
        self._on_lost = on_lost
        self._inbox = _Inbox((holdings or Holdings()).bound(INBOX_LIMIT))
        self._state: IceState = "new"
        self._completed = asyncio.Event()
        self._budget = SendBudget(lambda: self.route)
        self._proven = False
        self._asked_from: Route | None = None
        """Where the last packet came from, until DTLS is up."""
        self._current = self._generation(remote)
        self._next: _Generation | None = None
        self._past: deque[IceCredentials] = deque(maxlen=REMEMBERED_GENERATIONS)
        self._restarted_s: deque[float] = deque(maxlen=MAX_RESTARTS)
        self._lives = OwnedTasks()

    @property
    def state(self) -> IceState:
        return self._state

    @property
    def route(self) -> Route | None:
        """Where the nominated pair leads; None before there is one and after consent was lost."""
        return self._current.agent.route

    @property
    def heard(self) -> bool:
        """Whether anything but STUN ever came from the client."""
        return self._inbox.heard

    @property
    def newest(self) -> IceCredentials:
        """The client's credentials of the newest generation."""
        return self._newest.remote

    @property
    def past(self) -> Sequence[IceCredentials]:
        """The client's credentials of the generations before that one."""
        return tuple(self._past)

    @property
    def local(self) -> IceCredentials:
        """What the client has to know: our credentials of the newest generation."""
        return self._newest.agent.credentials

    def open(self) -> None:
        """Take a place on the shared port: checks of the client are answered from now on."""
        self._current.agent.open()

    async def start(self) -> None:
        """Answer checks until a pair is nominated. Raises ConnectionError if it is closed before."""
        self._state = "checking"
        self._begin(self._current)
        await self._completed.wait()
        if self.state == "closed":
            raise ConnectionError("ICE failed")

    async def restart(self, remote: IceCredentials) -> None:
        """Begin another generation for these credentials of the client; one that was begun and not nominated ends.

        Raises TooManyRestarts, and ConnectionError once closed; both change nothing.
        """
        if self._state == "closed":
            raise ConnectionError("the ICE transport is closed")
        self._count_restart()
        self._past.append(self._newest.remote)
        superseded = self._next
        self._next = self._generation(remote)
        self._next.agent.open()
        self._begin(self._next)
        if superseded is not None:
            await superseded.agent.close()

    def prove(self) -> None:
        """DTLS is up: by the nominated way anything may be sent (`SendBudget`)."""
        self._proven = True
        self._budget.prove()

    def send(self, data: bytes) -> None:
        """Send by the nominated pair; what there is no way for is lost, as UDP packets are.

        Until DTLS is up, it goes where the client's last packet came from: a client that nominates several pairs at
        once (RFC 5245) may use another one than we do, and only what it sends there pays for the answer.
        """
        route = self.route
        if route is not None:
            self._current.agent.send_by(data, route if self._proven else self._asked_from or route)

    def _deliver(self, data: bytes, route: Route) -> None:
        if not self._proven:
            self._asked_from = route
        self._inbox.put(data)

    async def receive(self) -> bytes:
        """The next datagram that is not STUN. Raises ConnectionError once closed."""
        data = await self._inbox.get()
        if data is None:
            self._inbox.queue.put_nowait(None)
            raise ConnectionError("the ICE transport is closed")
        return data

    async def answers(self) -> bool:
        """Whether the client answers a consent check of ours now, by the way that packets take; it gets 0.5 s."""
        return await self._current.agent.answers()

    async def close(self) -> None:
        """End all generations; returns when nothing of them is left."""
        self._state = "closed"
        self._completed.set()
        self._inbox.queue.put_nowait(None)
        for generation in self._generations:
            await generation.agent.close()
        await self._lives.end()

    @property
    def _newest(self) -> _Generation:
        return self._next or self._current

    @property
    def _generations(self) -> tuple[_Generation, ...]:
        return (self._current,) if self._next is None else (self._current, self._next)

    def _generation(self, remote: IceCredentials) -> _Generation:
        agent = SharedPortConnection(self._port, remote, budget=self._budget, deliver=self._deliver)
        return _Generation(agent, remote)

    def _count_restart(self) -> None:
        now_s = self._clock.monotonic()
        if len(self._restarted_s) == MAX_RESTARTS and now_s - self._restarted_s[0] < RESTART_WINDOW_S:
            raise TooManyRestarts(RESTART_WINDOW_S - (now_s - self._restarted_s[0]))
        self._restarted_s.append(now_s)

    def _begin(self, generation: _Generation) -> None:
        self._lives.start(self._live(generation), name="rtc-ice")

    async def _live(self, generation: _Generation) -> None:
        """A generation from its first check to its end."""
        try:
            async with asyncio.timeout(None if generation is self._current else RESTART_TIMEOUT_S):
                await generation.agent.connect()
            await self._take_over(generation)
            await generation.agent.get_event()
        except (ConnectionError, TimeoutError):
            pass  # Closed, or a restart that came to nothing.
        except Exception as error:  # noqa: BLE001 - the outermost edge of this generation; the other one goes on
            logger.warning("an ICE agent failed: %s: %s", type(error).__name__, error)
        await generation.agent.close()

        if generation is self._next:
            self._next = None
        # While a restart is going on, the client still has a way to come back.
        alive = self._next is not None or self._current.agent.route is not None
        if not alive and self._state == "completed":
            self._state = "closed"
            self._on_lost()

    async def _take_over(self, generation: _Generation) -> None:
        """From now on packets go by this generation, and the one before ends. Raises ConnectionError if it is over."""
        before = self._current
        if self._state == "closed" or generation not in self._generations:
            raise ConnectionError("a newer restart came in the moment in which the pair was nominated")
        self._current = generation
        if generation is not before:
            self._next = None
            self._port.demultiplexer.inherit(before.agent, generation.agent)
            await before.agent.close()
        if self._state == "checking":
            self._state = "completed"
        self._completed.set()
