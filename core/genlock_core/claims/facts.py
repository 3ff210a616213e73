"""What the claims answer: claims, moves, renewals, workers as seen from outside, assignments and events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from genlock_core.approximation.levels import Level
from genlock_core.claims.identity import FormatRange, WorkerIdentity
from genlock_core.claims.pulse import Vitals
from genlock_core.claims.record import LevelLimit, SessionRecord
from genlock_core.errors import GenlockError, NoCapacity, UnknownSession


class MoveCause(StrEnum):
    """Why a session moves. SILENT and EXPIRED are moves by lease: held back while Redis is newly back."""

    REFUSED = "refused"  # the link is refused: the worker's process is gone
    SILENT = "silent"  # no progress on the link, and the rule of `liveness.should_move` allows it
    EXPIRED = "expired"  # the lease ran out
    DRAIN = "drain"  # the worker leaves politely
    REQUESTED = "requested"  # a person asked


class Fit(StrEnum):
    """What became of a claim whose record asks for another cost than it pays."""

    FITS = "fits"  # it pays what is asked for now
    NO_ROOM = "no-room"  # the worker cannot give that much more: nothing has changed, move it
    ELSEWHERE = "elsewhere"  # its pool is none of the record's any more: move it
    STALE = "stale"  # another epoch holds, or nobody owns it


class GrantOutcome(StrEnum):
    """What became of the wish for so many steps."""

    FITS = "fits"  # all of them are granted that its pool has a price for
    NO_ROOM = "no-room"  # fewer are; the rest is granted as soon as its worker has room
    REFUSED = "refused"  # its worker knows no ceilings and has no room: the wish must not be written down
    UNSERVED = "unserved"  # nobody serves it, or its pool has no levels: what is requested counts


@dataclass(frozen=True, slots=True)
class GrantAnswer:
    """What came of asking for steps."""

    outcome: GrantOutcome
    steps: int | None = None
    """What is granted now; None where nothing is."""
    every: int = 1
    """2: of every second frame alone."""


class LimitOutcome(StrEnum):
    """What became of a limit that a plan of levels set."""

    DONE = "done"  # the claim has, or is about to have, what the plan allows
    STALE = "stale"  # the plan was made of another grant, or of another spec: nothing has changed
    NO_ROOM = "no-room"  # it may have more now, and its worker has no room for all of it: the rest waits


@dataclass(frozen=True, slots=True)
class Waiting:
    """A session that found no room, and asked for it lately."""

    session: str
    since_ms: int
    """In proven time, as all times of a plan."""
    recovers: bool
    """It had a worker."""
    kept_at: str | None = None
    """The worker whose room is kept for it in the pool that was asked for: no other new session comes in there."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What a worker is told of the level of a session that it owns."""

    steps: int
    """No chunk may begin with more."""
    number: int
    """Of the change that granted them; an older one does not count any more."""
    cost: int
    """What the claim pays now, in thousandths."""
    due: int
    """What it will pay once the worker has settled this number: less where the level was lowered."""
    every: int = 1
    """Of so many frames of the source one is used, no more."""
    limit: LevelLimit | None = None
    """What the plan of levels allows it. The worker gives it back to a Redis that has lost it, as the next."""
    below_since_ms: int = 0
    """Since when that is less than what is requested, in proven time; 0: it is not."""

    @property
    def level(self) -> Level:
        return Level(self.steps, every=self.every)


class WorkerState(StrEnum):
    READY = "ready"
    DRAINING = "draining"  # takes no new claims


class AssignmentKind(StrEnum):
    ASSIGN = "assign"
    WITHDRAW = "withdraw"
    LEVEL = "level"  # other steps are granted: the answer to the next heartbeat says which


class EventKind(StrEnum):
    CREATED = "created"
    CLAIMED = "claimed"
    MOVED = "moved"
    RELEASED = "released"
    EXPIRED = "expired"
    PHASE = "phase"
    CONTROL = "control"
    FORGOTTEN = "forgotten"
    WAITING = "waiting"  # it found no room
    ROOM = "room"  # some came up where it waits


@dataclass(frozen=True, slots=True)
class Claim:
    """A session belongs to a worker, under an epoch."""

    session: str
    epoch: int
    worker: WorkerIdentity
    address: str
    """Of the worker's link server, host:port."""
    pool: str
    cost: int
    """Thousandths of the worker that the session takes."""


@dataclass(frozen=True, slots=True)
class Move:
    """What came of asking for a move."""

    claim: Claim
    """The claim that holds now."""
    won: bool
    """Whether this call made it. False: somebody else did; go with that claim."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """The answer to a heartbeat."""

    known: bool
    """False: Redis has lost its data and knows no such worker. The worker reasserts itself."""
    holding: bool
    """Redis is newly back, or takes no writes, and nothing expires yet."""
    owned: Mapping[str, int]
    """Session -> epoch of everything that the worker owns. Whatever else it serves is not its own any more."""
    closed: bool
    """The worker is draining."""
    superseded: bool = False
    """A newer incarnation has this worker's name. The worker stops."""
    snapshots: Mapping[str, int] = field(default_factory=dict)
    """Session -> bytes that its snapshot may hold, of those that were asked for and are owned."""
    ceilings: Mapping[str, Ceiling] = field(default_factory=dict)
    """Session -> what is granted to it, of those owned whose pool has levels."""


@dataclass(frozen=True, slots=True)
class Held:
    """A session that a worker still serves: its claim's epoch and cost, and the record as the worker knows it."""

    session: str
    epoch: int
    cost: int
    record: SessionRecord


@dataclass(frozen=True, slots=True)
class Reasserted:
    """What a worker still owns after Redis lost its data."""

    kept: tuple[str, ...]
    """The worker owns these sessions, under the epochs that it held."""
    refused: tuple[str, ...]
    """The worker stops serving these sessions."""


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as others see it."""

    identity: WorkerIdentity
    pool: str
    model: str
    address: str
    state: WorkerState
    heartbeat_age_ms: int
    """Since its engine last made progress, in proven time: it stands still while Redis takes no writes."""
    progress: int
    """The engine loop's counter."""
    links: Mapping[str, tuple[str, ...]]
    """Session -> names of the gateways that are linked to it for that session."""
    capacity: int
    """In thousandths of a worker, as `free`."""
    free: int
    sessions: Mapping[str, int]
    """Session -> epoch."""
    formats: FormatRange
    gpu_product: str = ""
    gpus: int = 0
    engine: str = ""
    """Empty for a worker from before workers named their engine."""
    vitals: Vitals | None = None
    """None for a worker of the release before, and before its first heartbeat."""
    ceilings: bool = False
    """It runs no more than is granted; one of an older release runs what its users ask for."""
    halves: bool = False
    """It knows levels of every second frame."""
    limits: bool = False
    """Its heartbeats raise no claim above the limit of a plan; those of the release before do."""

    @property
    def is_overloaded(self) -> bool:
        """It is given no new session. One that has none is never overloaded, whatever it says."""
        return self.vitals is not None and self.vitals.overloaded and bool(self.sessions)


class Publishing(StrEnum):
    """Whether a session that takes a publisher has one, at any gateway."""

    NEVER = "never"
    """Nobody has published yet, or not for so long that it is forgotten."""
    GONE = "gone"
    """Somebody did."""
    NOW = "now"


@dataclass(frozen=True, slots=True)
class Room:
    """Whether a session without a worker could get one now."""

    workers: int
    """Workers of its pools that take claims."""
    fits: bool
    """One of them has room for it, at the lowest level that its spec allows at least."""
    next_ms: int | None
    """When a session in these pools that nobody uses gives its place back; None if it fits, or all are in use."""
    overloaded: bool = False
    """Some have room, and are overloaded: they take no new session, as this one is."""
    worker_ms: int | None = None
    """When another worker of its pools is expected to be ready; None if it fits, or nobody can say."""

    @property
    def expected_ms(self) -> int | None:
        """When room is expected, by whatever comes first; nothing is promised."""
        return min((at for at in (self.next_ms, self.worker_ms) if at is not None), default=None)


@dataclass(frozen=True, slots=True)
class Assignment:
    """A message in a worker's inbox. Messages are hints: the truth is `Renewal.owned`.

    An assignment asks the worker to serve `session` under `epoch`. A withdrawal says that the claim of `epoch` is over.
    A change of the level says that it is worth asking for `Renewal.ceilings` now.
    """

    id: str
    kind: AssignmentKind
    session: str
    epoch: int
    cause: MoveCause | None
    """Why the session moves; None for a first claim. A withdrawal by DRAIN or REQUESTED is a handover."""
    successor_epoch: int = 0
    """Of a withdrawal: the epoch under which the session lives on; 0 if nobody owns it now."""
    successor_address: str = ""
    """Of a withdrawal: where the session lives on."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a session."""

    id: str
    kind: EventKind
    session: str
    epoch: int
    detail: str
    """By the kind: the worker's name, the phase, the control entry's id, or the pool."""


class MoveHeld(NoCapacity):
    """A move by lease was asked for while Redis is newly back or takes no writes: no lease can be renewed."""

    def __init__(self, session: str) -> None:
        super().__init__(session, "Redis is newly back or takes no writes; nothing moves by lease", retry_after_s=1.0)


class SessionEnded(UnknownSession):
    """The session is over (Ended or Failed); it is not claimed or moved again."""

    def __init__(self, session: str) -> None:
        self.session = session
        GenlockError.__init__(self, f"{session}: the session has ended; forget it and create it anew")


class PublisherConflict(GenlockError):
    """Somebody else publishes to the session, at `gateway`."""

    def __init__(self, session: str, gateway: str, *, heard: bool, asked_ms: int) -> None:
        """`heard`: whether the holder gave a sign of life since `asked_ms`, when this was asked first (Redis' time)."""
        self.session = session
        self.gateway = gateway
        self.heard = heard
        self.asked_ms = asked_ms
        super().__init__(
            f"{session}: another publisher is there, at gateway {gateway}; wait until it has gone, or take its place "
            "(?takeover=true, `genlock publish --take-over`)"
        )


class TooManyCandidates(GenlockError):
    """As many publishers as may be are connecting to the session just now."""

    def __init__(self, session: str) -> None:
        self.session = session
        super().__init__(f"{session}: others are connecting as its publisher just now; try again in some seconds")


class LostSlot(StrEnum):
    """Why a publisher that has connected does not get the slot."""

    OVERTAKEN = "overtaken"  # the slot went to somebody else since this publisher asked
    GONE = "gone"  # so did it, and it is free again; or Redis lost it
    REPLACED = "replaced"  # it was too slow, or asked again meanwhile
    ANSWERED = "answered"  # the holder that was silent is there again

    @property
    def to_another(self) -> bool:
        """Another publisher has the session: to come back would be a fight. Otherwise who asks again may get it."""
        return self in {LostSlot.OVERTAKEN, LostSlot.ANSWERED}


class PublicationLost(GenlockError):
    """A publisher has connected, and does not get the session."""

    def __init__(self, session: str, why: LostSlot) -> None:
        self.session = session
        self.why = why
        super().__init__(f"{session}: {_WHY_LOST[why]}")


_WHY_LOST = {
    LostSlot.OVERTAKEN: "another publication came first",
    LostSlot.GONE: "another publication came and went meanwhile, or the session store lost its data",
    LostSlot.REPLACED: "a newer offer of the same publisher took this one's place, or it came too late",
    LostSlot.ANSWERED: "the publisher that was silent is there again",
}
