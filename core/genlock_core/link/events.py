"""What the link tells its owner: one frozen type per thing that can happen."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from genlock_core.link.frames import Track
from genlock_core.link.messages import LinkRole, Open, RefusalReason, Subscribe
from genlock_core.media import AccessUnit, Codec, SourcePosition, StillPicture
from genlock_core.slo.stages import StageTimes


@dataclass(frozen=True, slots=True)
class LinkIdentity:
    """One end of a link: a process. `incarnation` is new with every start of it."""

    role: LinkRole
    name: str
    incarnation: str

    def __str__(self) -> str:
        return f"{self.role} {self.name} ({self.incarnation})"


@dataclass(frozen=True, slots=True)
class Connected:
    """Both sides have shown that they know the secret; `minor` is the version that both speak."""

    peer: LinkIdentity
    minor: int


@dataclass(frozen=True, slots=True)
class OpenRequested:
    """At the worker: answer with `accept` or `refuse`."""

    channel: int
    request: Open


@dataclass(frozen=True, slots=True)
class SubscriptionRequested:
    """At the worker: answer with `accept` or `refuse`; then pictures may flow until the subscriber's time is over."""

    channel: int
    request: Subscribe


@dataclass(frozen=True, slots=True)
class SubscriptionRenewed:
    """At the worker: the subscriber still asks; its time is `ttl_s` from now."""

    channel: int
    session: str
    ttl_s: float


@dataclass(frozen=True, slots=True)
class PictureReceived:
    """At the gateway: a picture of a session that it subscribed to. Pictures before it may have been replaced."""

    channel: int
    session: str
    epoch: int
    picture: StillPicture


@dataclass(frozen=True, slots=True)
class ChannelOpened:
    """At the gateway: the worker serves the session in this epoch; media, or pictures, may flow.

    `restore_ms`: how long it took to take the session over; None if it does not say.
    """

    channel: int
    session: str
    epoch: int
    restore_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ChannelRefused:
    """At the gateway: the worker does not serve the session; `epoch` is the one that it knows of (0: none)."""

    channel: int
    session: str
    reason: RefusalReason
    message: str
    epoch: int


@dataclass(frozen=True, slots=True)
class ChannelClosed:
    """The peer closed the channel."""

    channel: int
    session: str
    reason: str


@dataclass(frozen=True, slots=True)
class MediaReceived:
    """One access unit. `sequence` counts per channel and codec; what a gap leaves out was dropped by the sender, and a
    key frame follows it."""

    channel: int
    session: str
    epoch: int
    unit: AccessUnit
    run: int
    sequence: int
    replay: bool = False
    late: bool = False
    stages: StageTimes = field(default_factory=StageTimes)


@dataclass(frozen=True, slots=True)
class KeyFrameWanted:
    """The peer asks for an IDR of what this side sends in `codec`.

    `after`: it is to be the first picture after this place, and what stands before it need not come.
    """

    channel: int
    session: str
    codec: Codec
    after: SourcePosition | None = None


@dataclass(frozen=True, slots=True)
class CodecsWanted:
    """At the worker: the output codecs that this gateway has viewers for, all of them."""

    channel: int
    session: str
    codecs: frozenset[Codec]


@dataclass(frozen=True, slots=True)
class ControlNudged:
    """At the worker: there is something new in the session's control stream."""

    channel: int
    session: str


@dataclass(frozen=True, slots=True)
class SourceChanged:
    """At the worker: the publisher came or went."""

    channel: int
    session: str
    present: bool
    run: int


@dataclass(frozen=True, slots=True)
class StatsReceived:
    """At the gateway: the worker's report, the fields of `slo.report.StreamReport`."""

    channel: int
    session: str
    report: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class HandedOver:
    """At the gateway: the session moved politely to the worker at `address`, in `epoch`."""

    channel: int
    session: str
    epoch: int
    address: str


@dataclass(frozen=True, slots=True)
class MediaDropped:
    """This side could not send fast enough: `count` units were dropped. Make an IDR, nothing goes out before it."""

    channel: int
    track: Track
    codec: int
    count: int


@dataclass(frozen=True, slots=True)
class PeerSilent:
    """The peer has made no progress for `silent_s`; said once, until PeerProgressing."""

    silent_s: float


@dataclass(frozen=True, slots=True)
class PeerProgressing:
    """A peer that was silent makes progress again."""


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """The peer said goodbye and closes the connection; an end without this is a death."""

    reason: str


Event = (
    Connected
    | OpenRequested
    | SubscriptionRequested
    | SubscriptionRenewed
    | PictureReceived
    | ChannelOpened
    | ChannelRefused
    | ChannelClosed
    | MediaReceived
    | KeyFrameWanted
    | CodecsWanted
    | ControlNudged
    | SourceChanged
    | StatsReceived
    | HandedOver
    | MediaDropped
    | PeerSilent
    | PeerProgressing
    | PeerLeft
)
