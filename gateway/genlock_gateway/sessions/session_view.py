"""What the API, the pages and the data channel say and take; `showing` makes a session's view."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from genlock_core.approximation.levels import Level, share_of
from genlock_core.claims.record import SessionRecord
from genlock_core.media import Trouble
from genlock_core.situation.lowered import LoweredReason, lowered
from genlock_core.situation.states import OfferedAct, SessionState, Tone, WaitingFor
from genlock_core.situation.words import LOWERED
from genlock_core.slo.report import StreamReport
from genlock_core.spec.engines import EngineKind
from genlock_core.spec.quantities import Duration
from genlock_core.spec.session import (
    AccessSpec,
    Orientation,
    Phase,
    PictureFit,
    QualityMode,
    Resolution,
    SourceSpec,
)


class _Shown(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True, frozen=True
    )


class EndpointsView(_Shown):
    """Where the session is published and watched: paths on any gateway."""

    whip: str
    whep: str
    studio: str
    watch: str


class LevelView(_Shown):
    """What is granted of what is asked for: it runs no more, and may run less while its worker's machine is busy."""

    steps: int = Field(description="So many denoising steps are granted.")
    requested: int = Field(description="So many are asked for.")
    reason: LoweredReason | None = Field(
        description="busy: others need the room; no-room: its worker has no more; both are granted as soon as there is "
        "room. too-late: more was measured to be later than its frame deadline. "
        "Null where all is granted."
    )
    detail: str = Field(description="The same in words; empty where all is granted.")

    @classmethod
    def of(cls, *, requested: Level, granted: Level, fits: bool) -> "LevelView":
        """`granted` may be more: what nobody asks for any longer is given back after a while. `fits`: it is all that
        this pool has a price for; more was measured to be too late."""
        has = granted.at_most(requested)
        reason, detail = _answer(has, requested, fits=fits)
        return cls(steps=has.steps, requested=requested.steps, reason=reason, detail=detail)


def _answer(granted: Level, requested: Level, *, fits: bool) -> tuple[LoweredReason | None, str]:
    """Why it is not all, and that in words."""
    if granted == requested:
        return None, ""
    share = share_of(granted, requested)
    if fits:
        return LoweredReason.TOO_LATE, f"{share}: {LOWERED[LoweredReason.TOO_LATE]}"
    return LoweredReason.NO_ROOM, f"no room: {share}, until its worker has room for more"


class SessionLevelView(LevelView):
    """What the record says of a session's level."""

    frame_rate: float = Field(description="So many generated frames per second are granted.")
    since: AwareDatetime | None = Field(description="Since when it has less than it asks for; null if it has not.")

    @classmethod
    def in_record(cls, record: SessionRecord) -> "SessionLevelView | None":
        """None where no worker serves the session, and where its release knows no levels."""
        if record.owner is None or record.granted is None:
            return None
        less = lowered(record)
        if less is None:
            steps = record.requested_steps
            frame_rate = float(record.session.frame_rate)
            return cls(steps=steps, requested=steps, frame_rate=frame_rate, reason=None, detail="", since=None)
        return cls(
            steps=less.granted.steps,
            requested=less.requested.steps,
            frame_rate=less.frame_rate,
            reason=less.reason,
            detail=f"{less.share}: {LOWERED[less.reason]}",
            since=datetime.fromtimestamp(less.since_ms // 1_000, UTC) if less.since_ms else None,
        )


class SituationView(_Shown):
    """What is going on, in words for the person who asks."""

    headline: str = Field(description="A few words.")
    detail: str = Field(description="What it means and what to do; empty if that is plain.")
    tone: Tone
    offers: list[OfferedAct] = Field(description="What the person can do, and may.")


class SessionView(_Shown):
    """One session. `viewers`, `publisher` and `stats` are those of the gateway that answers."""

    namespace: str
    name: str
    phase: Phase
    reason: str = Field(
        description="Why the phase is what it is, in a word; no-capacity: no worker has room. Empty if it is plain."
    )
    state: SessionState = Field(description="What is going on, in a word.")
    situation: SituationView
    waiting_for: WaitingFor | None = Field(description="Whom or what it waits for; null if it waits for nothing.")
    role: Literal["publish", "view"] = Field(description="What whoever asks may do.")
    publishing: bool = Field(description="Whether anybody publishes, at any gateway.")
    engine: EngineKind | None = Field(description="What paints; null if nobody says.")
    model: str = Field(description="The model that was asked for.")
    stand_in: str | None = Field(None, description="The model that stands in for it; null: it runs with its own.")
    quality_mode: QualityMode
    steps: int = Field(description="Denoising steps that are asked for.")
    level: SessionLevelView | None = Field(
        None, description="What is granted; null where no worker serves the session, or nobody says."
    )
    resolution: Resolution = Field(description="What is made: turned, once the orientation is settled.")
    orientation: Orientation | None = Field(
        description="landscape, portrait, or auto: as the first picture of a publication; null: as it was written."
    )
    fit: PictureFit = Field(description="How a source's picture of another shape comes into the made one.")
    frame_rate: int
    prompt: str
    noise_scale: float
    paused: bool
    source: SourceSpec
    access: AccessSpec
    time_to_first_frame_ms: int
    frame_deadline_ms: int
    worker: str | None
    pool: str | None
    epoch: int
    gpus: int | None = Field(description="GPUs of the worker that serves it; null if nobody does.")
    viewers: int
    publisher: bool = Field(description="Whether the publisher is at the gateway that answers.")
    trouble: Trouble | None = Field(None, description="Why what is published makes no picture; null if it does.")
    endpoints: EndpointsView
    stats: StreamReport | None = None


class ControlAccepted(_Shown):
    """A change is stored; what of the steps that it asks for is granted."""

    id: str = Field(description="The change's id in the session's control stream.")
    level: LevelView | None = Field(
        None, description="Null where no steps were asked for, and where no worker serves the session."
    )


class Moved(_Shown):
    """The session's new worker and epoch."""

    worker: str
    epoch: int


class ViewerLinkRequest(_Shown):
    """How long a link for a viewer is good; a day if nothing is said."""

    model_config = ConfigDict(extra="forbid")

    lifetime: Annotated[int, Duration(at_least_ms=60_000, at_most_ms=30 * 24 * 3_600_000)] = Field(
        24 * 3_600_000,
        description="From a minute to 30 days, for example 90m.",
        # Else the schema would say it in milliseconds.
        json_schema_extra={"default": "24h"},
    )


class ViewerLink(_Shown):
    """What to give somebody who shall watch. The token ends, and so does what the link opens from then on."""

    path: str = Field(description="The watch page; the token stands after the #, which no server is sent.")
    token: str | None = Field(description="For the role view on this session; null where everybody may watch.")
    expires: AwareDatetime | None = Field(description="When the token ends; null where there is none.")


class ProblemDocument(_Shown):
    """An error (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] | None = Field(None, description="Every mistake: {path, message}.")
    reason: str | None = Field(None, description="A word that clients can test, on 403 for a token, on 409 and on 503.")
    token_needed: bool | None = Field(None, description="With wrong-token: whether no token is refused too.")


def as_json(view: SessionView, *, without_stats: bool = False) -> dict[str, Any]:
    """The view as JSON values."""
    return view.model_dump(mode="json", exclude={"stats"} if without_stats else None)
