"""What the plans may ask for. Each action is safe to repeat, and safe to lose: the next plan asks for it again.

They stand below plan and reconcile, so that deciding and acting share these words and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from genlock_core.claims.facts import MoveCause
from genlock_core.claims.identity import WorkerIdentity
from genlock_core.claims.record import SessionRecord
from genlock_core.spec.pool import WorkerPoolStatus
from genlock_core.spec.status import SessionStatus
from genlock_core.stream_state.control import ControlChange
from genlock_operator.autoscale.recommend import Recommendation
from genlock_operator.observed import Meta

# -- the stream: Redis -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoreRecord:
    """Create the session's record, or bring its spec and pools up to date."""

    record: SessionRecord


@dataclass(frozen=True, slots=True)
class ClaimWorker:
    """Give the session to a worker. Changes what the plan sees next: observe again."""

    session: str


@dataclass(frozen=True, slots=True)
class FitClaim:
    """Have the claim of `epoch` pay for the steps that the stored record requests. Observe again."""

    session: str
    epoch: int


@dataclass(frozen=True, slots=True)
class MoveSession:
    """Give the session to another worker than the one it has. Observe again."""

    session: str
    epoch: int
    cause: MoveCause
    steps: int | None = None
    """It moves for the sake of so many steps, to a worker with room for them; None: it moves for another reason."""


@dataclass(frozen=True, slots=True)
class ChangeStream:
    """Put a change into the session's control stream. The same `client` and `number` again change nothing."""

    session: str
    change: ControlChange
    client: str
    number: int


@dataclass(frozen=True, slots=True)
class EndSession:
    """Give the claim back, whoever holds it, and write Ended. Observe again."""

    session: str
    reason: str


@dataclass(frozen=True, slots=True)
class ForgetRecord:
    """Delete the record of a finished or unowned session; gateways delete its data then. Observe again."""

    session: str


@dataclass(frozen=True, slots=True)
class CloseWorker:
    """No new claims for this worker."""

    worker: WorkerIdentity


@dataclass(frozen=True, slots=True)
class SetReserve:
    """Thousandths of the pool's workers that only moves may use."""

    pool: str
    thousandths: int


@dataclass(frozen=True, slots=True)
class ExpectWorker:
    """Say when the pool's next worker is expected, so that who finds no room is told when to ask again."""

    pool: str
    in_ms: int
    """From now."""


# -- the cluster: the API server -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WriteSessionStatus:
    """Write the status, if the object is still the one that was seen (its resourceVersion)."""

    meta: Meta
    status: SessionStatus


@dataclass(frozen=True, slots=True)
class WritePoolStatus:
    """The same for a pool."""

    meta: Meta
    status: WorkerPoolStatus


@dataclass(frozen=True, slots=True)
class DeleteSession:
    """Delete the StreamSession itself: its time after the end is over."""

    meta: Meta


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Create a pod; its name is a function of pool, revision and ordinal, so that repetition finds it there."""

    pool: str
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MarkPod:
    """Set labels and annotations of a pod; None takes one away."""

    meta: Meta
    labels: Mapping[str, str | None] = field(default_factory=dict)
    annotations: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetirePod:
    """Delete a pod of this uid, but only once its worker is closed and has no session left."""

    meta: Meta
    worker: WorkerIdentity | None
    """As Redis knew it when this was planned; None: Redis knew no such worker."""
    why: str


@dataclass(frozen=True, slots=True)
class Tell:
    """An Event on an object."""

    kind: Literal["StreamSession", "WorkerPool"]
    meta: Meta
    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ShowScaling:
    """What autoscaling says of the pool, for people; and how many workers it asks for, for the other pools."""

    pool: str
    shown: Recommendation
    asked: int
    """Without bounds."""


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Plan this object again at that time, even if nothing changes."""

    at_ms: int


SessionAction: TypeAlias = (
    StoreRecord | ClaimWorker | FitClaim | MoveSession | ChangeStream | EndSession | ForgetRecord
    | WriteSessionStatus | DeleteSession | Tell | LookAgain
)  # fmt: skip
PoolAction: TypeAlias = (
    CreatePod | MarkPod | RetirePod | CloseWorker | MoveSession | SetReserve | ExpectWorker | WritePoolStatus
    | ShowScaling | Tell | LookAgain
)  # fmt: skip
CHANGES_WHAT_IS_SEEN = (StoreRecord, ClaimWorker, FitClaim, MoveSession, EndSession, ForgetRecord)
"""After one of these a session's plan stops being true: what follows it in the list is dropped and made anew."""
