"""When a heartbeat is due, and whether the peer makes progress.

A worker that is connected may still be stuck: its heartbeats carry its engine's counter, and only a counter that moved
is progress. A gateway's heartbeats are progress by themselves. What is a normal gap for the peer, its `Rhythm` learns
here, because here it is known which part of a gap was this side's own.
"""

from dataclasses import dataclass

from genlock_core.claims.silence import EnginePhase, Rhythm, Silence
from genlock_core.errors import LinkProtocolError
from genlock_core.link.events import PeerProgressing, PeerSilent


@dataclass(frozen=True, slots=True)
class LinkTimings:
    """The link's times, in seconds."""

    heartbeat_s: float = 0.25
    silence_s: float = 1.0
    """Without progress for this long, a peer is reported silent."""
    give_up_s: float = 10.0
    """Without progress for this long, the connection is closed."""
    handshake_s: float = 5.0


class LinkSilent(LinkProtocolError):
    """The peer did not finish the handshake in time, or made no progress for too long."""


class Liveness:
    """The timing of one link that is connected. Call `tick` at `next_at` or earlier, `progressed` when the peer did."""

    def __init__(self, timings: LinkTimings, *, now: float, rhythm: Rhythm | None = None) -> None:
        self.last_progress_at = now
        self._rhythm = rhythm or Rhythm()
        self._timings = timings
        self._heartbeat_at = now
        self._ticked_at = now
        self._silent = False

    @property
    def next_at(self) -> float:
        """When `tick` has something to do."""
        bound = self._timings.give_up_s if self._silent else self._timings.silence_s
        return min(self._heartbeat_at, self.last_progress_at + bound)

    def silence(self, now: float) -> Silence:
        """For how long the peer has made no progress, and for how long that is normal for it."""
        return Silence(now - self.last_progress_at, self._rhythm.patience_s(EnginePhase.STEPPING))

    def progressed(self, now: float) -> list[PeerProgressing]:
        self._rhythm.progressed(EnginePhase.STEPPING, now - self.last_progress_at)
        self.last_progress_at = now
        was_silent = self._silent
        self._silent = False
        return [PeerProgressing()] if was_silent else []

    def tick(self, now: float, *, reading: bool) -> list[PeerSilent]:
        """Whether the peer has just become silent. `reading`: False while this side leaves the peer's bytes unread.

        Raises LinkSilent when it is time to give up.
        """
        self._excuse(now, reading=reading)
        silent_s = now - self.last_progress_at
        if silent_s >= self._timings.give_up_s:
            raise LinkSilent(f"the peer made no progress for {silent_s:.1f} s")
        if silent_s >= self._timings.silence_s and not self._silent:
            self._silent = True
            return [PeerSilent(silent_s)]
        return []

    def heartbeat_due(self, now: float) -> bool:
        """True once per interval."""
        if now < self._heartbeat_at:
            return False
        self._heartbeat_at = now + self._timings.heartbeat_s
        return True

    def _excuse(self, now: float, *, reading: bool) -> None:
        """Do not count as the peer's silence the time in which this side stood still, or did not read."""
        slept_s = now - self._ticked_at
        if not reading:
            self.last_progress_at += slept_s
        elif slept_s > 2 * self._timings.heartbeat_s:
            self.last_progress_at += slept_s - self._timings.heartbeat_s
        self.last_progress_at = min(self.last_progress_at, now)
        self._ticked_at = now
