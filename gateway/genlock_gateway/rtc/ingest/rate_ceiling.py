"""How fast a publisher may send: the figure in the REMB messages (draft-alvestrand-rmcat-remb-03)."""

START_BPS = 2_500_000
MIN_BPS = 150_000
MAX_BPS = 4_000_000
"""More is of no use: the model works at 832x480."""
GROWTH_PER_S = 1.08


class RateCeiling:
    """Falls to what the path was measured to carry when its queues grow, and rises by 8 % a second otherwise.

    An estimate that follows what arrives, as the usual receiver-side estimators give, would hold a publisher of simple
    pictures at its low rate when the pictures become difficult; here only a growing queue lowers the ceiling.
    """

    def __init__(self) -> None:
        self._bps = float(START_BPS)
        self._updated_s: float | None = None

    def update(self, *, congested: bool, estimate_bps: int, now_s: float) -> int:
        """The new ceiling in bit/s. `estimate_bps` counts only when the path is `congested`."""
        elapsed = 0.0 if self._updated_s is None else max(0.0, now_s - self._updated_s)
        self._updated_s = now_s
        wanted = min(float(estimate_bps), self._bps) if congested else self._bps * GROWTH_PER_S ** min(elapsed, 10.0)
        self._bps = min(float(MAX_BPS), max(float(MIN_BPS), wanted))
        return int(self._bps)
