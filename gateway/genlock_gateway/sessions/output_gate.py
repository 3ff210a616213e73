"""What the viewers of a session are shown, whichever worker makes the pictures.

`OutputGate` decides which frames may be shown and does no I/O. `SessionOutput` takes the frames that workers send
and gives them to one fan-out per codec. Neither keeps the current epoch: it is asked for with each frame.

The rules while workers change:

- A frame of a stale epoch is refused. The worker of the epoch before the current one is shown only during a polite
  move (it is alive and makes progress), up to the seam (`overlap`).
- In each codec, no frame is shown whose place in the source, (run, capture time), is before that of a shown one.
- The first frame of an epoch is a key frame, and so is the first frame after a refused one. Decoders never see a broken
  chain.
"""

import functools
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from genlock_core.clock import Clock
from genlock_core.link.events import MediaReceived
from genlock_core.media import Codec, SourcePosition
from genlock_gateway.rtc.egress.fanout import Fanout
from genlock_gateway.sessions.audience import Audience
from genlock_gateway.sessions.meters.recovery import RecoveryLeg
from genlock_gateway.sessions.overlap import FrameVerdict, Overlap
from genlock_gateway.sessions.stats import SessionStats
from genlock_gateway.sessions.upstream.links import WorkerChannel
from genlock_gateway.sessions.upstream.mover import Epochs

KEY_FRAME_EVERY_S: Final = 0.1
MAX_HELD: Final = 64
"""Frames that wait at the seam."""
DROPPED: Final = {
    FrameVerdict.STALE: "stale-epoch",
    FrameVerdict.OLDER: "old",
    FrameVerdict.OVERLAPS: "overlap",
    FrameVerdict.NEEDS_KEY: "before-key-frame",
}
"""The reason under which a frame that is not shown is counted."""
ASKS_KEY_FRAME: Final = frozenset({FrameVerdict.NEEDS_KEY, FrameVerdict.OLDER, FrameVerdict.OVERLAPS})


class OutputGate:
    """Judges frames by what was shown before them. `epochs` tells each time which epochs count."""

    __slots__ = ("_chain", "_overlap", "_shown")

    def __init__(self) -> None:
        # The place of the newest frame that was shown, and the epoch whose unbroken pictures are being shown.
        self._shown: dict[Codec, SourcePosition] = {}
        self._chain: dict[Codec, int] = {}
        self._overlap: Overlap | None = None

    @property
    def last_shown(self) -> SourcePosition | None:
        """The newest place in the source that viewers have seen, in any codec."""
        return max(self._shown.values(), default=None)

    def successor_arrived(self, epochs: Epochs) -> bool:
        """The current epoch's picture is shown: the leaving worker needs no more input."""
        return epochs.current in self._chain.values()

    @property
    def shown_run(self) -> int:
        """The publication of the newest frame that was shown; 0 before the first one, and of a source without any."""
        return max((position.run for position in self._shown.values()), default=0)

    def may_leave(self, epochs: Epochs, now_s: float) -> bool:
        """The leaving worker is not needed any more."""
        overlap = self._overlap_of(epochs)
        if overlap is not None and overlap.is_over(now_s):
            return True
        return bool(self._shown) and all(self._chain.get(codec) == epochs.current for codec in self._shown)

    def resumes_after(self, codec: Codec, epochs: Epochs, now_s: float) -> SourcePosition | None:
        """Where a successor is to go on; None where no worker is leaving: at once."""
        if epochs.leaving is None or self._chain.get(codec) == epochs.current:
            return None
        overlap = self._overlap_of(epochs)
        seam = None if overlap is None or overlap.is_stalled(now_s) else overlap.seam
        return self._shown.get(codec) if seam is None else seam

    def _overlap_of(self, epochs: Epochs) -> Overlap | None:
        overlap = self._overlap
        return overlap if overlap is not None and overlap.epoch == epochs.current else None

    def restart(self, codec: Codec) -> None:
        """Nobody watches `codec` any more: the next frame in it has to be a key frame."""
        self._chain.pop(codec, None)
        self._shown.pop(codec, None)

    def admit(
        self, codec: Codec, *, epoch: int, epochs: Epochs, position: SourcePosition, key_frame: bool, now_s: float
    ) -> FrameVerdict:
        """Judge the next frame of `epoch` in `codec`. A frame that is to be shown counts as shown from now on."""
        verdict = self._judge(codec, epoch, epochs, position, key_frame=key_frame, now_s=now_s)
        if verdict is FrameVerdict.SHOW:
            self._chain[codec] = epoch
            self._shown[codec] = position
        elif self._chain.get(codec) == epoch and verdict is not FrameVerdict.HOLD:
            # The frames after it refer to it: a decoder would show a mixture of old and new ones.
            del self._chain[codec]
        return verdict

    def _judge(
        self, codec: Codec, epoch: int, epochs: Epochs, position: SourcePosition, *, key_frame: bool, now_s: float
    ) -> FrameVerdict:
        shown = self._shown.get(codec)
        verdict = None
        if epoch != epochs.current:
            verdict = self._judge_leaving(codec, epoch, epochs, position, now_s)
        else:
            overlap = self._overlap_of(epochs)
            if overlap is None:
                overlap = self._overlap = Overlap.begun(epoch, run=position.run, now_s=now_s)
            if epochs.leaving is not None and shown is not None and self._chain.get(codec) != epoch:
                verdict = overlap.judge_successor(codec, position, shown, key_frame=key_frame, now_s=now_s)

        if verdict is not None:
            return verdict
        if shown is not None and position < shown:
            return FrameVerdict.OLDER
        if self._chain.get(codec) != epoch and not key_frame:
            return FrameVerdict.NEEDS_KEY
        return FrameVerdict.SHOW

    def _judge_leaving(
        self, codec: Codec, epoch: int, epochs: Epochs, position: SourcePosition, now_s: float
    ) -> FrameVerdict | None:
        """A frame of another epoch than the current one; None if it counts like any other."""
        is_replaced = self._chain.get(codec) == epochs.current
        if epoch != epochs.leaving or is_replaced or self.may_leave(epochs, now_s):
            return FrameVerdict.STALE
        overlap = self._overlap_of(epochs)
        return None if overlap is None else overlap.judge_leaving(codec, position, now_s=now_s)


class OutputOwner(Protocol):
    """The session that an output belongs to."""

    @property
    def epochs(self) -> Epochs:
        """The epochs whose frames may be shown now."""

    def live(self, epoch: int) -> None:
        """Viewers see the first frame of `epoch`."""

    def ask_key_frame(self, codec: Codec, *, after: SourcePosition | None = None) -> None:
        """Ask the worker for a key frame in `codec`: at once, or as the first frame `after` a place."""


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A frame, the epoch of the channel that it came through, and when (the clock of capture times)."""

    media: MediaReceived
    channel_epoch: int
    arrived_us: int


class SessionOutput:
    """The fan-outs of one session, and what the gate lets through to them.

    `preferred` is the codec of the first fan-out.
    """

    def __init__(
        self,
        preferred: Codec,
        *,
        audience: Audience,
        stats: SessionStats,
        clock: Clock,
        owner: OutputOwner,
    ) -> None:
        self._audience = audience
        self._stats = stats
        self._clock = clock
        self._owner = owner
        self._gate = OutputGate()
        self.fanouts: Mapping[Codec, Fanout] = {
            codec: Fanout(codec=codec, clock=clock, on_key_frame_wanted=functools.partial(owner.ask_key_frame, codec))
            for codec in sorted(Codec, key=lambda codec: codec is not preferred)
        }
        self._key_frame_due_s = 0.0
        # The successor's frames that wait at the seam, oldest first.
        self._held: dict[Codec, deque[_Arrived]] = {}
        self.shown_epoch = 0
        """The newest epoch of which a frame was shown since somebody was there; 0 for none."""
        self.lost = False
        """The worker that was shown is lost, and its successor has not been shown yet."""

    @property
    def last_shown(self) -> SourcePosition | None:
        """The newest place in the source that viewers have seen."""
        return self._gate.last_shown

    def rest(self) -> None:
        """Nobody publishes or watches any more."""
        self.shown_epoch = 0
        self.lost = False

    @property
    def shown_run(self) -> int:
        """The publication of the newest frame that was shown; 0 where there is none."""
        return self._gate.shown_run

    def restart(self, codecs: frozenset[Codec]) -> None:
        """Viewers use `codecs`: somebody who comes for another one later begins with a key frame."""
        for codec in Codec:
            if codec not in codecs:
                self._gate.restart(codec)

    def feeds_leaving(self, epochs: Epochs) -> bool:
        """Whether the leaving worker still needs the source: until its successor's picture is shown."""
        return not self._gate.successor_arrived(epochs)

    def may_leave(self, epochs: Epochs) -> bool:
        """Whether the leaving worker is not needed any more."""
        return self._gate.may_leave(epochs, self._clock.monotonic())

    def receive(self, channel: WorkerChannel, media: MediaReceived) -> None:
        """Take a frame that came through `channel`, and tell the owner if it is the first of a newer epoch."""
        if not self._audience.viewers:
            self._held.clear()
            return

        frame = _Arrived(media, channel.epoch, self._stats.now_us())
        codec = media.unit.codec
        held = self._held.get(codec)
        if held and channel.epoch == self._owner.epochs.current:
            # It refers to those that wait already.
            held.append(frame)
            if len(held) > MAX_HELD:
                held.clear()
        elif self._take(frame) is FrameVerdict.HOLD:
            self._held.setdefault(codec, deque()).append(frame)
        self._release(codec)

    def tick(self) -> None:
        """Time passes: what waits for a leaving worker that has gone waits no more."""
        for codec in list(self._held):
            self._release(codec)

    def _release(self, codec: Codec) -> None:
        """Show what waits at the seam, once the leaving worker has come there."""
        held = self._held.get(codec)
        while held and self._take(held[0]) is not FrameVerdict.HOLD:
            held.popleft()

    def _take(self, frame: "_Arrived") -> FrameVerdict:
        media = frame.media
        before = self.shown_epoch
        if frame.channel_epoch == self._owner.epochs.current:
            self._stats.recovers(RecoveryLeg.PICTURE, epoch=frame.channel_epoch)
        verdict = self.show(media, channel_epoch=frame.channel_epoch, epochs=self._owner.epochs)
        if verdict is FrameVerdict.HOLD:
            return verdict
        if verdict is not FrameVerdict.SHOW:
            self._stats.dropped(DROPPED[verdict])
            return verdict

        # A frame that is sent in two codecs is measured once.
        if media.unit.codec is self._measured():
            publisher = self._audience.publisher
            self._stats.shown(
                SourcePosition(media.run, media.unit.capture_us),
                media.stages,
                arrived_us=frame.arrived_us,
                own_run=None if publisher is None else publisher.run,
                at_rest=media.replay,
            )
        if self.shown_epoch > before:
            self._owner.live(frame.channel_epoch)
        return verdict

    def show(self, media: MediaReceived, *, channel_epoch: int, epochs: Epochs) -> FrameVerdict:
        """Judge a frame from the channel of `channel_epoch`, and send it to the viewers of its codec if it is to be
        shown."""
        unit = media.unit
        now_s = self._clock.monotonic()
        if media.epoch != channel_epoch:
            return FrameVerdict.STALE

        verdict = self._gate.admit(
            unit.codec,
            epoch=channel_epoch,
            epochs=epochs,
            position=SourcePosition(media.run, unit.capture_us),
            key_frame=unit.key_frame,
            now_s=now_s,
        )
        if verdict is FrameVerdict.SHOW:
            self.fanouts[unit.codec].push(unit)
            self.shown_epoch = max(self.shown_epoch, channel_epoch)
            if channel_epoch == epochs.current:
                self.lost = False
        elif verdict in ASKS_KEY_FRAME and channel_epoch == epochs.current:
            self._ask_key_frame(unit.codec, self._gate.resumes_after(unit.codec, epochs, now_s), verdict, now_s)
        return verdict

    def _ask_key_frame(self, codec: Codec, after: SourcePosition | None, verdict: FrameVerdict, now_s: float) -> None:
        """Ask the worker for a key frame where none is under way.

        The last one may have been refused as older, and the fan-out waits a second before it asks again. A successor
        that is behind is told where it is to go on, so that it makes nothing that viewers see from another worker.
        """
        is_needed = verdict is FrameVerdict.NEEDS_KEY or after is not None
        if is_needed and now_s >= self._key_frame_due_s:
            self._key_frame_due_s = now_s + KEY_FRAME_EVERY_S
            self._owner.ask_key_frame(codec, after=after)

    def left(self, epochs: Epochs) -> None:
        """The leaving worker is let go: a successor that was not shown yet begins where it is."""
        if not self._gate.successor_arrived(epochs):
            for codec in self._audience.codecs:
                self._owner.ask_key_frame(codec)

    def lose(self) -> bool:
        """The worker that is shown was lost. False if nothing was shown since the last time, or ever."""
        if self.shown_epoch == 0 or self.lost:
            return False
        self.lost = True
        return True

    def close(self) -> None:
        """Leave nothing behind."""
        for fanout in self.fanouts.values():
            fanout.close()

    def _measured(self) -> Codec:
        """The codec whose frames are counted."""
        used = self._audience.codecs
        return next((codec for codec in self.fanouts if codec in used), Codec.H264)
