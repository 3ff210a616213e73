"""What the claims answer: claims, moves, renewals, workers as seen from outside, assignments and events."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from genlock_core.claims.identity import FormatRange, WorkerIdentity
from genlock_core.claims.record import SessionRecord
from genlock_core.errors import GenlockError, NoCapacity, UnknownSession


class MoveCause(StrEnum):
    """Why a session moves. SILENT and EXPIRED are moves by lease: held back while Redis is newly back."""

    REFUSED = "refused"  # the link is refused: the worker's process is gone
    SILENT = "silent"  # no progress on the link, and the rule of `rules.should_move` allows it
    EXPIRED = "expired"  # the lease ran out
    DRAIN = "drain"  # the worker leaves politely
    REQUESTED = "requested"  # a person asked


class Fit(StrEnum):
    """What became of a claim whose record asks for another cost than it pays."""

    FITS = "fits"  # it pays what is asked for now
    NO_ROOM = "no-room"  # the worker cannot give that much more: nothing has changed, move it
    ELSEWHERE = "elsewhere"  # its pool is none of the record's any more: move it
    STALE = "stale"  # another epoch holds, or nobody owns it


class WorkerState(StrEnum):
    READY = "ready"
    DRAINING = "draining"  # takes no new claims


class AssignmentKind(StrEnum):
    ASSIGN = "assign"
    WITHDRAW = "withdraw"


class EventKind(StrEnum):
    CREATED = "created"
    CLAIMED = "claimed"
    MOVED = "moved"
    RELEASED = "released"
    EXPIRED = "expired"
    PHASE = "phase"
    CONTROL = "control"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class Claim:
    """Session `session` belongs to `worker` under `epoch`, at `cost` thousandths of it; its link is at `address`."""

    session: str
    epoch: int
    worker: WorkerIdentity
    address: str
    pool: str
    cost: int


@dataclass(frozen=True, slots=True)
class Move:
    """`claim` is the one that holds now; `won` says whether this call made it (False: adopt it, another one did)."""

    claim: Claim
    won: bool


@dataclass(frozen=True, slots=True)
class Renewal:
    """The answer to a heartbeat.

    `known` False: Redis has no such worker, it lost its data; reassert. `superseded`: a newer incarnation has this
    worker's name; stop. `holding`: Redis is newly back and nothing expires. `owned`: session -> epoch of everything the
    worker owns; whatever else it serves is not its own any more. `closed`: it is draining.
    """

    known: bool
    holding: bool
    owned: Mapping[str, int]
    closed: bool
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """A session that a worker still serves: its claim's epoch and cost, and the record as the worker knows it."""

    session: str
    epoch: int
    cost: int
    record: SessionRecord


@dataclass(frozen=True, slots=True)
class Reasserted:
    """`kept`: the worker owns these, under the epochs it held. `refused`: stop serving these."""

    kept: tuple[str, ...]
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as others see it.

    `heartbeat_age_ms` is the time since its engine last made progress, by Redis' clock. `links`: session -> names of
    the gateways linked to it for that session. `sessions`: session -> epoch. `capacity` and `free` in thousandths.
    """

    identity: WorkerIdentity
    pool: str
    model: str
    address: str
    state: WorkerState
    heartbeat_age_ms: int
    progress: int
    links: Mapping[str, tuple[str, ...]]
    capacity: int
    free: int
    sessions: Mapping[str, int]
    formats: FormatRange
    gpu_product: str = ""
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Assignment:
    """A message in a worker's inbox.

    assign: serve `session` under `epoch` (`cause` None: a first claim). withdraw: the claim of `epoch` is over; with
    `successor_epoch` > 0 the session lives on at `successor_address` (a handover if `cause` is DRAIN or REQUESTED),
    with 0 nobody owns it now. Messages are hints: the truth is `Renewal.owned`.
    """

    id: str
    kind: AssignmentKind
    session: str
    epoch: int
    cause: MoveCause | None
    successor_epoch: int = 0
    successor_address: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a session; `detail` is the worker's name, the phase, or the control entry's id."""

    id: str
    kind: EventKind
    session: str
    epoch: int
    detail: str


class MoveHeld(NoCapacity):
    """A move by lease while Redis is newly back: leases say nothing until the workers had time to renew them."""

    def __init__(self, session: str) -> None:
        super().__init__(session, "Redis is newly back, nothing moves by lease yet", retry_after_s=1.0)


class SessionEnded(UnknownSession):
    """The session is over (Ended or Failed); it is not claimed or moved again."""

    def __init__(self, session: str) -> None:
        self.session = session
        GenlockError.__init__(self, f"{session}: the session has ended; forget it and create it anew")


class PublisherConflict(GenlockError):
    """Somebody else publishes to the session, at `gateway`."""

    def __init__(self, session: str, gateway: str) -> None:
        self.session = session
        self.gateway = gateway
        super().__init__(f"{session}: another publisher is there, at gateway {gateway}")
