"""How good a level looks, 0 to 1, relative to the most steps that a model takes."""

from genlock_core.approximation.levels import Level
from genlock_core.spec.fields import MOST_STEPS
from genlock_core.spec.session import ResolvedSession


def prior_quality(level: Level, session: ResolvedSession) -> float:
    """Where nobody measured: in proportion to the steps, and to the frames that are shown.

    A stated guess. It gets the order right, which is all that a plan needs of it while every session is guessed alike.
    """
    return level.steps / MOST_STEPS * min(1.0, level.frame_rate / session.frame_rate)
