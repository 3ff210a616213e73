"""What the viewers of a session are shown, from whichever worker: one gate, and a fan-out per codec behind it."""

import functools
from collections.abc import Callable, Mapping
from typing import Final

from genlock_core.clock import Clock
from genlock_core.link.events import MediaReceived
from genlock_core.media import Codec, SourcePosition
from genlock_gateway.rtc.egress.fanout import Fanout
from genlock_gateway.sessions.output_gate import FrameVerdict, OutputGate

KEY_FRAME_EVERY_S: Final = 0.1


class SessionOutput:
    """Nothing shown -> shown of `epoch` -> of the next one; `rest` when nobody is there any more.

    `ask_key_frame` asks the worker for a key frame in a codec. The codec of `preferred` is the first of the fan-outs.
    """

    def __init__(self, preferred: Codec, *, clock: Clock, ask_key_frame: Callable[[Codec], None]) -> None:
        self._clock = clock
        self._ask_key_frame = ask_key_frame
        self._gate = OutputGate()
        self.fanouts: Mapping[Codec, Fanout] = {
            codec: Fanout(codec=codec, clock=clock, on_key_frame_wanted=functools.partial(ask_key_frame, codec))
            for codec in sorted(Codec, key=lambda codec: codec is not preferred)
        }
        self._key_frame_due_s = 0.0
        self._opened_epoch = 0
        self.epoch = 0
        """The newest that a frame was shown of."""
        self.lost = False
        """Its worker was lost, and nothing was shown since."""

    @property
    def last(self) -> SourcePosition | None:
        """The newest place in the source that viewers have seen."""
        return self._gate.last_shown

    def opened(self, epoch: int, *, leaving: int | None) -> bool:
        """A worker serves in `epoch`, with `leaving` beside it for a while. True if the session has moved to it."""
        self._gate.switch(epoch, leaving=leaving)
        moved = self._opened_epoch != 0 and epoch > self._opened_epoch
        self._opened_epoch = epoch
        return moved

    def rest(self) -> None:
        """Nobody publishes or watches any more."""
        self._opened_epoch = self.epoch = 0
        self.lost = False

    def restart(self, codecs: frozenset[Codec]) -> None:
        """Viewers use `codecs`: whoever comes for another one later begins with a key frame."""
        for codec in Codec:
            if codec not in codecs:
                self._gate.restart(codec)

    def feeds(self, leaving: int) -> bool:
        """Whether the worker of the epoch `leaving` still needs the source: not once its successor's picture came."""
        return leaving != self._gate.leaving or not self._gate.successor_arrived

    def release(self, leaving: int) -> bool:
        """Whether the worker of the epoch `leaving` is not needed any more; then no frame of it counts from now on."""
        if leaving != self._gate.leaving or not self._gate.may_leave(self._clock.monotonic()):
            return False
        self._gate.left()
        return True

    def show(self, media: MediaReceived, *, epoch: int) -> FrameVerdict:
        """Judge a frame of the channel of `epoch`, and hand it to the viewers of its codec if it is to be SHOWn."""
        unit = media.unit
        now_s = self._clock.monotonic()
        verdict = self._gate.admit(
            unit.codec,
            epoch=epoch if media.epoch == epoch else -1,
            position=SourcePosition(media.run, unit.capture_us),
            key_frame=unit.key_frame,
            now_s=now_s,
        )
        if verdict is FrameVerdict.SHOW:
            self.fanouts[unit.codec].push(unit)
            self.lost = self.lost and epoch != self._gate.epoch
        elif verdict is FrameVerdict.NEEDS_KEY and now_s >= self._key_frame_due_s:
            # The last key frame may have been refused as older, and the fan-out waits a second before it asks again.
            self._key_frame_due_s = now_s + KEY_FRAME_EVERY_S
            self._ask_key_frame(unit.codec)
        return verdict

    def lose(self) -> bool:
        """The worker that is shown was lost. False if nothing was shown since the last time, or ever."""
        if self.epoch == 0 or self.lost:
            return False
        self.lost = True
        return True

    def began(self, epoch: int) -> bool:
        """Whether a frame that was shown is the first one of a newer epoch."""
        newer = epoch > self.epoch
        self.epoch = max(epoch, self.epoch)
        return newer

    def measured(self, used: frozenset[Codec]) -> Codec:
        """The codec whose frames are counted: each frame once, though it may be sent in two."""
        return next((codec for codec in self.fanouts if codec in used), Codec.H264)

    def close(self) -> None:
        """Leave nothing behind."""
        for fanout in self.fanouts.values():
            fanout.close()
