"""What a heartbeat says: that the process is alive, and how far its engine is.

A peer of a minor version before `PULSE_SINCE` says the engine's counter only, and reads nothing else.
"""

from struct import Struct

from genlock_core.claims.pulse import EnginePhase, Pulse
from genlock_core.errors import LinkProtocolError
from genlock_core.link.handshake import PULSE_SINCE

_PROGRESS = Struct("!Q")
_PULSE = Struct("!QQB")


def encode(pulse: Pulse, *, minor: int) -> bytes:
    """The payload, for a peer with which that minor version is spoken."""
    if minor < PULSE_SINCE:
        return _PROGRESS.pack(pulse.progress)
    return _PULSE.pack(pulse.progress, pulse.alive or 0, pulse.phase)


def decode(payload: bytes, *, minor: int) -> Pulse:
    """What a payload says. Raises LinkProtocolError.

    What a later minor version puts behind it is left unread, and a phase that it may add counts as stepping.
    """
    if minor < PULSE_SINCE:
        if len(payload) != _PROGRESS.size:
            raise LinkProtocolError(f"a heartbeat of {len(payload)} bytes, {_PROGRESS.size} are one")
        (progress,) = _PROGRESS.unpack(payload)
        return Pulse(progress)

    if len(payload) < _PULSE.size:
        raise LinkProtocolError(f"a heartbeat of {len(payload)} bytes, at least {_PULSE.size} are one")
    progress, alive, phase = _PULSE.unpack_from(payload)
    known = EnginePhase(phase) if phase in set(EnginePhase) else EnginePhase.STEPPING
    return Pulse(progress, alive, known)
