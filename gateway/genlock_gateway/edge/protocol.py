"""HTTP/1.1 over one connection, which tells the watch what it does (uvicorn's protocol on h11)."""

import asyncio
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from genlock_gateway.edge.connections import Connection, ConnectionPhase, Why
from genlock_gateway.edge.watch import VOUCH, Watch


class WatchedProtocol(H11Protocol):
    """One connection, from its first byte to its end."""

    def __init__(self, config: Config, server_state: ServerState, *, watch: Watch, connection: Connection) -> None:
        self._watch = watch
        self._connection = connection
        self._has_asked = False
        state: dict[str, Any] = {VOUCH: lambda: watch.vouch(connection)}
        super().__init__(config, server_state, state)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch.hand_over(self._connection, self._end)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._watch.left(self._connection)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._tell()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._tell()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._tell()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._tell()

    def _should_upgrade(self) -> bool:
        """Never: nobody speaks another protocol here. A request that asks for one is answered as any other."""
        return False

    def _tell(self) -> None:
        phase = self._phase()
        self._has_asked = self._has_asked or phase is ConnectionPhase.ANSWERING
        self._watch.enter(self._connection, phase)

    def _phase(self) -> ConnectionPhase:
        if self.flow.write_paused:
            return ConnectionPhase.STALLED

        # Between requests h11 waits in IDLE for a head, of which a part may be there.
        client = self.conn.their_state
        if client is h11.IDLE and self._has_asked and not self.conn.trailing_data[0]:
            return ConnectionPhase.IDLE
        if client in (h11.IDLE, h11.SEND_BODY):
            return ConnectionPhase.READING if self._has_asked else ConnectionPhase.NEW
        answered = self.cycle is None or self.cycle.response_complete
        return ConnectionPhase.IDLE if answered else ConnectionPhase.ANSWERING

    def _end(self, why: Why) -> None:
        if why is Why.IDLE and not self.transport.is_closing():
            self.transport.close()
        else:
            # What waits to be sent is not waited for.
            self.transport.abort()
