"""How good a level looks, 0 to 1, relative to the most steps that a model takes: by profile, or by a stated guess."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genlock_core.approximation.levels import Level
from genlock_core.sizing.engine_rows import NEAREST_FIRST, counts_for
from genlock_core.sizing.placement import PoolShape
from genlock_core.sizing.profile import ProfileRow
from genlock_core.spec.fields import MOST_STEPS
from genlock_core.spec.session import ResolvedSession


@dataclass(frozen=True, slots=True)
class LevelQualities:
    """How good the levels look, and how far that is known."""

    by_level: dict[Level, float]
    """A lower level never looks better than a higher one."""
    unprofiled: tuple[str, ...]
    """Levels whose quality nobody measured, in words."""
    doubtful: tuple[str, ...]
    """Measurements that contradict each other, in words."""


def qualities_of(
    session: ResolvedSession, levels: Sequence[Level], rows: Iterable[ProfileRow], pool: PoolShape
) -> LevelQualities:
    """The quality of these levels, top first, of a session in this pool.

    What was measured counts on any GPU: it is the same picture. A level that nobody measured has its share of the
    steps, or the quality of a measured lower one where that is more. Where a lower level was measured to look better,
    it is taken to look the same: a figure of doubt lowers nobody.
    """
    measured = _measured(session, list(rows), pool)
    by_level: dict[Level, float] = {}
    unprofiled: list[str] = []
    doubtful: list[str] = []

    bound, higher = 1.0, ""
    for level in levels:
        found = measured.get(level.steps)
        if found is None:
            unprofiled.append(f"quality at {level}")
            found = max([_share_of_steps(level.steps), *_below(level.steps, measured)])

        # Frames that are left out take from the picture what the steps leave of it.
        quality = found / level.every
        if quality > bound:
            doubtful.append(f"{level} is profiled to look better than {higher or 'the most steps'} ({quality:.2f})")
        bound, higher = min(bound, quality), str(level)
        by_level[level] = bound
    return LevelQualities(by_level, tuple(unprofiled), tuple(doubtful))


def _share_of_steps(steps: int) -> float:
    """The stated guess. It gets the order right, which is all that a plan needs of it while every session is guessed
    alike."""
    return steps / MOST_STEPS


def _below(steps: int, measured: dict[int, float]) -> list[float]:
    return [quality for number, quality in measured.items() if number < steps]


def _measured(session: ResolvedSession, rows: list[ProfileRow], pool: PoolShape) -> dict[int, float]:
    """Quality by steps, of this model at this size; of several rows the nearest to the pool's own workers speaks."""
    found: dict[int, tuple[tuple[int, bool, bool], float]] = {}
    for row in rows:
        alike = row.model == session.model and row.resolution.is_alike(session.resolution)
        if row.quality is None or not alike or not counts_for(row, pool.engine):
            continue

        order = NEAREST_FIRST[pool.engine] if pool.engine is not None else (row.engine,)
        rank = order.index(row.engine), row.doubtful, row.gpu_product != pool.gpu_product
        if row.steps not in found or rank < found[row.steps][0]:
            found[row.steps] = rank, row.quality
    return {steps: quality for steps, (_, quality) in found.items()}
