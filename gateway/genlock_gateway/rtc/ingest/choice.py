"""Which of the SSRCs of one payload type is the picture: a simulcast sends several, whatever was answered.

Pure. The layer whose key frame comes first is taken, so that nobody waits; within `SETTLE_S` a larger one may still win
by its key frame. The order of the rids in the offer says nothing: some clients name the best first, some last. Then the
choice stays until its packets have been missing for `SILENT_S`: a layer that comes and goes must not restart the
picture.

A publisher that begins anew may do so with another SSRC. What was first heard after the chosen one's last packet is no
layer beside it, and takes its place sooner.
"""

from collections import deque
from collections.abc import Set as AbstractSet

SILENT_S = 1.0
SUCCEED_S = 0.25
"""What began after the chosen one takes its place when that one has been silent for so long."""
SETTLE_S = 1.0
MAX_CANDIDATES = 4
"""SSRCs that are looked at at a time; a simulcast has three."""


class SourceChoice:
    """States: looking (candidates are heard) -> settling (one is chosen) -> settled -> looking, when it is silent."""

    def __init__(self) -> None:
        self.chosen: int | None = None
        """The SSRC whose pictures are used."""
        self._pixels = 0
        self._chosen_s = 0.0
        self._heard_s: dict[int, float] = {}
        self._layers: deque[int] = deque(maxlen=2 * MAX_CANDIDATES)
        """Those that are sent beside the chosen one."""

    @property
    def candidates(self) -> AbstractSet[int]:
        """The SSRCs that are looked at, the chosen one among them."""
        return self._heard_s.keys()

    def hear(self, ssrc: int, now_s: float) -> bool:
        """A packet came. True if it is to be looked at; False if another SSRC is chosen."""
        if self.chosen not in (None, ssrc):
            self._leave_if_silent(self.chosen, now_s)
        if ssrc == self.chosen:
            self._layers.extend(self._heard_s.keys() - {ssrc, *self._layers})
        if self.is_settled(now_s):
            if ssrc in self._layers:
                return False
            if ssrc == self.chosen:
                self._heard_s.clear()

        # Whoever is silent makes room: what came before the stream must not keep it out.
        if ssrc not in self._heard_s and len(self._heard_s) >= MAX_CANDIDATES:
            for other in tuple(self._heard_s):
                self._leave_if_silent(other, now_s)
            if len(self._heard_s) >= MAX_CANDIDATES:
                return False
        self._heard_s[ssrc] = now_s
        return True

    def is_settled(self, now_s: float) -> bool:
        """Whether size changes the choice no more."""
        return self.chosen is not None and now_s - self._chosen_s >= SETTLE_S

    def succeed(self, ssrc: int, pixels: int, now_s: float) -> bool:
        """True if the chosen one has ended and this one, which has a key frame, takes its place from here on."""
        if self.chosen is None or ssrc in self._layers or now_s - self._heard_s[self.chosen] < SUCCEED_S:
            return False
        self.leave(self.chosen)
        return self.key_frame(ssrc, pixels, now_s)

    def key_frame(self, ssrc: int, pixels: int, now_s: float) -> bool:
        """A candidate's key frame of so many pixels is whole. True if its stream is the chosen one from here on."""
        is_other = self.chosen is not None and ssrc != self.chosen
        if is_other and (pixels <= self._pixels or self.is_settled(now_s)):
            return False
        if self.chosen is None:
            self._chosen_s = now_s
        self.chosen = ssrc
        self._pixels = pixels
        self._heard_s[ssrc] = now_s
        return True

    def leave(self, ssrc: int) -> None:
        """The stream has ended: another one may take its place at once."""
        self._heard_s.pop(ssrc, None)
        if ssrc == self.chosen:
            self.chosen = None
            self._heard_s.clear()
            self._layers.clear()

    def _leave_if_silent(self, ssrc: int | None, now_s: float) -> None:
        if ssrc is not None and now_s - self._heard_s.get(ssrc, now_s) >= SILENT_S:
            self.leave(ssrc)
