"""How good so many steps look, 0 to 1, against the most steps that a model takes: by profile, or by a stated guess."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from genlock_core.approximation.levels import guessed_quality
from genlock_core.sizing.candidates import PoolShape
from genlock_core.sizing.engine_rows import NEAREST_FIRST, counts_for
from genlock_core.sizing.profile import ProfileRow
from genlock_core.spec.fields import MOST_STEPS
from genlock_core.spec.session import ResolvedSession


@dataclass(frozen=True, slots=True)
class StepQualities:
    """How good each number of steps looks, and how far that is known."""

    by_steps: tuple[float, ...]
    """At 1, 2, ... steps. Fewer steps never look better."""
    guessed: tuple[int, ...]
    """Steps whose quality nobody measured."""
    doubtful: tuple[int, ...]
    """Steps that were measured to look better than some more of them."""

    @property
    def is_guessed(self) -> bool:
        """Nobody measured any of them."""
        return len(self.guessed) == MOST_STEPS


def qualities_of(session: ResolvedSession, rows: Iterable[ProfileRow], pool: PoolShape) -> StepQualities:
    """The quality of a session in this pool at 1, 2, ... steps.

    What was measured counts on any GPU: it is the same picture. Steps that nobody measured have their share of the
    steps, or the quality of measured fewer ones where that is more. Where fewer steps were measured to look better,
    they are taken to look the same: a figure of doubt lowers nobody.
    """
    measured = _measured(session, list(rows), pool)
    falling: list[float] = []
    doubtful: list[int] = []

    bound = 1.0
    for steps in range(MOST_STEPS, 0, -1):
        quality = measured.get(steps)
        if quality is None:
            quality = max([guessed_quality(steps), *_below(steps, measured)])
        elif quality > bound:
            doubtful.append(steps)
        bound = min(bound, quality)
        falling.append(bound)

    return StepQualities(
        by_steps=tuple(reversed(falling)),
        guessed=tuple(steps for steps in range(1, MOST_STEPS + 1) if steps not in measured),
        doubtful=tuple(sorted(doubtful)),
    )


def _below(steps: int, measured: Mapping[int, float]) -> list[float]:
    return [quality for number, quality in measured.items() if number < steps]


def _measured(session: ResolvedSession, rows: list[ProfileRow], pool: PoolShape) -> dict[int, float]:
    """Quality by steps, of this model at this size; of several rows the nearest to the pool's own workers speaks."""
    found: dict[int, tuple[tuple[int, bool, bool], float]] = {}
    for row in rows:
        alike = row.model == session.model and row.resolution.is_alike(session.resolution)
        if row.quality is None or not alike or not counts_for(row, pool.engine, pool.coders):
            continue

        order = NEAREST_FIRST[pool.engine] if pool.engine is not None else (row.engine,)
        rank = order.index(row.engine), row.doubtful, row.gpu_product != pool.gpu_product
        if row.steps not in found or rank < found[row.steps][0]:
            found[row.steps] = rank, row.quality
    return {steps: quality for steps, (_, quality) in found.items()}
