"""A session's ladder in a pool, from its record alone: who plans levels need not know profiles, as a gateway does not.

The price list of the pool was written by whoever placed the session. Here it meets what its users ask for now.
"""

from genlock_core.approximation.levels import Ladder, Level, Rung, guessed_quality, levels_of
from genlock_core.claims.record import PoolChoice, SessionRecord
from genlock_core.spec.fields import MOST_STEPS
from genlock_core.spec.session import ResolvedSession


def ladder_of(record: SessionRecord, choice: PoolChoice) -> Ladder:
    """The rungs of the session in the pool of this choice. The top is what is requested, as far as the pool has it.

    A level that costs no less than the one above it is left out, and the ladder says so: to lower a session to it would
    help nobody. Where the choice tells no qualities, each level is guessed by its steps, and the ladder says that, too.
    A choice of a release that knew no levels costs the same at any steps, so its ladder has one rung.
    """
    asked = _asked(record, choice)
    top, *lower = levels_of(asked)
    rungs = [Rung(top, choice.cost_at(top.steps), _quality(choice, top))]
    left_out = _beyond(record, choice, top)
    doubtful: list[str] = []

    for level in lower:
        above = rungs[-1]
        cost = _cost(choice, level)
        if cost is None:
            left_out.append(f"{level} is left out: no measurement in pool {choice.pool} is in time")
            continue
        if cost >= above.cost:
            left_out.append(f"{level} is left out: it costs {cost} thousandths, {above.level} costs {above.cost}")
            continue

        # A figure of doubt lowers nobody: what is told to look better than the rung above it is taken to look the same.
        quality = _quality(choice, level)
        if quality > above.quality:
            doubtful.append(f"{level} is told to look better than {above.level} ({quality:.2f})")
        rungs.append(Rung(level, cost, min(quality, above.quality)))

    guessed = () if choice.qualities else ("quality: each level is guessed by its steps",)
    return Ladder(tuple(rungs), left_out=tuple(left_out), unprofiled=guessed, doubtful=tuple(doubtful))


def _asked(record: SessionRecord, choice: PoolChoice) -> ResolvedSession:
    """The session as its users ask for it now. What a pool has no price for is not granted there."""
    most = len(choice.levels) or MOST_STEPS
    return record.session.model_copy(update={"steps": max(1, min(record.requested_steps, most))})


def _beyond(record: SessionRecord, choice: PoolChoice, top: Level) -> list[str]:
    if top.steps >= record.requested_steps:
        return []
    return [f"{Level(record.requested_steps)} is left out: no measurement in pool {choice.pool} is in time"]


def _cost(choice: PoolChoice, level: Level) -> int | None:
    """None: nobody says what it costs there. The half rate has one price, at one number of steps."""
    unpriced = level.every > 1 and (choice.half is None or choice.half.steps != level.steps)
    return None if unpriced else choice.cost_at(level.steps, level.every)


def _quality(choice: PoolChoice, level: Level) -> float:
    """As it was measured; guessed where nobody says. Half of the pictures show half of what the steps leave of them."""
    if level.every > 1 and choice.half is not None and choice.half.quality is not None:
        return choice.half.quality
    known = level.steps <= len(choice.qualities)
    of_steps = choice.qualities[level.steps - 1] if known else guessed_quality(level.steps)
    return of_steps / level.every
