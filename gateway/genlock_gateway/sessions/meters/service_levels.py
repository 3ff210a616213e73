"""How one session plays, as its viewers at this gateway see it: the meters of `genlock_core.slo.continuity`, counted.

`SessionStats` tells it of pictures. Where its publisher is at another gateway nobody knows a picture's age here.
"""

from typing import Any, Final

from genlock_core.metrics import GatewayMetrics
from genlock_core.slo.continuity import PictureAge, PlayMeter
from genlock_core.slo.report import Ages

QUANTILES: Final = (0.5, 0.95)


class ServiceLevels:
    """Told of every picture in seconds of the gateway's monotonic clock; brings the metrics up to date with each."""

    def __init__(self, session: str, *, frame_rate: int, metrics: GatewayMetrics) -> None:
        self._pool = ""
        self._session = session
        self._metrics = metrics
        self._play = PlayMeter(frame_rate)
        self._age = PictureAge(frame_rate)
        self._first_chunk_s: float | None = None
        # What the metrics have of the meters' counts.
        self._told_played_s = 0.0
        self._told_stalled_s = 0.0

    def runs_at(self, frame_rate: float) -> None:
        """The session's own rate, or half of it while every second frame is left out on purpose."""
        self._play.frame_rate = frame_rate

    def served_by(self, pool: str) -> None:
        """A worker of this pool serves the session from now on. Its series begin now, at nothing: of one that begins
        with its first event Prometheus would take that for long past."""
        if pool == self._pool:
            return
        self._pool = pool
        self._metrics.time_to_first_chunk.labels(pool=pool)
        self._metrics.picture_age.labels(pool=pool)
        self._metrics.play_seconds.labels(session=self._session, pool=pool)
        self._metrics.stall_seconds.labels(session=self._session, pool=pool)

    def picture(self, now_s: float, *, age_s: float | None) -> None:
        """A new picture was handed to the viewers. None: nobody here knows when it was captured."""
        self._play.frame(now_s)
        self._count_ages(self._age.shown(now_s, age_s=age_s))
        self._count()

    def repeated(self, now_s: float) -> None:
        """The same picture once more, in its pace: the source has made no other."""
        self._play.frame(now_s)
        self._count_ages(self._age.look(now_s))
        self._count()

    def first_chunk(self, seconds: float) -> None:
        """The first picture of a publication's first chunk came so long after the publisher's offer."""
        self._first_chunk_s = seconds
        self._metrics.time_to_first_chunk.labels(pool=self._pool).observe(seconds)

    def look(self, now_s: float) -> None:
        """Time passes: what viewers see grows older, and a stall is counted while it lasts."""
        self._play.look(now_s)
        self._count_ages(self._age.look(now_s))
        self._count()
        for quantile in QUANTILES:
            age_s = self._age.ages_s.quantile(quantile)
            if age_s is not None:
                self._metrics.session_picture_age.labels(session=self._session, quantile=str(quantile)).set(age_s)

    def rest(self) -> None:
        """Pictures stop on purpose."""
        self._play.rest()
        self._age.rest()

    def figures(self) -> dict[str, Any]:
        """What of a `StreamReport` is known here."""
        ratio = self._play.ratio
        p50_s, p95_s = (self._age.ages_s.quantile(quantile) for quantile in QUANTILES)
        return {
            "continuous_play_ratio": None if ratio is None else round(ratio, 5),
            "time_to_first_chunk_ms": _ms(self._first_chunk_s),
            "picture_age_ms": _ages(p50_s, p95_s),
        }

    def _count(self) -> None:
        played_s = self._play.played_s - self._told_played_s
        if played_s <= 0:
            return
        stalled_s = self._play.stalled_s - self._told_stalled_s
        self._told_played_s = self._play.played_s
        self._told_stalled_s = self._play.stalled_s
        self._metrics.play_seconds.labels(session=self._session, pool=self._pool).inc(played_s)
        self._metrics.stall_seconds.labels(session=self._session, pool=self._pool).inc(stalled_s)

    def _count_ages(self, ages_s: list[float]) -> None:
        histogram = self._metrics.picture_age.labels(pool=self._pool)
        for age_s in ages_s:
            histogram.observe(age_s)


def _ages(p50_s: float | None, p95_s: float | None) -> Ages | None:
    if p50_s is None or p95_s is None:
        return None
    return Ages(p50=round(p50_s * 1000, 1), p95=round(p95_s * 1000, 1))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
