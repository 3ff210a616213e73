"""When a heartbeat is due, and whether the peer makes progress.

A worker that is connected may still be stuck: its heartbeats carry its engine's counter, and only a counter that moved
is progress. A second counter says that its process is alive, which is no progress: an engine that hangs lets it move.
A gateway's heartbeats are progress by themselves. What is a normal gap for the peer, its `Rhythm` learns here, because
here it is known which part of a gap was this side's own.
"""

from dataclasses import dataclass

from genlock_core.claims.pulse import Pulse
from genlock_core.claims.silence import Rhythm, Silence
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
    """The timing of one link that is connected. Call `tick` at `next_at` or earlier, `heard` for each heartbeat."""

    def __init__(self, timings: LinkTimings, *, now: float, rhythm: Rhythm | None = None) -> None:
        self.last_progress_at = now
        self._last_alive_at = now
        self._pulse = Pulse(progress=-1)
        """What the peer said last."""
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
        """For how long the peer has made no progress, and for how long that is normal for it.

        A process that is not alive makes no progress either, and its own patience may be over first.
        """
        quiet_s = now - self.last_progress_at
        until_alive_s = self._last_alive_at - self.last_progress_at
        patience_s = min(self._rhythm.patience_s(self._pulse.phase), until_alive_s + self._rhythm.alive_patience_s)
        return Silence(quiet_s, patience_s)

    def heard(self, pulse: Pulse, now: float, *, counts: bool) -> list[PeerProgressing]:
        """A heartbeat came; `counts`: only a counter that moved is progress. Of a gateway every heartbeat is."""
        before = self._pulse
        self._pulse = pulse
        progressed = not counts or pulse.progress != before.progress
        # A peer of the release before has one counter, which says both.
        if progressed or (pulse.alive is not None and pulse.alive != before.alive):
            self._rhythm.was_alive(now - self._last_alive_at)
            self._last_alive_at = now
        if not progressed:
            return []

        # The gap was spent in the phase that the worker was last known to be in.
        self._rhythm.progressed(before.phase, now - self.last_progress_at)
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
        excused_s = 0.0
        if not reading:
            excused_s = slept_s
        elif slept_s > 2 * self._timings.heartbeat_s:
            excused_s = slept_s - self._timings.heartbeat_s
        self.last_progress_at = min(self.last_progress_at + excused_s, now)
        self._last_alive_at = min(self._last_alive_at + excused_s, now)
        self._ticked_at = now
