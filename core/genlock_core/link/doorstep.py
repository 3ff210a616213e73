"""The worker's port: who connects waits here until it has said HELLO with the name of a key of the installation.

A stranger costs a descriptor, a place among a few, and what it has said: no task, no transport, no buffers of a link.
So a flood of them takes little of the process that paints the pictures of everybody. Whoever knows a key is handed on
with what it has said, and begins its handshake again there.
"""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from genlock_core.errors import LinkProtocolError
from genlock_core.link.closure import CloseCause, Closure, LinkDown, cause_of
from genlock_core.link.protocol import LinkProtocol
from genlock_core.link.unproven import UnprovenPlaces
from genlock_core.process.address import Address
from genlock_core.process.address_groups import group_of

logger = logging.getLogger(__name__)

AT_ONCE: Final = 16
"""So many are accepted before anything else of the process has its turn."""
PAUSE_S: Final = 0.5
"""Until the next try where the process has no descriptors or no memory left."""
READ_BYTES: Final = 16 * 1024
"""More than a HELLO takes; a longer one comes in parts."""

_THEIR_OWN: Final = frozenset({errno.ECONNABORTED, errno.ECONNRESET, errno.EPROTO, errno.EPERM})
"""Errors of the one connection that would have come (accept(2)); all others are this process' own."""


@dataclass(slots=True, eq=False)
class Caller:
    """Who has connected and has not shown the secret yet. Waiting -> greeted (another owner has it) or shut."""

    socket: socket.socket
    address: Address
    deadline: asyncio.TimerHandle | None = None
    said: bytearray = field(default_factory=bytearray)
    """All of it, until it is handed on: at most what one frame before the handshake may take, and one read."""
    protocol: LinkProtocol | None = None
    """What judges it, once it has said something."""
    cut: Callable[[], object] | None = None
    """How it is ended, once another owner has it."""

    @property
    def greeted(self) -> bool:
        return self.protocol is not None and self.protocol.greeted


class Doorstep:
    """One listening socket. `run` accepts until it is cancelled; `close` shuts whoever still waits.

    `greeted` is called for each that is let in; from then on the socket is its, and it tells `proved` or `left`.
    `refused` is told of everybody who is turned away for what it said, or for saying nothing.
    """

    def __init__(
        self,
        listening: socket.socket,
        *,
        places: UnprovenPlaces[Caller],
        handshake_s: float,
        judge: Callable[[], LinkProtocol],
        greeted: Callable[[Caller], None],
        refused: Callable[[LinkDown], None],
    ) -> None:
        listening.settimeout(0)
        self._listening = listening
        self._places = places
        self._handshake_s = handshake_s
        self._judge = judge
        self._greeted = greeted
        self._refused = refused
        self._waiting: set[Caller] = set()
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        """How many wait to be let in."""
        return len(self._waiting)

    async def run(self) -> None:
        """Accept until it is cancelled: nothing that is wrong with one connection, or for a moment, ends it."""
        while True:
            for _ in range(AT_ONCE):
                try:
                    await self._accept()
                except OSError as error:
                    if error.errno in _THEIR_OWN:
                        continue
                    logger.error("no gateway can link for a moment: %s", error)
                    await asyncio.sleep(PAUSE_S)
            await asyncio.sleep(0)

    def close(self) -> None:
        """Listen no more, and shut everybody who was not let in."""
        self._listening.close()
        for caller in tuple(self._waiting):
            self._shut(caller)

    def proved(self, caller: Caller) -> None:
        """Its link knows the secret."""
        self._places.proved(caller)

    def left(self, caller: Caller) -> None:
        """Its link is down, and never knew the secret."""
        self._places.leave(caller)

    async def _accept(self) -> None:
        accepted, peer = await self._loop.sock_accept(self._listening)
        if peer is None:
            accepted.close()  # macOS tells no address of a connection that was reset before it was accepted
            return
        caller = Caller(accepted, Address(*peer[:2]))
        try:
            # By its number: for a socket that is not known yet the selector would write down who is at both ends.
            self._loop.add_reader(accepted.fileno(), self._read, caller)
        except OSError:
            accepted.close()
            raise
        self._take(caller)

    def _take(self, caller: Caller) -> None:
        """Give it a place, which somebody else may lose, or it itself."""
        caller.deadline = self._loop.call_later(self._handshake_s, self._too_late, caller)
        self._waiting.add(caller)

        outgoing = self._places.enter(caller, group_of(caller.address.host))
        if outgoing is not None:
            self._put_out(outgoing)

    def _put_out(self, caller: Caller) -> None:
        if caller.cut is not None:
            caller.cut()
        else:
            self._shut(caller)

    def _read(self, caller: Caller) -> None:
        """It has said something, or has gone."""
        try:
            data = caller.socket.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._turn_away(caller, Closure(CloseCause.RESET, str(error)))
            return
        if not data:
            self._turn_away(caller, Closure(CloseCause.RESET, "it went without a word of the link's"))
            return

        caller.said += data
        if caller.protocol is None:
            caller.protocol = self._judge()
        try:
            caller.protocol.receive(data)
        except LinkProtocolError as mistake:
            self._turn_away(caller, Closure(cause_of(mistake), str(mistake)))
            return
        if caller.protocol.greeted:
            self._leave_the_doorstep(caller)
            self._greeted(caller)

    def _too_late(self, caller: Caller) -> None:
        closure = Closure(CloseCause.SILENT, f"the handshake took more than {self._handshake_s:g} s")
        if caller.protocol is None:
            caller.protocol = self._judge()
        caller.protocol.leave(closure.detail)
        self._turn_away(caller, closure)

    def _turn_away(self, caller: Caller, closure: Closure) -> None:
        """Shut it, with what is still to be said to it as far as its socket takes that."""
        if caller.protocol is not None:
            with contextlib.suppress(OSError):
                caller.socket.send(b"".join(caller.protocol.data_to_send()))
        self._shut(caller)
        self._refused(LinkDown(str(caller.address), closure))

    def _shut(self, caller: Caller) -> None:
        self._leave_the_doorstep(caller)
        self._places.leave(caller)
        caller.socket.close()

    def _leave_the_doorstep(self, caller: Caller) -> None:
        if caller.deadline is not None:
            caller.deadline.cancel()
        self._waiting.discard(caller)
        self._loop.remove_reader(caller.socket.fileno())
