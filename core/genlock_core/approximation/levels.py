"""The levels of a session, and a ladder of them: top first, each with what it costs and what it is worth.

It stands below sizing and claims, so that a record, a worker and a plan all speak of the same level.
"""

import math
from dataclasses import dataclass, field
from itertools import pairwise

from genlock_core.spec.fields import MOST_STEPS
from genlock_core.spec.session import ApproximationPolicy, ResolvedSession


@dataclass(frozen=True, slots=True)
class Level:
    """What a session runs at."""

    steps: int
    """Denoising steps of a chunk."""
    every: int = field(default=1, kw_only=True)
    """Of so many frames of the source one is used: 1, or 2 where every second one is left out."""

    def at_most(self, ceiling: "Level") -> "Level":
        """As much of this level as the ceiling leaves of it, in steps and in frames."""
        return Level(min(self.steps, ceiling.steps), every=max(self.every, ceiling.every))

    def is_below(self, other: "Level") -> bool:
        """Frames are the last to go, so they count first."""
        return (-self.every, self.steps) < (-other.every, other.steps)

    def __str__(self) -> str:
        steps = "1 step" if self.steps == 1 else f"{self.steps} steps"
        return steps if self.every == 1 else f"{steps}, 1 of {self.every} frames"


@dataclass(frozen=True, slots=True)
class Rung:
    """A level in one pool. Raises ValueError for a cost or a quality that cannot be."""

    level: Level
    cost: int
    """In thousandths of a worker."""
    quality: float
    """0 to 1, relative to the most steps that the model takes."""

    def __post_init__(self) -> None:
        if self.cost < 1:
            raise ValueError(f"{self.level} cannot cost {self.cost} thousandths")
        # A comparison with NaN is false, so it must not be the one that refuses.
        if not (math.isfinite(self.quality) and 0 <= self.quality <= 1):
            raise ValueError(f"{self.level} cannot have the quality {self.quality}; it is a number from 0 to 1")


@dataclass(frozen=True, slots=True)
class Ladder:
    """A session's rungs in one pool, top first. Each costs less than the one above it and looks no better.

    Raises ValueError for rungs that are none, or in another order.
    """

    rungs: tuple[Rung, ...]
    left_out: tuple[str, ...] = ()
    """Levels that it does not have, each with the reason, in words."""
    unprofiled: tuple[str, ...] = ()
    """What nobody measured, in words."""
    doubtful: tuple[str, ...] = ()
    """Measurements that contradict each other, in words."""

    def __post_init__(self) -> None:
        if not self.rungs:
            raise ValueError("a ladder has a rung at least")
        for above, below in pairwise(self.rungs):
            if below.cost >= above.cost:
                raise ValueError(f"{below.level} costs {below.cost}, no less than {above.level} with {above.cost}")
            if below.quality > above.quality:
                raise ValueError(f"{below.level} looks better than {above.level}")

    @property
    def top(self) -> Rung:
        return self.rungs[0]

    @property
    def lowest(self) -> Rung:
        return self.rungs[-1]

    def cost_of(self, level: Level) -> int | None:
        """What the session pays in order to run at this level: the cheapest rung that holds it. None: it is higher
        than the top."""
        holding = [rung.cost for rung in self.rungs if level.at_most(rung.level) == level]
        return min(holding, default=None)


def top_level(session: ResolvedSession) -> Level:
    """What the session asks for."""
    return Level(session.steps)


def levels_of(session: ResolvedSession) -> tuple[Level, ...]:
    """Every level that the session's own `approximation` allows, top first."""
    top = top_level(session)
    if session.approximation.policy is ApproximationPolicy.NEVER:
        return (top,)

    # Its user may have steered it below minSteps: then there is nothing left to lower.
    least = min(session.approximation.min_steps, top.steps)
    levels = [Level(steps) for steps in range(top.steps, least - 1, -1)]
    if session.may_halve:
        levels.append(Level(least, every=2))
    return tuple(levels)


def guessed_quality(steps: int) -> float:
    """How good so many steps look, 0 to 1, where nobody measured it: their share of the most that a model takes.

    It gets the order right, which is all that a plan needs of it while every session is guessed alike.
    """
    return steps / MOST_STEPS


def share_of(level: Level, top: Level) -> str:
    """`2 of 4 steps`, and that pictures are left out where some are."""
    parts = []
    if level.steps < top.steps or level.every <= top.every:
        parts.append(f"{level.steps} of {top.steps} steps")
    if level.every > top.every:
        parts.append(f"{top.every} of {level.every} pictures")
    return " and ".join(parts)


def at_level(session: ResolvedSession, level: Level) -> ResolvedSession:
    """The session as if it had asked for this level: what placement sizes. Of half a frame it asks for a whole one."""
    return session.model_copy(update={"steps": level.steps, "frame_rate": math.ceil(session.frame_rate / level.every)})
