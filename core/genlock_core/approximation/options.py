"""What a session may be changed to now, and what that is worth against the others on its worker.

The rules of time and of stickiness stand here, the choosing in `allocate`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from genlock_core.approximation.knapsack import Weighed
from genlock_core.approximation.levels import Ladder, Level
from genlock_core.approximation.plan import LevelSession

SETTLE_MS: Final = 15_000
"""A session's level changes once in this time; room for somebody without a worker lowers it at once."""

RIPE_MS: Final = 60_000
"""A session that has kept its level for so long is raised into free room, however little it gains."""

STICKINESS: Final = 0.01
"""A change must be worth more than this, in quality."""

_GRAINS: Final = 100_000
"""Quality is counted in these: whole numbers add up the same in every order."""
_AGE_CLASSES: Final = 32
_AGE_WEIGHT: Final = 1_000
"""What decides between equals may cost a thousandth of the plan's quality at most."""
_QUALITY_UNIT: Final = _AGE_WEIGHT * _AGE_CLASSES
_ORDER: Final = 16_384
"""Of levels that are worth the same the higher one is taken; all such places of a worker add up to less than this."""


@dataclass(frozen=True, slots=True)
class LevelOption:
    """One thing that a session may have."""

    level: Level | None
    """None: not known."""
    cost: int
    quality: float
    place: int
    """In its ladder, 0 is the top."""
    stays: bool


def options_of(session: LevelSession, ladder: Ladder | None, now_ms: int, *, at_once: bool) -> list[LevelOption]:
    """What a session with a worker may have, what it has now first.

    `at_once`: somebody has no worker, or the worker is too full: then also a level that changed a moment ago may fall.
    """
    stays = _what_it_has(session, ladder)
    if ladder is None:
        return [stays]

    settling = is_settling(session, now_ms)
    if settling and not at_once:
        return [stays]
    others = [
        LevelOption(rung.level, rung.cost, rung.quality, place, stays=False)
        for place, rung in enumerate(ladder.rungs)
        if rung.level != session.granted and (not settling or rung.cost < session.cost)
    ]

    # What is on its ladder no more was asked for by nobody: it goes, where anything else fits.
    on_ladder = any(rung.level == session.granted for rung in ladder.rungs)
    if not on_ladder and not settling:
        stays = LevelOption(stays.level, stays.cost, 0.0, stays.place, stays=True)
    return [stays, *others]


def options_of_newcomer(ladder: Ladder) -> list[LevelOption]:
    """What a session without a worker may have, top first."""
    return [
        LevelOption(rung.level, rung.cost, rung.quality, place, stays=False) for place, rung in enumerate(ladder.rungs)
    ]


def is_settling(session: LevelSession, now_ms: int) -> bool:
    """Whether its level has just changed. A time in the future is a clock that jumped: nobody waits for it."""
    return session.changed_ms is not None and 0 <= now_ms - session.changed_ms < SETTLE_MS


def ages_of(sessions: Iterable[LevelSession]) -> Mapping[str, int]:
    """0 to 31 by name, more for whoever has run below its request for longer; 0 for who does not.

    It weighs a thousandth of quality at most: among equals the one that was lowered longest ago is raised first.
    """
    since = {one.name: one.below_since_ms for one in sessions}
    moments = sorted({at for at in since.values() if at is not None}, reverse=True)
    rank = {at: -(-(_AGE_CLASSES - 1) * place // len(moments)) for place, at in enumerate(moments, start=1)}
    return {name: 0 if at is None else rank[at] for name, at in since.items()}


def weighed(option: LevelOption, session: LevelSession, *, age: int, now_ms: int, stickiness: float) -> Weighed:
    """The option as the knapsack weighs it: quality, less what a change costs; then age; then the higher level."""
    quality = round(option.quality * _GRAINS) * (_QUALITY_UNIT + age)
    if not option.stays and _is_sticky(option, session, now_ms):
        quality -= round(stickiness * _GRAINS) * _QUALITY_UNIT
    return Weighed(option.cost, quality * _ORDER - option.place)


def _is_sticky(option: LevelOption, session: LevelSession, now_ms: int) -> bool:
    """Whether stickiness holds against this change."""
    if session.worker is None:
        return False
    is_raise = option.cost > session.cost
    ripe = session.changed_ms is None or not 0 <= now_ms - session.changed_ms < RIPE_MS
    return not (is_raise and ripe)


def _what_it_has(session: LevelSession, ladder: Ladder | None) -> LevelOption:
    """What its claim pays for, at what it pays."""
    rungs = () if ladder is None else ladder.rungs
    for place, rung in enumerate(rungs):
        # Above its request it looks as what it requests.
        if session.granted is not None and rung.level.at_most(session.granted) == rung.level:
            return LevelOption(session.granted, session.cost, rung.quality, place, stays=True)
    return LevelOption(session.granted, session.cost, 0.0, len(rungs), stays=True)
