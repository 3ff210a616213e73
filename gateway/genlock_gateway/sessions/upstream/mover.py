"""When a live session opens, moves, follows or waits: pure (situation, event, now) -> (situation, action).

`upstream` feeds it events, carries out the action and feeds back what came of it. `decide` does no I/O and reads no
clock, so that a test can try every order of events.

`Situation.claim` is the one place of the gateway that keeps the current epoch of a session. Everybody else asks it, or
is told with each frame (`Epochs`).

A claim that somebody else made is followed when its epoch is higher, and never when it is lower. A session leaves its
worker for three reasons only: the link is refused (the process is gone), the worker refused the session, or it made no
progress for longer than is normal for it (`claims.silence`) and `claims.liveness` allows the move. The last of these
waits longer each time (`backoff`). While there is no capacity, the session waits and asks again, more and more rarely,
or as soon as it hears that some was made.
"""

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from genlock_core.claims.facts import Claim, MoveCause
from genlock_core.claims.liveness import SILENCE_MS
from genlock_core.claims.silence import Silence
from genlock_gateway.sessions.upstream.backoff import MoveBackoff

FIRST_RETRY_S: Final = 0.1
LONGEST_RETRY_S: Final = 2.0
SILENCE_S: Final = SILENCE_MS / 1000
EXAMINE_EVERY_S: Final = 0.25
NOT_OWNER_PATIENCE_S: Final = 2.0
"""A worker that has not read its assignment yet says "not-owner"; it is asked again for this long."""
REOPEN_EVERY_S: Final = 0.05
BY_LEASE: Final = frozenset({MoveCause.SILENT, MoveCause.EXPIRED})
"""Moves off a worker that may only be slow: before each try it is looked at anew."""
SETTLED_S: Final = 5.0
"""A worker that served this long is trusted again: the next move starts without backoff."""


class MoveStage(StrEnum):
    IDLE = "idle"  # nobody here wants the session
    CLAIMING = "claiming"  # asked Redis for a claim; the answer is on its way
    OPENING = "opening"  # the link's channel is being opened under `claim`
    REFUSED = "refused"  # the worker does not know of its claim (yet): it is asked again at `due_s`
    SERVING = "serving"  # the channel is open
    EXAMINING = "examining"  # silent: asked Redis whether the worker is stale too
    MOVING = "moving"  # asked Redis to move the session off `claim`
    WAITING = "waiting"  # no capacity, or no Redis: ask again at `due_s`


@dataclass(frozen=True, slots=True)
class Situation:
    """Where one session stands at this gateway. Seconds are those of the gateway's monotonic clock."""

    stage: MoveStage = MoveStage.IDLE
    claim: Claim | None = None
    """The newest claim that is known here; its epoch is the session's current one."""
    cause: MoveCause | None = None
    """Why the session leaves `claim`'s worker, while MOVING, or WAITING to move."""
    opened: bool = False
    """The worker serves the session in a channel that is not lost, whatever is asked of Redis meanwhile."""
    served: Claim | None = None
    """The last claim under which a worker opened the channel, since somebody wants the session."""
    since_s: float = 0.0
    """When this stage began, or the silence or refusal that it is about."""
    due_s: float = 0.0
    """When a tick has something to do again."""
    failures: int = 0
    """Refusals and misses in a row; sets how long it waits for capacity."""
    wants_room: bool = False
    """The last answer was that no worker has room, and it waits for some."""
    backoff: MoveBackoff = field(default_factory=MoveBackoff)
    """How soon silence may move it again."""


@dataclass(frozen=True, slots=True)
class Epochs:
    """The epochs whose frames count at one moment; those of every other epoch are stale."""

    current: int
    leaving: int | None = None
    """The epoch whose worker is shown beside the current one, while a polite move lasts."""


# What happens.
@dataclass(frozen=True, slots=True)
class SessionWanted:
    """A publisher or a viewer needs the session to run; `claim` is the one that Redis has just told, if any."""

    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class SessionUnwanted:
    """The last publisher and viewer here has gone, or the session has ended."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Redis told a claim: an answer to Claim or Move, or one that another gateway or the worker made."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """Redis had no worker for it, or did not answer; `retry_after_s` is how long to wait at least."""

    retry_after_s: float = 0.0
    for_want_of_room: bool = False
    """Room would help, whenever it comes."""


@dataclass(frozen=True, slots=True)
class RoomMade:
    """A worker that could serve the session may have room now. `spread_s` keeps those that wait from asking at once."""

    spread_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Lapsed:
    """The claim is over and nobody owns the session now."""


@dataclass(frozen=True, slots=True)
class WorkerAccepted:
    """The worker opened the channel under `epoch`."""

    epoch: int


@dataclass(frozen=True, slots=True)
class WorkerRefused:
    """The worker of `epoch` refused or closed the channel: not-owner, draining, no-slot, engine."""

    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class LinkLost:
    """The link to the worker of `epoch` broke; `gone`: nobody of that incarnation listens at its address."""

    epoch: int
    gone: bool


@dataclass(frozen=True, slots=True)
class Examined:
    """`claims.liveness` judged the silent worker of `epoch`: move for `cause`, or None: leave it."""

    epoch: int
    cause: MoveCause | None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passes; of a worker without a link nothing was ever heard."""

    silence: Silence


Event = (
    SessionWanted
    | SessionUnwanted
    | Claimed
    | Unclaimed
    | RoomMade
    | Lapsed
    | WorkerAccepted
    | WorkerRefused
    | LinkLost
    | Examined
    | Tick
)


# What to do.
class Action(StrEnum):
    CLAIM = "claim"  # ask Redis for the session's claim
    OPEN = "open"  # open the channel under the situation's claim
    EXAMINE = "examine"  # ask Redis how the worker looks to others
    MOVE = "move"  # compare-and-set the session off the situation's claim, for its cause
    CLOSE = "close"  # close the channel


Decision = tuple[Situation, Action | None]


def decide(situation: Situation, event: Event, now_s: float) -> Decision:
    """What one event leads to. Events of another epoch than the situation's are stale and change nothing."""
    if isinstance(event, SessionUnwanted):
        return Situation(since_s=now_s), None if situation.stage is MoveStage.IDLE else Action.CLOSE
    # Answers to what was asked before everybody left.
    if situation.stage is MoveStage.IDLE and not isinstance(event, SessionWanted):
        return situation, None

    match event:
        case SessionWanted(None):
            return _claim(situation, now_s) if situation.stage is MoveStage.IDLE else (situation, None)
        case Claimed(claim) | SessionWanted(Claim() as claim):
            return _claimed(situation, claim, now_s)
        case Unclaimed() if situation.stage in (MoveStage.CLAIMING, MoveStage.MOVING):
            return _unclaimed(situation, event, now_s), None
        case RoomMade(spread_s) if situation.wants_room and situation.stage in (MoveStage.WAITING, MoveStage.EXAMINING):
            return replace(situation, due_s=min(situation.due_s, now_s + spread_s)), None
        case Lapsed() if situation.stage is MoveStage.MOVING:
            return _claim(situation, now_s)
        case Tick(silence):
            return _tick(situation, silence, now_s)
        case WorkerAccepted() | WorkerRefused() | LinkLost() | Examined():
            if situation.claim is not None and event.epoch == situation.claim.epoch:
                return _of_this_claim(situation, event, now_s)
    return situation, None


def backoff_s(failures: int) -> float:
    """The wait after that many failures in a row, without jitter."""
    return min(FIRST_RETRY_S * 2.0 ** min(failures, 16), LONGEST_RETRY_S)


def _enter(
    situation: Situation, stage: MoveStage, now_s: float, *, due_s: float = 0.0, failures: int | None = None
) -> Situation:
    count = situation.failures if failures is None else failures
    return replace(situation, stage=stage, since_s=now_s, due_s=due_s, failures=count)


def _claim(situation: Situation, now_s: float) -> Decision:
    return replace(_enter(situation, MoveStage.CLAIMING, now_s), cause=None), Action.CLAIM


def _unclaimed(situation: Situation, event: Unclaimed, now_s: float) -> Situation:
    due_s = now_s + max(event.retry_after_s, backoff_s(situation.failures))
    waiting = replace(situation, due_s=due_s, failures=situation.failures + 1, wants_room=event.for_want_of_room)
    if situation.cause in BY_LEASE:
        return replace(waiting, stage=MoveStage.EXAMINING)  # it may come back meanwhile
    return replace(waiting, stage=MoveStage.WAITING, since_s=now_s)


def _claimed(situation: Situation, claim: Claim, now_s: float) -> Decision:
    held = situation.claim
    # An older claim is over, whoever tells of it.
    if held is not None and claim.epoch < held.epoch:
        return situation, None
    # The claim that is held already is news only to who asked for one.
    if held is not None and claim.epoch == held.epoch and situation.stage is not MoveStage.CLAIMING:
        return situation, None

    # Whoever moved it, silence did if this worker looked silent here as well.
    by_silence = situation.stage is MoveStage.EXAMINING or situation.cause in BY_LEASE
    backoff = situation.backoff.moved(now_s) if by_silence else situation.backoff
    opening = _enter(situation, MoveStage.OPENING, now_s, due_s=now_s + SILENCE_S)
    return replace(opening, claim=claim, cause=None, opened=False, backoff=backoff, wants_room=False), Action.OPEN


def _of_this_claim(
    situation: Situation, event: WorkerAccepted | WorkerRefused | LinkLost | Examined, now_s: float
) -> Decision:
    if situation.stage in (MoveStage.MOVING, MoveStage.WAITING, MoveStage.CLAIMING):
        return situation, None  # this worker is being left already
    match event:
        case WorkerAccepted():
            serving = _enter(situation, MoveStage.SERVING, now_s)
            return replace(serving, opened=True, served=situation.claim), None
        case WorkerRefused(_, reason):
            return _refused(situation, reason, now_s)
        case LinkLost(_, gone):
            if gone:
                return _move(situation, MoveCause.REFUSED)
            if situation.opened:
                # Only a new attempt can tell a dead process (refused) from a bad network (no answer).
                opening = _enter(situation, MoveStage.OPENING, now_s, due_s=now_s + SILENCE_S)
                return replace(opening, opened=False), Action.OPEN
            return _examine(situation, now_s)
        case Examined(_, MoveCause.SILENT) if situation.backoff.holds(now_s):
            return situation, None  # it was moved a moment ago; until then the worker may come back
        case Examined(_, cause) if situation.stage is MoveStage.EXAMINING and cause is not None:
            return _move(situation, cause)
    return situation, None


def _refused(situation: Situation, reason: str, now_s: float) -> Decision:
    """The worker is there but does not serve the session.

    A worker may not have read its assignment yet, and a claim may be older than what the worker knows: both are asked
    again for a while. Everything else is a reason to leave.
    """
    if reason == "not-owner":
        since_s = now_s if situation.opened else situation.since_s
        if now_s - since_s < NOT_OWNER_PATIENCE_S:
            due_s = now_s + REOPEN_EVERY_S
            return replace(situation, stage=MoveStage.REFUSED, opened=False, since_s=since_s, due_s=due_s), None

    # The first refusal moves the session at once; after that it waits between two tries.
    cause = MoveCause.DRAIN if reason == "draining" else MoveCause.REFUSED
    failures = situation.failures + 1
    if situation.failures:
        waiting = _enter(
            situation, MoveStage.WAITING, now_s, due_s=now_s + backoff_s(situation.failures), failures=failures
        )
        return replace(waiting, cause=cause, opened=False, wants_room=False), None
    return _move(replace(situation, failures=failures), cause)


def _move(situation: Situation, cause: MoveCause) -> Decision:
    # A silent worker may come back: it is listened to until another one serves the session.
    opened = situation.opened and cause in BY_LEASE
    return replace(situation, stage=MoveStage.MOVING, cause=cause, opened=opened), Action.MOVE


def _examine(situation: Situation, now_s: float) -> Decision:
    return replace(situation, stage=MoveStage.EXAMINING, due_s=now_s + EXAMINE_EVERY_S), Action.EXAMINE


def _tick(situation: Situation, silence: Silence, now_s: float) -> Decision:
    due = now_s >= situation.due_s
    match situation.stage:
        case MoveStage.SERVING if not silence.is_normal:
            return _examine(situation, now_s)
        case MoveStage.SERVING if situation.failures and now_s - situation.since_s >= SETTLED_S:
            return replace(situation, failures=0), None
        case MoveStage.OPENING | MoveStage.EXAMINING if silence.is_normal:
            # It progresses: a worker that restores a session takes its time to open.
            stage = MoveStage.SERVING if situation.opened else MoveStage.OPENING
            return replace(situation, stage=stage, due_s=now_s + SILENCE_S), None
        case MoveStage.OPENING if due:
            return _examine(situation, now_s)
        case MoveStage.EXAMINING if due and silence.quiet_s == math.inf:
            return _open(situation, now_s)  # the network may be well again
        case MoveStage.EXAMINING if due:
            return _examine(situation, now_s)
        case MoveStage.REFUSED if due:
            return _open(situation, now_s)
        case MoveStage.WAITING if due and situation.cause is not None:
            # Nobody else had room: between two tries to leave, the worker that refused is asked again.
            return _move(situation, situation.cause) if situation.failures % 2 else _open(situation, now_s)
        case MoveStage.WAITING if due:
            return _claim(situation, now_s)
        case _:
            return situation, None


def _open(situation: Situation, now_s: float) -> Decision:
    """Try again; `since_s` stays, as it is still the same silence or refusal."""
    return replace(situation, stage=MoveStage.OPENING, opened=False, due_s=now_s + SILENCE_S), Action.OPEN
