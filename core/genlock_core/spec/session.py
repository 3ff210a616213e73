"""The StreamSession: what a user writes (`StreamSessionSpec`) and what the system works with (`ResolvedSession`).

Defaults that depend on the quality mode are resolved in one place, `resolve`. Field names on the wire are camelCase.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from genlock_core.durations import MAX_DURATION_MS
from genlock_core.spec.fields import NoiseScale, Prompt, Seed, Steps
from genlock_core.spec.origins import MAX_ORIGINS, Origin
from genlock_core.spec.quantities import Bitrate, Duration, Share
from genlock_core.spec.rules import DEFAULT_STEPS, RULES, Rule, broken

API_VERSION: Final = "genlock.dev/v1alpha1"
KIND: Final = "StreamSession"
RULE_BROKEN = "rule_broken"
"""The pydantic error type of a broken rule across fields."""
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
MODEL_NAME = r"^[a-z0-9][a-z0-9.\-]{0,62}$"
"""A model has the name of its ModelProfile."""
SHORT: JsonDict = {"maxLength": 63}
"""The pattern bounds the length already, but the API server estimates the cost of a rule by `maxLength`."""
MOST_STAND_INS: Final = 4
"""Models that may stand in for a session's own; each of them has to be sized, and looked for when there is no room."""

SloDuration = Annotated[int, Duration(at_least_ms=50, at_most_ms=60_000)]


class Model(BaseModel):
    """Base of everything in a manifest: camelCase on the wire, frozen, unknown fields are mistakes."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid", allow_inf_nan=False
    )


StandIn = Annotated[str, Field(pattern=MODEL_NAME, json_schema_extra=SHORT, description="Name of a ModelProfile.")]
"""A model that may stand in for a session's own."""


class QualityMode(StrEnum):
    """What the session trades: latency against picture quality."""

    LOW_LATENCY = "low-latency"
    BALANCED = "balanced"
    QUALITY = "quality"


class SourceType(StrEnum):
    WEBRTC = "webrtc"
    FILE = "file"
    TEST_PATTERN = "testPattern"
    NONE = "none"


class Orientation(StrEnum):
    """Which side of the generated picture is the longer one."""

    AUTO = "auto"
    """As the source's: it is settled by the first picture of a publication."""
    LANDSCAPE = "landscape"
    PORTRAIT = "portrait"


def orientation_of(width: int, height: int) -> Orientation | None:
    """Landscape or portrait; None for a square."""
    if width == height:
        return None
    return Orientation.LANDSCAPE if width > height else Orientation.PORTRAIT


class PictureFit(StrEnum):
    """How a source's picture of another shape comes into the generated one."""

    FIT = "fit"
    FILL = "fill"
    CROP = "crop"


class AccessMode(StrEnum):
    TOKEN = "Token"  # noqa: S105 - the word of the manifest, not a secret
    PUBLIC = "Public"


class ApproximationPolicy(StrEnum):
    NEVER = "Never"
    ADAPTIVE = "Adaptive"


class SnapshotPolicy(StrEnum):
    EVERY_CHUNK = "EveryChunk"
    NEVER = "Never"


class Phase(StrEnum):
    """Where a session is in its life; the words of `status.phase`, the record, the metrics and the page."""

    PENDING = "Pending"
    ASSIGNED = "Assigned"
    LIVE = "Live"
    RECOVERING = "Recovering"
    DRAINING = "Draining"
    ENDED = "Ended"
    FAILED = "Failed"


M = TypeVar("M", bound=Model)


def checked(model: M, scope: tuple[str, ...], rules: Sequence[Rule] = RULES) -> M:
    """The model, if it keeps every rule of its scope. Raises PydanticCustomError, of type RULE_BROKEN."""
    found = list(broken(model.model_dump(mode="json", by_alias=True), [rule for rule in rules if rule.scope == scope]))
    if found:
        raise PydanticCustomError(RULE_BROKEN, "{message}", {"message": "; ".join(str(problem) for problem in found)})
    return model


MAX_GENERATED_SIDE: Final = 1_920
MAX_PICTURE_BYTES: Final = MAX_GENERATED_SIDE * MAX_GENERATED_SIDE * 3
"""Of the largest picture that a session makes, in RGB."""


_Side = Annotated[int, Field(ge=64, le=MAX_GENERATED_SIDE, multiple_of=16)]


class Resolution(Model):
    """Size of the generated picture in pixels; both sides are multiples of 16 (the model's patch and VAE stride)."""

    width: _Side = Field(description="Width in pixels, a multiple of 16.")
    height: _Side = Field(description="Height in pixels, a multiple of 16.")

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def orientation(self) -> Orientation | None:
        return orientation_of(self.width, self.height)

    def turned(self, orientation: Orientation | None) -> "Resolution":
        """The same number of pixels in this orientation; as it is for auto and for None."""
        if orientation in (None, Orientation.AUTO) or self.orientation in (None, orientation):
            return self
        return Resolution(width=self.height, height=self.width)

    def is_alike(self, other: "Resolution") -> bool:
        """Whether both are the same but for a turn: then they cost the same."""
        return other in (self, Resolution(width=self.height, height=self.width))


class SourceSpec(Model):
    """Where the input pictures come from."""

    type: SourceType = Field(
        SourceType.WEBRTC,
        description="webrtc: a WHIP publisher; file: a file of the worker; testPattern: a moving picture; "
        "none: prompt only.",
    )
    path: str | None = Field(
        None, min_length=1, max_length=1_024, description="For file: the path below the worker's media root."
    )
    loop: bool = Field(default=True, description="For file: start again at its end; false ends the session there.")

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Self:
        return checked(self, ("source",))


class OutputSpec(Model):
    """The stream that viewers get."""

    codec: Literal["h264", "vp8"] = Field("h264", description="The codec that is encoded by default.")
    bitrate: Bitrate = Field(1_500_000, description="Target bitrate, for example 1500k.")


class Slo(Model):
    """What the session promises its viewers; what is left out comes from the quality mode."""

    time_to_first_frame: SloDuration | None = Field(
        None, description="From the publisher's first frame in to the first generated frame out."
    )
    frame_deadline: SloDuration | None = Field(
        None, description="How long after a chunk's last input frame its first generated frame is due."
    )
    miss_budget: Share = Field(0.01, description="The share of frames that may be late, for example 1%.")


class Approximation(Model):
    """May the system lower the denoising steps, after them the frame rate, and let another model in, under load?"""

    policy: ApproximationPolicy = Field(
        ApproximationPolicy.ADAPTIVE, description="Adaptive: under load the system may lower the steps."
    )
    min_steps: Steps = Field(1, description="Never lower than this many steps.")
    min_frame_rate: int | None = Field(
        None,
        ge=1,
        le=60,
        description="Under load, once the steps are at minSteps, every second frame of the source may be left out. "
        "Never if half of frameRate is lower than this, if this is left out, or if there is no source.",
    )
    models: tuple[StandIn, ...] = Field(
        (),
        max_length=MOST_STAND_INS,
        description="Models that may stand in where the session's own has no room when it begins, whatever the policy; "
        "the first that has. It keeps that model then.",
    )


class Recovery(Model):
    """What survives the death of a worker."""

    snapshot: SnapshotPolicy = Field(
        SnapshotPolicy.EVERY_CHUNK, description="EveryChunk: sinks and window survive a crash; Never: a fresh start."
    )


class AccessSpec(Model):
    """Who may publish and who may watch."""

    publish: AccessMode = Field(AccessMode.TOKEN, description="Token or Public.")
    view: AccessMode = Field(AccessMode.PUBLIC, description="Token or Public.")
    origins: tuple[Origin, ...] = Field(
        (),
        max_length=MAX_ORIGINS,
        description="Web sites whose pages may show a session that everybody may view, each as https://HOST or "
        "https://HOST:PORT; * for all. They never steer it.",
    )


class StreamSessionSpec(Model):
    """The `spec` of a StreamSession as the user writes it."""

    model: str = Field(
        "wan2.1-1.3b", pattern=MODEL_NAME, json_schema_extra=SHORT, description="Name of a ModelProfile."
    )
    quality_mode: QualityMode = Field(
        QualityMode.BALANCED,
        description="What it trades, latency against picture: sets the defaults of steps, resolution and slo.",
    )
    steps: Steps | None = Field(
        None,
        description="Denoising steps, 1 to 4 (low-latency: 1 or 2); more steps, a better picture, more GPU.",
    )
    resolution: Resolution | None = Field(None, description="Size of the generated picture.")
    orientation: Orientation | None = Field(
        None,
        description="landscape or portrait: the resolution is turned to it; auto: to that of a publication's first "
        "picture. Left out: the resolution as it is written.",
    )
    fit: PictureFit = Field(
        PictureFit.CROP,
        description="A source's picture of another shape: fit shows all of it between bars, fill stretches it, crop "
        "cuts off what is too much.",
    )
    frame_rate: int = Field(16, ge=1, le=60, description="Frames per second of the generated stream.")
    prompt: Prompt = Field(
        "a watercolour painting",
        description="What the picture becomes; a change reaches a live session with its next chunk.",
    )
    seed: Seed = Field(0, description="Seed of all noise: same seed and input, same picture.")
    noise_scale: NoiseScale = Field(0.8, description="Upper bound of the motion-aware noise controller.")
    source: SourceSpec = Field(default_factory=SourceSpec, description="Where the input pictures come from.")
    output: OutputSpec = Field(default_factory=OutputSpec, description="The stream that viewers get.")
    slo: Slo = Field(default_factory=Slo, description="What the session promises its viewers.")
    approximation: Approximation = Field(default_factory=Approximation, description="What may give way under load.")
    recovery: Recovery = Field(default_factory=Recovery, description="What survives the death of a worker.")
    access: AccessSpec = Field(default_factory=AccessSpec, description="Who may publish and who may watch.")
    idle_timeout: Annotated[int, Duration(at_least_ms=1_000)] = Field(
        600_000, description="The session ends after this long without a publisher and without a viewer."
    )
    ttl_seconds_after_finished: int = Field(
        3_600, ge=0, le=MAX_DURATION_MS // 1_000, description="How long the ended session's record is kept."
    )

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Self:
        return checked(self, ())


class ModeDefaults(Model):
    """What a quality mode stands for: the figures that a manifest need not name."""

    steps: int
    resolution: Resolution
    frame_deadline_ms: int
    time_to_first_frame_ms: int


MODE_DEFAULTS: dict[QualityMode, ModeDefaults] = {
    QualityMode.LOW_LATENCY: ModeDefaults(
        steps=DEFAULT_STEPS["low-latency"],
        resolution=Resolution(width=512, height=512),
        frame_deadline_ms=250,
        time_to_first_frame_ms=500,
    ),
    QualityMode.BALANCED: ModeDefaults(
        steps=DEFAULT_STEPS["balanced"],
        resolution=Resolution(width=832, height=480),
        frame_deadline_ms=500,
        time_to_first_frame_ms=500,
    ),
    QualityMode.QUALITY: ModeDefaults(
        steps=DEFAULT_STEPS["quality"],
        resolution=Resolution(width=832, height=480),
        frame_deadline_ms=1_000,
        time_to_first_frame_ms=1_000,
    ),
}


class SessionKey(Model):
    """A session's name in its namespace; `str()` gives `namespace/name`, the form in Redis, URLs and logs."""

    namespace: Annotated[str, Field(pattern=DNS_LABEL)] = "default"
    name: Annotated[str, Field(pattern=DNS_LABEL)]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> "SessionKey":
        """`demo` or `default/demo`. Raises pydantic.ValidationError."""
        namespace, _, name = text.rpartition("/")
        return cls(namespace=namespace or "default", name=name)


class ResolvedSession(Model):
    """A session with every default filled in: what the record carries and what worker and gateway read."""

    key: SessionKey
    model: str
    quality_mode: QualityMode
    steps: Steps
    resolution: Resolution
    """Turned as `orientation` wants it; for auto that of before the first publication."""
    orientation: Orientation | None = None
    fit: PictureFit = PictureFit.CROP
    frame_rate: int
    prompt: Prompt
    seed: Seed
    noise_scale: NoiseScale
    source: SourceSpec
    output: OutputSpec
    time_to_first_frame_ms: int
    frame_deadline_ms: int
    miss_budget: float
    approximation: Approximation
    recovery: Recovery
    access: AccessSpec
    idle_timeout_ms: int
    ttl_seconds_after_finished: int

    @property
    def may_halve(self) -> bool:
        """Whether overload may leave out every second frame of the source, once the steps are at their minimum.

        What is made without a source would only play slower.
        """
        may = self.approximation
        return (
            may.policy is ApproximationPolicy.ADAPTIVE
            and may.min_frame_rate is not None
            and 2 * may.min_frame_rate <= self.frame_rate
            and self.source.type is not SourceType.NONE
        )


def resolve(key: SessionKey, spec: StreamSessionSpec) -> ResolvedSession:
    """Fill in every default; the only place where a quality mode turns into figures."""
    mode = MODE_DEFAULTS[spec.quality_mode]
    return ResolvedSession(
        key=key,
        model=spec.model,
        quality_mode=spec.quality_mode,
        steps=spec.steps or mode.steps,
        resolution=(spec.resolution or mode.resolution).turned(spec.orientation),
        orientation=spec.orientation,
        fit=spec.fit,
        frame_rate=spec.frame_rate,
        prompt=spec.prompt,
        seed=spec.seed,
        noise_scale=spec.noise_scale,
        source=spec.source,
        output=spec.output,
        time_to_first_frame_ms=spec.slo.time_to_first_frame or mode.time_to_first_frame_ms,
        frame_deadline_ms=spec.slo.frame_deadline or mode.frame_deadline_ms,
        miss_budget=spec.slo.miss_budget,
        approximation=spec.approximation,
        recovery=spec.recovery,
        access=spec.access,
        idle_timeout_ms=spec.idle_timeout,
        ttl_seconds_after_finished=spec.ttl_seconds_after_finished,
    )
