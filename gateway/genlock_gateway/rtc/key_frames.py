"""When to ask for a key frame, however many want one: for the source (`ingest`) and for the output (`egress`) alike."""

from genlock_core.clock import Clock

MIN_INTERVAL_S = 0.15
"""Between two key frames on demand; a storm of PLIs makes one request."""
RETRY_S = 1.0
"""After this without a key frame the request is repeated: it may have been lost, or the frame."""


class KeyFrameRequests:
    """Makes one request out of many.

    `want` says that somebody needs a key frame, `due_in_s` when to ask for it, `asked` that it was asked for, and
    `arrived` that everybody has one.
    """

    def __init__(self, clock: Clock, *, min_interval_s: float = MIN_INTERVAL_S, retry_s: float = RETRY_S) -> None:
        self._clock = clock
        self._min_interval_s = min_interval_s
        self._retry_s = retry_s
        self._wanted = False
        self._asked_s: float | None = None
        self._arrived_s: float | None = None

    @property
    def wanted(self) -> bool:
        """Somebody still waits for a key frame."""
        return self._wanted

    def want(self) -> None:
        """Somebody needs a key frame."""
        self._wanted = True

    def arrived(self) -> None:
        """A key frame came, asked for or not."""
        self._wanted = False
        self._asked_s = None
        self._arrived_s = self._clock.monotonic()

    def due_in_s(self) -> float | None:
        """Seconds until the next request is to be made: 0 for now, None if nobody wants one."""
        if not self._wanted:
            return None

        now = self._clock.monotonic()
        if self._asked_s is not None:
            return max(0.0, self._asked_s + self._retry_s - now)
        if self._arrived_s is not None:
            return max(0.0, self._arrived_s + self._min_interval_s - now)
        return 0.0

    def asked(self) -> None:
        """The request that was due has been made."""
        self._asked_s = self._clock.monotonic()
