"""When a session moves: a pure decision, and the figures that it shares with the scripts.

One gateway's bad network must steal nothing: silence alone moves a session only if the worker has stopped for
everybody, or if nobody else could miss it. And a move must be worth its cost: where all workers are slow, a session
stays.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from genlock_core.claims.facts import MoveCause, WorkerView

LEASE_MS: Final = 2_000
LEASE_BEYOND_PATIENCE_MS: Final = 1_000
"""The leases of a worker last so much longer than it is normal for it to stand still,"""
LONGEST_LEASE_MS: Final = 10_000
"""and no longer than this."""
LEASE_HEARTBEATS: Final = 3
"""A lease lasts for so many heartbeats of the worker, at the pace of the last two: a slow Redis is no death."""
RENEW_EVERY_S: Final = 0.5
SILENCE_MS: Final = 1_000
"""A worker whose progress stood still on the link for this long is silent, unless that is normal for it."""
HEARTBEAT_STALE_MS: Final = 1_000
"""A worker whose heartbeat in Redis is older than this is stale: not chosen, and movable when silent."""
LATE_MS: Final = 750
"""A worker that stood still for this long lately is late: chosen only if no other one has room."""
WELL_AT_SHARE: Final = 2
"""A worker is better off than a silent one if it stood still for no more than one part in so many of that silence."""
HOLD_MS: Final = 5_000
"""After Redis came back with another run id, nothing expires or moves by lease for this long."""
PROOF_MS: Final = 600
"""So much time at most one write proves. A gateway's sweep alone writes more often than that."""
PROOF_EVERY_MS: Final = 100
"""Scripts within this time share one write."""
CATCHES_UP_IN: Final = 10
"""Proven time comes back to Redis' own by one part in so many."""
STALLED_MS: Final = 2_000
"""Where nobody wrote for this long, Redis could not be reached, or its clock stepped."""
SETTLE_MS: Final = 2_500
"""Then nothing expires or moves by lease for this long: a worker connects again within 2 s."""
WORKER_GONE_MS: Final = 30_000
"""A worker that has been silent for this long and owns nothing is dropped."""
PUBLISHER_TTL_MS: Final = 3_000
"""A publisher's slot is free this long after its gateway last kept it."""
PUBLISHER_CANDIDATE_MS: Final = 10_000
"""A publisher that was let in has this long to connect."""
PUBLISHER_CANDIDATES: Final = 2
"""So many publishers at once may try to connect to a session, besides the one that had it last."""
GIVE_BACK_MS: Final = 15_000
"""Steps that are granted and not requested any longer are given back after this."""
WAITS_MS: Final = 10_000
"""A session that found no room waits until this long after it asked last."""
ROOM_KEPT_MS: Final = 2_000
"""A hole is kept this long for those who wait for a worker, before wishes of those who have one are granted from it."""
HOLE_AFTER_MS: Final = 5_000
"""Who waits longest in a pool, and for so long, may have the room of one worker kept, until it is enough."""
HOLE_KEPT_MS: Final = 30_000
"""It is kept this long at most,"""
HOLE_PAUSE_MS: Final = 30_000
"""and where that did not help no room is kept in the pool for so long after it."""
DECIDES_MS: Final = 2_000
"""Who decides on the levels of a pool does so this long after it said so last."""


@dataclass(frozen=True, slots=True)
class LinkView:
    """What one gateway sees of the link to a session's worker."""

    gateway: str
    refused: bool
    """Connecting was refused: no process listens there."""
    silent_ms: int
    """For how long the worker's progress counter stood still on this link, or the link could not be opened."""
    patience_ms: int = SILENCE_MS
    """For how long that is normal for this worker (`silence.Rhythm`)."""


def is_better_off(candidate: WorkerView, *, silent_ms: int) -> bool:
    """Whether a session gains by a move to `candidate`, off a worker that has been silent for so long.

    A worker of the release before does not say how late it was: there its heartbeat must do.
    """
    late_ms = 0 if candidate.vitals is None else candidate.vitals.late_ms
    return candidate.heartbeat_age_ms <= HEARTBEAT_STALE_MS and WELL_AT_SHARE * late_ms <= silent_ms


def should_move(
    session: str,
    link: LinkView,
    worker: WorkerView | None,
    *,
    candidates: Collection[WorkerView] = (),
    lease_expired: bool = False,
) -> MoveCause | None:
    """Whether the gateway with `link` moves `session` off `worker`, and why; None: it waits, or goes through another.

    `worker` is what Redis says of the session's owner now, None if it is not there (Redis lost it, or the owner's
    incarnation is another one). `candidates` are the others that have room for it; where there is none, a move is
    tried all the same, and says so. `lease_expired`: the session has lost its owner by `expire`, or its lease is over.
    """
    if link.refused:
        return MoveCause.REFUSED
    if lease_expired:
        return MoveCause.EXPIRED
    if link.silent_ms < link.patience_ms or worker is None:
        return None

    # Silent for us. Another gateway that has a link could prove us wrong, unless Redis hears nothing either.
    others = set(worker.links.get(session, ())) - {link.gateway}
    if others and worker.heartbeat_age_ms <= HEARTBEAT_STALE_MS:
        return None

    # All that could take it may be as slow. Each move costs them a restore, which makes the next silence.
    if candidates and not any(is_better_off(one, silent_ms=link.silent_ms) for one in candidates):
        return None
    return MoveCause.SILENT
