"""Which generated frames viewers may see when workers change: pure (DESIGN sections 2 and 3).

- A frame of a stale epoch is refused. Only a worker that hands over politely (it is alive and makes progress) goes on
  being shown beside its successor, until the successor's picture is there.
- Per codec, nothing is shown whose place in the source, (run, capture time), is before what was shown.
- The first frame of an epoch, and the first one after a refused one, is a key frame: decoders never see a broken chain.
"""

from enum import StrEnum

from genlock_core.media import Codec, SourcePosition

OVERLAP_S = 0.5
"""A leaving worker is shown for at most this long after its successor's first frame arrived where the workers make the
source themselves: the successor lags behind for ever, as both go on at the same pace, and must be shown some time."""
CATCH_UP_S = 2.5
"""The same where a publisher feeds both: a successor that decodes a long group of pictures first does catch up."""
OWN_SOURCE_RUN = 0
"""The run of frames whose source is the worker's own."""


class FrameVerdict(StrEnum):
    SHOW = "show"
    STALE = "stale"  # of an epoch that is over
    OLDER = "older"  # before what was shown
    NEEDS_KEY = "needs-key"  # newer, but no decoder could start with it: ask for a key frame


class OutputGate:
    """What was shown of one session, and which epochs may add to it."""

    __slots__ = ("_chain", "_epoch", "_joined_s", "_leaving", "_overlap_s", "_shown")

    def __init__(self) -> None:
        self._epoch = 0
        self._leaving: int | None = None
        self._joined_s: float | None = None  # when the current epoch's first frame arrived
        self._overlap_s = OVERLAP_S
        self._shown: dict[Codec, SourcePosition] = {}
        self._chain: dict[Codec, int] = {}  # the epoch whose unbroken pictures are being shown

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def last_shown(self) -> SourcePosition | None:
        """The newest place in the source that viewers have seen, in any codec."""
        return max(self._shown.values(), default=None)

    @property
    def successor_arrived(self) -> bool:
        """The current epoch's picture is shown: the leaving worker needs no more input."""
        return self._epoch in self._chain.values()

    def switch(self, epoch: int, *, leaving: int | None = None) -> None:
        """Frames of `epoch` count from now on; with `leaving` also that one's, until they are not needed any more."""
        if epoch <= self._epoch:
            return
        self._epoch = epoch
        self._leaving = leaving
        self._joined_s = None

    @property
    def leaving(self) -> int | None:
        """The epoch that is shown beside the current one."""
        return self._leaving

    def may_leave(self, now_s: float) -> bool:
        """The leaving worker is not needed any more."""
        overlapped = self._joined_s is not None and now_s - self._joined_s > self._overlap_s
        replaced = all(self._chain.get(codec) == self._epoch for codec in self._shown)
        return overlapped or (bool(self._shown) and replaced)

    def left(self) -> None:
        """The leaving worker's channel is closed."""
        self._leaving = None

    def restart(self, codec: Codec) -> None:
        """Nobody watches `codec` any more: the next frame in it is a key frame again."""
        self._chain.pop(codec, None)
        self._shown.pop(codec, None)

    def admit(
        self, codec: Codec, *, epoch: int, position: SourcePosition, key_frame: bool, now_s: float
    ) -> FrameVerdict:
        """Judge the next frame of `epoch` in `codec`; SHOW has already been counted as shown."""
        if epoch != self._epoch:
            replaced = self._chain.get(codec) == self._epoch
            if epoch != self._leaving or replaced or self.may_leave(now_s):
                return FrameVerdict.STALE
        elif self._joined_s is None:
            self._joined_s = now_s
            self._overlap_s = OVERLAP_S if position.run == OWN_SOURCE_RUN else CATCH_UP_S
        shown = self._shown.get(codec)
        if shown is not None and position < shown:
            if self._chain.get(codec) == epoch:
                del self._chain[codec]
            return FrameVerdict.OLDER
        if self._chain.get(codec) != epoch:
            if not key_frame:
                return FrameVerdict.NEEDS_KEY
            self._chain[codec] = epoch
        self._shown[codec] = position
        return FrameVerdict.SHOW
