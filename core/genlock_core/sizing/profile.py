"""ModelProfile: what was measured of a model on some GPUs, and where the figure comes from.

A figure that nobody measured is None ("unprofiled"), never a guess. The seed rows in `profiles/` are the published
ones; `genlock profile` adds rows of the user's own machines.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationInfo, WithJsonSchema, field_validator

from genlock_core.errors import BadInput, FieldProblem, GenlockError, InvalidManifest
from genlock_core.spec.documents import read_documents
from genlock_core.spec.engines import CoderKind, Coders
from genlock_core.spec.mistakes import validate
from genlock_core.spec.session import API_VERSION, MODEL_NAME, Model, Resolution

PROFILE_KIND = "ModelProfile"
MAX_ROWS = 500

_TEXT_RESOLUTION = {
    "type": "string",
    "maxLength": 9,
    "pattern": "^[0-9]{2,4}x[0-9]{2,4}$",
    "x-kubernetes-validations": [
        {
            "rule": "self.split('x').all(side, int(side) % 16 == 0 && int(side) >= 64 && int(side) <= 1920)",
            "message": "both sides must be multiples of 16 between 64 and 1920",
        }
    ],
}
"""A resolution as a row has it, `832x480`: the form of people who compare rows."""

MeasuredWith = Literal["mock", "diffusion", "reference"]
"""An engine of Genlock, or the implementation that the model was published with."""

CHUNK_FRAMES: Final = 4
"""Frames that each micro-step gives of each session: one latent frame (VAE stride 4 in time). They are made together:
the first of them waits for the last to come in."""
TIMER_SHARE = 0.1
"""The clocks of a device and of its host may differ by this much."""

_Positive = Annotated[float, Field(gt=0)]
_Bytes = Annotated[int, Field(ge=0)]


class UnknownProfile(GenlockError):
    """No row fits; the message says what is known."""


class ChunkLatency(Model):
    """Chunk complete to chunk generated, in milliseconds."""

    p50: _Positive = Field(description="Median in milliseconds.")
    p95: _Positive = Field(description="95th percentile in milliseconds.")
    p99: _Positive = Field(description="99th percentile in milliseconds: what frameDeadline is held against.")


class ProfileRow(Model):
    """One measurement: `sessions` equal sessions at once on `gpus` GPUs of one worker, each at `fpsPerSession`."""

    model: str = Field(pattern=MODEL_NAME, description="The measured model.")
    resolution: Annotated[Resolution, WithJsonSchema(_TEXT_RESOLUTION)] = Field(
        description="Size of the generated picture, such as 832x480; both sides multiples of 16."
    )
    steps: Annotated[int, Field(ge=1, le=4)] = Field(description="Denoising steps, 1 to 4.")
    gpu_product: str = Field(min_length=1, max_length=63, description="The GPU, for example NVIDIA-H100.")
    gpus: Annotated[int, Field(ge=1, le=16)] = Field(description="GPUs of the measured worker, all in one node.")
    engine: MeasuredWith | None = Field(
        None,
        description="What it was measured with: diffusion, mock (figures for trying), or reference, the implementation "
        "that the model was published with. Left out: not known, as in rows from before.",
    )
    encoder: CoderKind | None = Field(
        None,
        description="What made latents of the pictures: vae, the model's own, or tiny, a small network in its place. "
        "Left out: not known, as in rows from before.",
    )
    decoder: CoderKind | None = Field(
        None, description="What made pictures of the latents: vae or tiny. Left out: not known, as in rows from before."
    )
    sessions: Annotated[int, Field(ge=1, le=1_000)] = Field(1, description="Equal sessions that ran at once.")
    fps_per_session: _Positive = Field(description="Generated frames per second of each of them.")
    micro_step_ms: _Positive | None = Field(
        None,
        description="The device's time for one forward of all rows (sessions times steps), without encoding and "
        "decoding, in milliseconds; from rows of several sizes of forwards a worker's first guess follows. Left out: "
        "nobody measured it.",
    )
    chunk_latency_ms: ChunkLatency | None = Field(
        None, description="Chunk complete to chunk generated; left out: nobody measured it."
    )
    first_frame_ms: _Positive | None = Field(
        None, description="First frame in to first generated frame out, in milliseconds; left out: nobody measured it."
    )
    bytes_per_session: _Bytes | None = Field(
        None, description="GPU memory of one more session, over all GPUs of the worker; left out: nobody measured it."
    )
    bytes_resident: _Bytes | None = Field(
        None,
        description="GPU memory of the model without any session, over all GPUs of the worker; left out: nobody "
        "measured it.",
    )
    quality: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None,
        description="How good the picture looks, 0 to 1, against the most steps of this model and size: a proxy, see "
        "above. Left out: nobody measured it, and it counts by its share of the steps.",
    )
    source: str = Field(min_length=1, max_length=1_024, description="Where the figures come from: a paper, a machine.")
    doubtful: bool = Field(default=False, description="The source's own figure, but it contradicts its neighbours.")

    @field_validator("resolution", mode="before")
    @classmethod
    def _written_as_text(cls, value: object) -> object:
        """`832x480` as well as `{width: 832, height: 480}`."""
        if isinstance(value, str):
            match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", value)
            if match is None:
                raise ValueError("must be a size such as 832x480")
            return {"width": int(match[1]), "height": int(match[2])}
        return value

    @field_validator("micro_step_ms")
    @classmethod
    def _no_longer_than_its_chunks(cls, value: float | None, info: ValidationInfo) -> float | None:
        """Every forward gives each session a chunk, so that it cannot take longer than the chunk's frames did."""
        fps = info.data.get("fps_per_session")
        gpus = info.data.get("gpus")
        if value is None or fps is None or gpus is None:
            return value
        chunk_ms = 1000 * CHUNK_FRAMES / fps
        if value > chunk_ms * gpus * (1 + TIMER_SHARE):
            raise ValueError(f"cannot be more than a chunk of {CHUNK_FRAMES} frames takes: {chunk_ms:.4g} ms")
        return value

    @property
    def forward_rows(self) -> int:
        """Rows of the forward that was measured."""
        return self.sessions * self.steps

    def is_coded_with(self, coders: Coders) -> bool:
        """Whether it says anything of workers that code pictures so; one that does not say says it of all."""
        return self.encoder in (None, coders.encoder) and self.decoder in (None, coders.decoder)

    @property
    def tokens(self) -> int:
        """Transformer tokens of a latent frame: one per 16x16 pixels (VAE stride 8, patch 2)."""
        return resolution_tokens(self.resolution)

    def __str__(self) -> str:
        return f"{self.model} {self.resolution} {self.steps} steps on {self.gpus}x {self.gpu_product}"


class ProfileMetadata(Model):
    name: Annotated[str, Field(pattern=MODEL_NAME)]


class ProfileSpec(Model):
    """What was measured. Rows in the document leave out `model`: it is the document's name."""

    description: str = Field("", max_length=256, description="What the model is, in a line.")
    rows: tuple[ProfileRow, ...] = Field(max_length=MAX_ROWS, description="The measurements, in any order.")


class ModelProfile(Model):
    """A document of kind ModelProfile."""

    api_version: Literal["genlock.dev/v1alpha1"] = API_VERSION
    kind: Literal["ModelProfile"] = "ModelProfile"
    metadata: ProfileMetadata
    spec: ProfileSpec


def resolution_tokens(resolution: Resolution) -> int:
    """Tokens of one latent frame at this resolution."""
    return resolution.width * resolution.height // 256


def parse_profiles(text: str, *, origin: str) -> list[ModelProfile]:
    """Read ModelProfile documents. Raises InvalidManifest with every mistake."""
    profiles: list[ModelProfile] = []
    problems: list[FieldProblem] = []
    for document in read_documents(text, origin=origin):
        profile, mistakes = validate(ModelProfile, _with_model(document.value))
        problems += [FieldProblem(document.at(path), message) for path, message in mistakes]
        if profile is not None:
            profiles.append(profile)
    if problems:
        raise InvalidManifest(problems, origin=origin)
    return profiles


def load_profiles(paths: Sequence[Path] | None = None) -> tuple[ProfileRow, ...]:
    """The rows of these files, or the seed rows that come with Genlock. Raises InvalidManifest, OSError."""
    if paths is None:
        return _seed_rows()
    return _rows({str(path): path.read_text(encoding="utf-8") for path in paths})


@cache
def _seed_rows() -> tuple[ProfileRow, ...]:
    """They are part of the program, and to read them takes a third of a second of CPU: once for each process."""
    folder = resources.files("genlock_core.sizing") / "profiles"
    return _rows({entry.name: entry.read_text() for entry in folder.iterdir() if entry.name.endswith(".yaml")})


def _rows(texts: Mapping[str, str]) -> tuple[ProfileRow, ...]:
    """Those of all texts, by their names in order."""
    return tuple(
        row
        for name in sorted(texts)
        for profile in parse_profiles(texts[name], origin=name)
        for row in profile.spec.rows
    )


def profiles_with(own: Sequence[Path]) -> tuple[ProfileRow, ...]:
    """The seed rows and `own_rows`, which take the place of seed rows for the same measurement. Raises as that."""
    return _newest([*load_profiles(), *own_rows(own)])


def own_rows(paths: Sequence[Path]) -> tuple[ProfileRow, ...]:
    """The rows of a user's own files; where two have the same measurement, the last one's. Raises InvalidManifest,
    BadInput for a file that cannot be read."""
    rows: list[ProfileRow] = []
    for path in paths:
        try:
            rows += load_profiles([path])
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"cannot read the profile {path}: {error}") from None
    return _newest(rows)


def _newest(rows: Iterable[ProfileRow]) -> tuple[ProfileRow, ...]:
    """One row for each measurement, in the place of its first and with the figures of its last."""
    return tuple({_measurement(row): row for row in rows}.values())


def _measurement(row: ProfileRow) -> tuple[object, ...]:
    """What was measured, without the figures. Figures for the mock alone take no measured row's place."""
    invented = row.engine == "mock"
    coders = row.encoder or "vae", row.decoder or "vae"
    return row.model, row.resolution, row.steps, row.gpu_product, row.gpus, row.sessions, invented, coders


def _with_model(document: Any) -> Any:
    """The document with its own name in every row that has no `model`; the wrong shapes are left to validation."""
    if not isinstance(document, Mapping):
        return document
    metadata, spec = document.get("metadata"), document.get("spec")
    if not isinstance(metadata, Mapping) or not isinstance(spec, Mapping) or not isinstance(spec.get("rows"), list):
        return document
    rows = [{"model": metadata.get("name"), **row} if isinstance(row, Mapping) else row for row in spec["rows"]]
    return {**document, "spec": {**spec, "rows": rows}}
