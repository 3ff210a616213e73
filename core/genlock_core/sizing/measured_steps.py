"""What forwards of a model were measured to take by their rows: the parts that a worker's scheduler starts from.

Beside `measured`, which says how many frames a session gets with all that it needs; a forward's own time says how many
rows may share one. Whoever starts a worker tells it both. One short JSON object by size, in seconds:
`{"832x480": {"base": 0.004, "row": 0.011, "compute": 0.012}}`.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from genlock_core.sizing.engine_rows import rows_for
from genlock_core.sizing.measured import Size, read
from genlock_core.sizing.profile import ProfileRow
from genlock_core.sizing.step_time import StepTime, Timed
from genlock_core.spec.engines import Coders, EngineKind
from genlock_core.spec.session import Resolution

StepTimeBySize = Mapping[Resolution, StepTime]

LONGEST_S = 3_600.0
"""No forward takes longer."""
_Seconds = Annotated[float, Field(ge=0, le=LONGEST_S)]


def step_times(rows: Iterable[ProfileRow]) -> dict[Resolution, StepTime]:
    """By size the parts of a forward's time, as far as they were measured.

    The rows are of one model, engine and kind of GPU. One size of forward says nothing of the parts: such a picture's
    size is left out.
    """
    found: dict[Resolution, list[Timed]] = {}
    for row in rows:
        if row.micro_step_ms is not None:
            found.setdefault(row.resolution, []).append(Timed(row.forward_rows, row.micro_step_ms / 1000))
    return {
        resolution: StepTime.fitted(batches)
        for resolution, batches in found.items()
        if len({batch.rows for batch in batches}) > 1
    }


def measured_step_times(
    rows: Iterable[ProfileRow],
    *,
    engine: EngineKind,
    model: str,
    gpu_product: str,
    gpus: int,
    coders: Coders = Coders(),  # noqa: B008 - it is frozen
) -> dict[Resolution, StepTime]:
    """What the rows say of such a worker's forwards, in their order."""
    return step_times(rows_for(rows, engine=engine, model=model, gpu_product=gpu_product, gpus=gpus, coders=coders))


def to_json(times: StepTimeBySize) -> str:
    """The parts as `parse` reads them, in their order."""
    by_size = {
        str(size): {"base": time.base_s, "row": time.row_s, "compute": time.compute_s} for size, time in times.items()
    }
    return json.dumps(by_size, separators=(",", ":"))


def parse(text: str) -> dict[Resolution, StepTime]:
    """Read what `to_json` wrote; an empty text is no times. Raises InvalidFigures."""
    if not text:
        return {}
    times = read(_TIMES, text, example='{"832x480": {"base": 0.004, "row": 0.011, "compute": 0.012}}')
    return {size: StepTime(parts.base, parts.row, parts.compute) for size, parts in times.items()}


class _Parts(BaseModel):
    """Of a StepTime, in seconds. One that takes no time at all was not measured."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    base: _Seconds
    row: _Seconds
    compute: _Seconds = 0.0

    @model_validator(mode="after")
    def _takes_time(self) -> "_Parts":
        if self.base + self.row + self.compute <= 0:
            raise ValueError("no forward takes no time")
        return self


_TIMES: TypeAdapter[dict[Resolution, _Parts]] = TypeAdapter(dict[Size, _Parts])
