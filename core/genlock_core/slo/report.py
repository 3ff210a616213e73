"""The StreamReport: a session's live figures, from the worker over the gateway to page, command line and status.

The worker sends one a second and session (link type STATS); the gateway adds what only it can see. Unknown fields are
ignored, because worker and gateway of two releases talk to each other during a rollout; everything else is checked.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from genlock_core.errors import GenlockError
from genlock_core.slo.sink_digests import SinkDigests
from genlock_core.slo.stages import Leg
from genlock_core.spec.fields import MAX_PROMPT_CHARS

MAX_REPORT_BYTES = 32 * 1024
"""A larger report is refused unread."""

_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Figure = Annotated[float, Field(ge=0)]
_Text = Annotated[str, Field(max_length=256)]


class InvalidReport(GenlockError):
    """A report that is not one; the message says which field is wrong."""


class _Part(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True, allow_inf_nan=False
    )


class Percentiles(_Part):
    """Median and 99th percentile of the last measured values, in milliseconds."""

    p50: _Figure
    p99: _Figure


class Ages(_Part):
    """Median and 95th percentile of the last half minute, in milliseconds."""

    p50: _Figure
    p95: _Figure


class SnapshotReport(_Part):
    """The last snapshot: the chunk it holds, its size and how long it took; `error` says why the last try failed.

    `short`: it failed for want of room, and so will the next ones until there is some.
    """

    chunk: Annotated[int, Field(ge=-1, lt=2**63)] = -1
    bytes: _Count = 0
    ms: _Figure = 0.0
    error: _Text = ""
    short: bool = False


class EncoderReport(_Part):
    """What is encoded now."""

    codec: _Text = ""
    kbps: _Figure = 0.0


class StreamReport(_Part):
    """A session's figures; rates are means over the last seconds, counts run from the start on this worker."""

    chunk: Annotated[int, Field(ge=-1, lt=2**63)] = -1
    """The last generated chunk; -1 before the first."""
    steps: Annotated[int, Field(ge=0, le=4)] = 0
    """Denoising steps in use; lower than `requested_steps` while the system approximates."""
    requested_steps: Annotated[int, Field(ge=0, le=4)] = 0
    frame_rate: Annotated[float, Field(gt=0)] | None = None
    """Frames per second that it runs at: half of the session's own while the system leaves out every second frame of
    its source. None from a worker that never does."""
    prompt: Annotated[str, Field(max_length=MAX_PROMPT_CHARS)] = ""
    paused: bool = False
    strained: bool = False
    """The worker's machine is too busy for its engine, which makes pictures plainer to keep its pace."""
    input_fps: _Figure = 0.0
    output_fps: _Figure = 0.0
    dropped_input: _Count = 0
    """Input frames that never became part of a chunk."""
    frames_out: _Count = 0
    late_frames: _Count = 0
    """Frames that were sent after their due time."""
    miss_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    first_frame_ms: _Figure | None = None
    """First input frame in to first generated frame out, at the worker."""
    chunk_latency_ms: Percentiles | None = None
    """Chunk complete to its first frame sent."""
    engine_ms: Percentiles | None = None
    """One micro-step."""
    real_time_factor: _Figure | None = None
    """The engine's seconds for a second of video, of the last chunks; below 1 it keeps ahead (`slo.continuity`)."""
    batch_rows: _Figure = 0.0
    """Mean rows per micro-step."""
    memory_bytes: _Count | None = None
    """Memory of the worker's device that is set aside for it; None from an engine that does not count it."""
    stages: Annotated[dict[_Text, _Figure], Field(max_length=32)] = Field(default_factory=dict)
    """Mean milliseconds per leg (`genlock_core.slo.stages.Leg`) of the last frames."""
    sink_digest: _Text = ""
    """Of the row that every session has for its whole life; "" before its first sink."""
    sink_digests: SinkDigests | None = None
    """By row; None from a worker or over a link that knows no such digests."""
    trouble: _Text = ""
    """A word of `media.Trouble`: why the worker cannot decode the publisher's pictures; "" if it can."""
    restored: bool = False
    recovery_ms: _Figure | None = None
    """Claim taken to first frame sent, if this worker restored the session."""
    snapshot: SnapshotReport = SnapshotReport()
    encoder: EncoderReport = EncoderReport()
    # What the gateway adds.
    viewers: _Count | None = None
    worker: _Text | None = None
    epoch: _Count | None = None
    moves: _Count | None = None
    freezes: _Count | None = None
    last_recovery_gap_ms: _Figure | None = None
    recovery_legs_ms: Annotated[dict[_Text, _Figure], Field(max_length=16)] | None = None
    """Where the time of the last recovery went, by leg (the gateway's `RecoveryLeg`)."""
    first_frame_legs_ms: Annotated[dict[_Text, _Figure], Field(max_length=16)] | None = None
    """Where the time to the first frame went, by leg (the gateway's `FirstFrameLeg`)."""
    latency_ms: Percentiles | None = None
    """Capture at the gateway to sent to viewers, where this gateway is also the publisher's."""

    continuous_play_ratio: Annotated[float, Field(ge=0, le=1)] | None = None
    """The share of its time in which the next picture was there when due, as viewers here saw it (`slo.continuity`)."""
    time_to_first_chunk_ms: _Figure | None = None
    """The publisher's offer to the first picture that viewers here got, where its publisher is at this gateway."""
    picture_age_ms: Ages | None = None
    """How long ago what viewers here see was captured, where its publisher is at this gateway."""

    @classmethod
    def parse(cls, data: bytes | str) -> "StreamReport":
        """Read JSON from the other side. Raises InvalidReport; larger than `MAX_REPORT_BYTES` is refused unread."""
        if len(data) > MAX_REPORT_BYTES:
            raise InvalidReport(f"a report of {len(data)} bytes; at most {MAX_REPORT_BYTES} are accepted")
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or "report"
            raise InvalidReport(f"{field}: {first['msg']}") from None

    def with_gateway(self, **figures: Any) -> "StreamReport":
        """The same report with the gateway's fields, for example `viewers=3, worker="w0"`. Raises ValidationError."""
        return type(self).model_validate({**self.model_dump(), **figures})

    def to_json(self) -> bytes:
        """The wire form, camelCase, without what is unknown."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values, for a larger document."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def leg_ms(budget_us: Mapping[Leg, float]) -> dict[str, float]:
    """A latency budget in microseconds, as `StreamReport.stages` has it."""
    return {leg.value: round(value / 1_000, 3) for leg, value in budget_us.items()}
