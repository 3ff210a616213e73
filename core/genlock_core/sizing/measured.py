"""What a worker is told of its own model's speed: frames per second of one session alone on GPUs like its own.

Whoever starts a worker (the operator, `genlock up`) knows the profiles, a worker does not: it gets those of their
figures that it needs, as one short JSON object by size and steps, `{"832x480": {"1": 20.47, "2": 17.97}}`.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, TypeVar

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from genlock_core.errors import GenlockError
from genlock_core.sizing.engine_rows import rows_for
from genlock_core.sizing.profile import ProfileRow, UnknownProfile, resolution_tokens
from genlock_core.spec.engines import Coders, EngineKind
from genlock_core.spec.session import Resolution

MAX_JSON_CHARS: Final = 64 * 1024
"""More is refused unread. A profile of as many rows as it may have makes a third of it; Linux allows 128 KiB."""

T = TypeVar("T")

FpsBySize = Mapping[Resolution, Mapping[int, float]]
"""Frames per second by size and denoising steps; the size that most sessions have is the first."""


class InvalidFigures(GenlockError):
    """A text that is not what `to_json` writes; the message says where."""


def measured_fps(
    rows: Iterable[ProfileRow],
    *,
    engine: EngineKind,
    model: str,
    gpu_product: str,
    gpus: int,
    coders: Coders = Coders(),  # noqa: B008 - it is frozen
) -> FpsBySize:
    """What the rows say of one session alone on such a worker, in their order; of two for the same the first counts."""
    found: dict[Resolution, dict[int, float]] = {}
    for row in rows_for(rows, engine=engine, model=model, gpu_product=gpu_product, gpus=gpus, coders=coders):
        if row.sessions == 1:
            found.setdefault(row.resolution, {}).setdefault(row.steps, row.fps_per_session)
    return found


def step_fps(measured: FpsBySize, resolution: Resolution) -> Mapping[int, float]:
    """Frames per second by steps at this resolution: what the mock's timing and a scheduler's first guess follow.

    A resolution that was not measured takes the figures of the nearest one (by tokens), in proportion to the pixels;
    placement never does this, a guess may. Sizes that were measured at more step counts come first, as a line through
    few points says little. Raises UnknownProfile where nothing was measured.
    """
    if not measured:
        raise UnknownProfile("nobody measured one session alone")
    wanted = resolution_tokens(resolution)

    def rank(size: Resolution) -> tuple[int, bool, int, str]:
        return -len(measured[size]), not size.is_alike(resolution), abs(resolution_tokens(size) - wanted), str(size)

    nearest = min(measured, key=rank)
    scale = resolution_tokens(nearest) / wanted
    return {steps: fps * scale for steps, fps in sorted(measured[nearest].items())}


def to_json(measured: FpsBySize) -> str:
    """The figures as `parse` reads them, in their order."""
    by_size = {str(size): {str(steps): fps for steps, fps in fps.items()} for size, fps in measured.items()}
    return json.dumps(by_size, separators=(",", ":"))


def parse(text: str) -> FpsBySize:
    """Read what `to_json` wrote; an empty text is no figures. Raises InvalidFigures."""
    if not text:
        return {}
    return read(_FIGURES, text, example='{"832x480": {"1": 20.5, "2": 18}}')


def read(figures: TypeAdapter[T], text: str, *, example: str) -> T:
    """Figures by size, of whatever kind. Raises InvalidFigures, which names the place and shows the example."""
    if len(text) > MAX_JSON_CHARS:
        raise InvalidFigures(f"{len(text)} characters; at most {MAX_JSON_CHARS} are read")
    try:
        return figures.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"] if part != "[key]")
        raise InvalidFigures(f"{f'{where}: ' if where else ''}{first['msg']}; write {example}") from None


def _size(text: object) -> object:
    """`832x480` as the fields of a Resolution."""
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("not a size such as 832x480")
    return {"width": int(match[1]), "height": int(match[2])}


Size = Annotated[Resolution, BeforeValidator(_size)]
_Steps = Annotated[int, Field(ge=1, le=4)]
_Fps = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
_FIGURES: TypeAdapter[dict[Resolution, dict[int, float]]] = TypeAdapter(
    dict[Size, Annotated[dict[_Steps, _Fps], Field(min_length=1)]]
)
