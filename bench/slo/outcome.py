"""What a run comes to."""

from dataclasses import dataclass
from typing import Final

from bench.result import percentile
from bench.slo.simulation import SloSimulation
from genlock_core.slo.continuity import continuous_play_ratio, real_time_factor

LEAST_PLAYED_S: Final = 5.0
"""Of a session that played for less nothing is told alone."""


@dataclass(frozen=True, slots=True)
class SloOutcome:
    """The figures of one run. Shares are 0 to 1, over all sessions together unless it says otherwise."""

    played: float
    """The continuous-play ratio (`slo.continuity`)."""
    worst_played: float
    """Of the session that has the worst."""
    missed: float
    """Frames that came after their due time, or not at all."""
    worst_missed: float
    age_s: float
    """p95 of the age of what viewers see."""
    real_time: float
    """Engine seconds of a second of video, each forward counted whole for each session in it."""
    rows: float
    """Of a forward, on average."""
    busy: float
    sessions: int

    @classmethod
    def of(cls, run: SloSimulation, seconds: float) -> "SloOutcome":
        seen = [one for one in run.ended if one.play.played_s >= LEAST_PLAYED_S]
        played_s = sum(one.play.played_s for one in seen)
        stalled_s = sum(one.play.stalled_s for one in seen)
        video_s = sum(one.sent / one.coming.frame_rate for one in seen)
        missed = [(one.late + one.dropped, one.sent + one.dropped) for one in seen]
        return cls(
            played=continuous_play_ratio(played_s=played_s, stalled_s=stalled_s) or 0.0,
            worst_played=min(one.play.ratio or 0.0 for one in seen),
            missed=sum(bad for bad, _ in missed) / sum(every for _, every in missed),
            worst_missed=max(bad / every for bad, every in missed),
            age_s=percentile([age_s for one in seen for age_s in one.ages_s], 0.95),
            real_time=real_time_factor(engine_s=sum(one.engine_s for one in seen), video_s=video_s) or 0.0,
            rows=run.batch_rows / run.batches,
            busy=run.busy_s / seconds,
            sessions=len(seen),
        )
