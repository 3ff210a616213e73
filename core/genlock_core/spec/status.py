"""The `status` of a StreamSession: what the operator writes and people read with kubectl."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from genlock_core.spec.session import Model, Phase

Count = Annotated[int, Field(ge=0)]
Figure = Annotated[float, Field(ge=0)]
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""RFC 3339, UTC, whole seconds."""


class ConditionType(StrEnum):
    """What a condition is about; True is the good news of each."""

    PLACED = "Placed"
    """Some pool can serve the session in time (False: the message says what would help)."""
    ASSIGNED = "Assigned"
    """A worker owns it."""
    LIVE = "Live"
    """Generated frames reach the gateways."""
    SOURCE_USABLE = "SourceUsable"
    """Pictures are made of what is published. It stands there from the first trouble on."""
    SNAPSHOTS_STORED = "SnapshotsStored"
    """What the session would go on from is kept up to date. It stands there from the first lack of room on."""
    SLO_MET = "SloMet"
    """The share of late frames is within the miss budget."""


class Condition(Model):
    """One condition, in the usual form of Kubernetes."""

    type: str = Field(max_length=64, description="What it is about; True is the good news.")
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    reason: str = Field(
        max_length=128, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", description="One word for programs."
    )
    message: str = Field(max_length=4_096, description="A sentence for people.")
    last_transition_time: Timestamp = Field(description="When the status last changed.")
    observed_generation: Count | None = Field(None, description="The generation of the spec that this speaks of.")


class Endpoints(Model):
    """Where to publish, watch and look."""

    whip: str = Field(description="WHIP URL: publish here.")
    whep: str = Field(description="WHEP URL: watch here.")
    studio: str = Field(description="The page to publish and steer with a browser.")
    watch: str = Field(description="The page with nothing but the picture.")


class LevelReason(StrEnum):
    """Why a session runs below what it asks for."""

    BUSY = "Busy"
    """Other sessions need the room."""
    NO_ROOM = "NoRoom"
    """Its worker has no room for more."""
    TOO_LATE = "TooLate"
    """More was measured to be later than its frameDeadline."""


class StatusLevel(Model):
    """What a session is granted where it asks for more. It changes only with its level, never with a figure."""

    steps: Annotated[int, Field(ge=1, le=4)] = Field(description="Denoising steps that it is granted.")
    frame_rate: Figure = Field(description="Generated frames per second that it is granted.")
    since: Timestamp = Field(description="Since when it has less than it asks for.")
    reason: LevelReason = Field(
        description="Busy: others need the room; NoRoom: its worker has no more; TooLate: more was measured to be "
        "later than its frameDeadline."
    )


class Figures(Model):
    """The stream's figures, written at most once in 30 seconds."""

    output_fps: Figure = Field(0.0, description="Generated frames per second.")
    miss_share: Annotated[float, Field(ge=0, le=1)] = Field(0.0, description="Share of frames that were late, 0 to 1.")
    first_frame_ms: Figure | None = Field(None, description="Time to first frame in milliseconds.")
    latency_ms: Figure | None = Field(None, description="Median latency in milliseconds, capture to sent to viewers.")
    freezes: Count = Field(0, description="Freezes since the session began.")
    last_recovery_gap_ms: Figure | None = Field(None, description="The freeze of the last move in milliseconds.")
    continuous_play_ratio: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Share of its time, 0 to 1, in which the next picture was there when due."
    )
    time_to_first_chunk_ms: Figure | None = Field(
        None, description="The publisher's offer to the first generated picture, in milliseconds."
    )
    real_time_factor: Figure | None = Field(
        None, description="The engine's seconds for a second of video; below 1 it keeps ahead."
    )
    picture_age_p50_ms: Figure | None = Field(None, description="Median age of what viewers see, in milliseconds.")
    picture_age_p95_ms: Figure | None = Field(None, description="Its 95th percentile.")
    updated: Timestamp = Field(description="When these figures were read.")


class SessionStatus(Model):
    """What the system has made of a StreamSession."""

    phase: Phase = Field(Phase.PENDING, description="Where the session is in its life.")
    reason: str = Field("", max_length=4_096, description="Why it is in this phase, in a sentence.")
    observed_generation: Count | None = Field(None, description="The generation of the spec that this speaks of.")
    worker: str | None = Field(None, description="The worker that owns it.")
    pool: str | None = Field(None, description="That worker's pool.")
    epoch: Count | None = Field(None, description="The epoch of the claim; grows with every move.")
    gpus: Count | None = Field(None, description="GPUs of the worker that owns it.")
    gpu_share: Figure | None = Field(None, description="GPUs that it takes of them: its share of the worker.")
    steps: Annotated[int, Field(ge=1, le=4)] | None = Field(None, description="Denoising steps in use.")
    stand_in: str | None = Field(None, description="The model that stands in for its own; left out: none does.")
    level: StatusLevel | None = Field(None, description="What it is granted, while that is less than it asks for.")
    resolution: str | None = Field(None, description="Size of the generated picture, such as 832x480.")
    viewers: Count = Field(0, description="How many watch.")
    moves: Count = Field(0, description="How often it changed its worker.")
    unprofiled: list[Annotated[str, Field(max_length=256, description="What was not measured, in words.")]] = Field(
        default_factory=list, max_length=16, description="Service levels that nobody measured for its placement."
    )
    endpoints: Endpoints | None = Field(None, description="Where to publish, watch and look.")
    figures: Figures | None = Field(None, description="The stream's figures.")
    finished: Timestamp | None = Field(None, description="When it ended or failed.")
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        description="Placed, Assigned, Live, SloMet.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
