"""Why a publication makes no picture, so that nobody is dropped in silence. Pure: what happens is told, with its time.

What cannot be known is not said: frames that are encrypted end to end look like broken ones, and a publisher that sends
nothing is in no trouble.
"""

from genlock_core.media import Trouble

PATIENCE_S = 5.0
"""A publisher whose pictures cannot be used for so long is told: a key frame that was asked for has come by then."""
SURE_PATIENCE_S = 1.0
"""The same for what another key frame does not change."""
SILENT_S = 5.0
"""A publisher that has sent nothing for so long has stopped."""

_SURE = frozenset({Trouble.UNSUPPORTED_PROFILE})


class TroubleWatch:
    """One publication. Its trouble begins when nothing of what arrives is used, and ends with the next used picture."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._heard_s = 0.0
        self._refused: Trouble | None = None

    def packet(self, now_s: float) -> None:
        """A packet of the picture came and was decrypted."""
        self._hear(now_s)
        if self._refused is Trouble.ENCRYPTED:
            self._refused = None

    def unreadable(self, now_s: float) -> None:
        """A packet came that its keys do not open."""
        self._hear(now_s)
        self._refused = self._refused or Trouble.ENCRYPTED

    def refused(self, why: Trouble) -> None:
        """A picture was whole, and nobody can decode it."""
        self._refused = why

    def used(self) -> None:
        """A picture was given out."""
        self._since_s = None
        self._refused = None

    def trouble(self, now_s: float) -> Trouble | None:
        """What is wrong now; None if nothing is, or it is too early to tell."""
        if self._since_s is None or now_s - self._heard_s >= SILENT_S:
            return None
        patience_s = SURE_PATIENCE_S if self._refused in _SURE else PATIENCE_S
        return (self._refused or Trouble.NO_KEY_FRAME) if now_s - self._since_s >= patience_s else None

    def _hear(self, now_s: float) -> None:
        # After a pause the time counts anew.
        if self._since_s is None or now_s - self._heard_s >= SILENT_S:
            self._since_s = now_s
        self._heard_s = now_s
