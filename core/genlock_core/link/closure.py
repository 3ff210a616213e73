"""How a link ends: the causes, and the error that carries one."""

from dataclasses import dataclass
from enum import StrEnum

from genlock_core.errors import GenlockError, LinkAuthError, LinkProtocolError
from genlock_core.link.handshake import LinkWrongPeer
from genlock_core.link.liveness import LinkSilent
from genlock_core.link.outbox import LinkOverflow


class CloseCause(StrEnum):
    """Why a link is down."""

    CLOSED = "closed"
    """This side closed it."""
    LEFT = "left"
    """The peer said goodbye first."""
    REFUSED = "refused"
    """Nobody listens at the address, or another process does: the peer is gone."""
    RESET = "reset"
    """The connection broke without a goodbye: the peer's process died, or the network cut it."""
    SILENT = "silent"
    """The peer made no progress, or did not read, for too long."""
    PROTOCOL = "protocol"
    AUTH = "auth"


@dataclass(frozen=True, slots=True)
class Closure:
    """The end of a link."""

    cause: CloseCause
    detail: str


class LinkDown(GenlockError):
    """No link to the peer; `cause` says whether its process is gone (REFUSED, RESET)."""

    def __init__(self, address: str, closure: Closure) -> None:
        self.address = address
        self.cause = closure.cause
        self.detail = closure.detail
        super().__init__(f"no link to {address}: {closure.cause} ({closure.detail})")


def cause_of(error: LinkProtocolError) -> CloseCause:
    """Which end a mistake leads to."""
    if isinstance(error, LinkAuthError):
        return CloseCause.AUTH
    if isinstance(error, LinkWrongPeer):
        return CloseCause.REFUSED
    return CloseCause.SILENT if isinstance(error, LinkSilent | LinkOverflow) else CloseCause.PROTOCOL
