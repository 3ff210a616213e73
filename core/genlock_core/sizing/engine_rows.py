"""Whose measurements count for which engine: placement, a worker's first guess and the mock's timing ask here alone."""

from collections.abc import Iterable, Mapping
from typing import Final

from genlock_core.sizing.profile import MeasuredWith, ProfileRow
from genlock_core.spec.engines import Coders, EngineKind

NEAREST_FIRST: Final[Mapping[EngineKind, tuple[MeasuredWith | None, ...]]] = {
    "mock": ("mock", "diffusion", None, "reference"),
    "diffusion": ("diffusion", None, "reference"),
}
"""By engine, what a row may have been measured with. The mock plays whatever was measured; figures that were made for
it are nobody else's. None: a row that names no engine, from before rows did."""


def rows_for(
    rows: Iterable[ProfileRow],
    *,
    engine: EngineKind | None,
    model: str,
    gpu_product: str,
    gpus: int,
    coders: Coders = Coders(),  # noqa: B008 - it is frozen
) -> list[ProfileRow]:
    """The rows that speak of workers with this engine, this model and these GPUs, in their order.

    Of one size and step count only the nearest count: where the engine itself was measured, nothing stands in for it.
    `engine` None: a worker from before workers named theirs; for it every row counts, as it did then.
    """
    wanted = (model, gpu_product, gpus)
    here = [row for row in rows if (row.model, row.gpu_product, row.gpus) == wanted and counts_for(row, engine, coders)]
    if engine is None:
        return here

    order = NEAREST_FIRST[engine]
    nearest: dict[object, int] = {}
    for row in here:
        found = order.index(row.engine)
        nearest[row.resolution, row.steps] = min(found, nearest.get((row.resolution, row.steps), found))
    return [row for row in here if order.index(row.engine) == nearest[row.resolution, row.steps]]


def counts_for(row: ProfileRow, engine: EngineKind | None, coders: Coders = Coders()) -> bool:  # noqa: B008
    """Whether a row says anything of this engine with these coders, on GPUs as the row's.

    How a model is spread over several GPUs is the implementation's own: on one GPU the reference, or a row that does
    not name its engine, stands in for an engine that computes; on several they count for the mock alone.
    """
    if not row.is_coded_with(coders):
        return False
    if engine is None or row.engine == engine:
        return True
    return row.engine in NEAREST_FIRST[engine] and (engine == "mock" or row.gpus == 1)
