"""What the viewers of a session are shown, whichever worker makes the pictures.

`OutputGate` decides which frames may be shown and does no I/O. `SessionOutput` takes the frames that workers send
and gives them to one fan-out per codec. Neither keeps the current epoch: it is asked for with each frame.

The rules while workers change:

- A frame of a stale epoch is refused. The worker of the epoch before the current one is shown only during a polite
  move (it is alive and makes progress), until its successor's picture is there.
- In each codec, no frame is shown whose place in the source, (run, capture time), is before that of a shown one.
- The first frame of an epoch is a key frame, and so is the first frame after a refused one. Decoders never see a broken
  chain.
"""

import functools
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Protocol

from genlock_core.clock import Clock
from genlock_core.link.events import MediaReceived
from genlock_core.media import Codec, SourcePosition
from genlock_gateway.rtc.egress.fanout import Fanout
from genlock_gateway.sessions.audience import Audience
from genlock_gateway.sessions.stats import SessionStats
from genlock_gateway.sessions.upstream.links import WorkerChannel
from genlock_gateway.sessions.upstream.mover import Epochs

OVERLAP_S: Final = 0.5
"""How long a leaving worker is shown after its successor's first frame arrived, where workers make the source
themselves. Both go on at the same pace then, so that the successor would stay behind for ever."""
CATCH_UP_S: Final = 2.5
"""The same where a publisher feeds both workers: a successor that first decodes a long group of pictures catches up."""
OWN_SOURCE_RUN: Final = 0
"""The run of frames whose source is the worker's own."""
KEY_FRAME_EVERY_S: Final = 0.1


class FrameVerdict(StrEnum):
    SHOW = "show"
    STALE = "stale"  # of an epoch that is over
    OLDER = "older"  # before what was shown
    NEEDS_KEY = "needs-key"  # newer, but no decoder could start with it: ask for a key frame


DROPPED: Final = {
    FrameVerdict.STALE: "stale-epoch",
    FrameVerdict.OLDER: "old",
    FrameVerdict.NEEDS_KEY: "before-key-frame",
}
"""The reason under which a frame that is not shown is counted."""


class OutputGate:
    """Judges frames by what was shown before them. `epochs` tells each time which epochs count."""

    __slots__ = ("_chain", "_joined", "_overlap_s", "_shown")

    def __init__(self) -> None:
        # The place of the newest frame that was shown, and the epoch whose unbroken pictures are being shown.
        self._shown: dict[Codec, SourcePosition] = {}
        self._chain: dict[Codec, int] = {}
        # The epoch that was current when its first frame arrived, and when that was.
        self._joined: tuple[int, float] | None = None
        self._overlap_s = OVERLAP_S

    @property
    def last_shown(self) -> SourcePosition | None:
        """The newest place in the source that viewers have seen, in any codec."""
        return max(self._shown.values(), default=None)

    def successor_arrived(self, epochs: Epochs) -> bool:
        """The current epoch's picture is shown: the leaving worker needs no more input."""
        return epochs.current in self._chain.values()

    def may_leave(self, epochs: Epochs, now_s: float) -> bool:
        """The leaving worker is not needed any more."""
        joined = self._joined
        overlapped = joined is not None and joined[0] == epochs.current and now_s - joined[1] > self._overlap_s
        replaced = all(self._chain.get(codec) == epochs.current for codec in self._shown)
        return overlapped or (bool(self._shown) and replaced)

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
        elif self._chain.get(codec) == epoch:
            # The frames after it refer to it: a decoder would show a mixture of old and new ones.
            del self._chain[codec]
        return verdict

    def _judge(
        self, codec: Codec, epoch: int, epochs: Epochs, position: SourcePosition, *, key_frame: bool, now_s: float
    ) -> FrameVerdict:
        if epoch != epochs.current:
            replaced = self._chain.get(codec) == epochs.current
            if epoch != epochs.leaving or replaced or self.may_leave(epochs, now_s):
                return FrameVerdict.STALE
        elif self._joined is None or self._joined[0] != epoch:
            self._joined = epoch, now_s
            self._overlap_s = OVERLAP_S if position.run == OWN_SOURCE_RUN else CATCH_UP_S

        shown = self._shown.get(codec)
        if shown is not None and position < shown:
            return FrameVerdict.OLDER
        if self._chain.get(codec) != epoch and not key_frame:
            return FrameVerdict.NEEDS_KEY
        return FrameVerdict.SHOW


class OutputOwner(Protocol):
    """The session that an output belongs to."""

    @property
    def epochs(self) -> Epochs:
        """The epochs whose frames may be shown now."""

    def live(self, epoch: int) -> None:
        """Viewers see the first frame of `epoch`."""

    def ask_key_frame(self, codec: Codec) -> None:
        """Ask the worker for a key frame in `codec`."""


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
        arrived_us = self._stats.now_us()
        if not self._audience.viewers:
            return

        before = self.shown_epoch
        verdict = self.show(media, channel_epoch=channel.epoch, epochs=self._owner.epochs)
        if verdict is not FrameVerdict.SHOW:
            self._stats.dropped(DROPPED[verdict])
            return

        # A frame that is sent in two codecs is measured once.
        if media.unit.codec is self._measured():
            publisher = self._audience.publisher
            self._stats.shown(
                SourcePosition(media.run, media.unit.capture_us),
                media.stages,
                arrived_us=arrived_us,
                own_run=None if publisher is None else publisher.run,
                at_rest=media.replay,
            )
        if self.shown_epoch > before:
            self._owner.live(channel.epoch)

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
        elif verdict is FrameVerdict.NEEDS_KEY and now_s >= self._key_frame_due_s:
            # The last key frame may have been refused as older, and the fan-out waits a second before it asks again.
            self._key_frame_due_s = now_s + KEY_FRAME_EVERY_S
            self._owner.ask_key_frame(unit.codec)
        return verdict

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
