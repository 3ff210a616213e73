"""From measurements to the ModelProfile document that sizing reads and `kubectl apply` takes."""

import math
from collections.abc import Iterable, Sequence

import yaml

from genlock_core.sizing.profile import PROFILE_KIND, ChunkLatency, ProfileRow
from genlock_core.spec.engines import Coders, EngineKind
from genlock_core.spec.session import API_VERSION
from genlock_worker.profiling.measure import Measurement


def row_of(
    measurement: Measurement,
    *,
    engine: EngineKind,
    coders: Coders,
    model: str,
    gpu_product: str,
    gpus: int,
    quality: float | None = None,
    source: str,
) -> ProfileRow:
    """A profile's row, with no more digits than were measured. `quality` None: nobody measured it."""
    combination = measurement.combination
    p50, p95, p99 = (_rounded(percentile(measurement.latencies_ms, share)) for share in (0.50, 0.95, 0.99))
    return ProfileRow(
        model=model,
        resolution=combination.resolution,
        steps=combination.steps,
        gpu_product=gpu_product,
        gpus=gpus,
        engine=engine,
        encoder=coders.encoder,
        decoder=coders.decoder,
        sessions=combination.sessions,
        fps_per_session=_rounded(measurement.fps_per_session),
        micro_step_ms=_rounded(measurement.micro_step_ms) if measurement.micro_step_ms > 0 else None,
        chunk_latency_ms=ChunkLatency(p50=p50, p95=p95, p99=p99),
        first_frame_ms=_rounded(measurement.first_frame_ms),
        bytes_per_session=measurement.bytes_per_session,
        bytes_resident=measurement.bytes_resident,
        quality=None if quality is None else _rounded(quality),
        source=source,
    )


def document(model: str, rows: Iterable[ProfileRow], *, description: str) -> str:
    """A ModelProfile as YAML, a line for each row."""
    lines = [
        f"apiVersion: {API_VERSION}",
        f"kind: {PROFILE_KIND}",
        f"metadata: {{name: {model}}}",
        "spec:",
        f"  description: {_flow(description)}",
        "  rows:",
    ]
    return "\n".join([*lines, *(f"    - {_flow(_fields(row))}" for row in rows)]) + "\n"


def merged(known: Sequence[ProfileRow], new: Sequence[ProfileRow]) -> tuple[ProfileRow, ...]:
    """The known rows, those that were measured again replaced, and the others that are new."""
    measured = {_place(row) for row in new}
    return (*(row for row in known if _place(row) not in measured), *new)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def _place(row: ProfileRow) -> tuple[object, ...]:
    coders = row.encoder or "vae", row.decoder or "vae"
    return row.model, str(row.resolution), row.steps, row.gpu_product, row.gpus, row.sessions, coders


def _fields(row: ProfileRow) -> dict[str, object]:
    """What the document says of a row: without its model, which is the document's name, and what is left out."""
    fields = row.model_dump(by_alias=True, exclude_none=True, exclude={"model", "resolution"}, mode="json")
    if not row.doubtful:
        del fields["doubtful"]
    return {"resolution": str(row.resolution), **{name: _whole(value) for name, value in fields.items()}}


def _whole(value: object) -> object:
    """Numbers without a `.0`."""
    if isinstance(value, dict):
        return {name: _whole(inner) for name, inner in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _flow(value: object) -> str:
    """YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=math.inf, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _rounded(value: float) -> float:
    """Three digits; a thousand and more as whole numbers."""
    return round(value, max(0, 2 - math.floor(math.log10(value)))) if value > 0 else value
