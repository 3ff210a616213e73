"""What an upstream asks of the claims in Redis for its session: each answer is an event for `mover.decide`."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from genlock_core.claims.facts import Claim, MoveCause, WorkerState, WorkerView
from genlock_core.claims.liveness import LinkView, should_move
from genlock_core.claims.record import SessionRecord
from genlock_core.claims.silence import Silence
from genlock_core.errors import NoCapacity
from genlock_gateway.sessions.upstream import mover
from genlock_gateway.sessions.upstream.shared_parts import SharedParts

logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class Claiming:
    """Asks for one session, and measures how long each answer takes. It keeps no claim: the upstream does.

    Everything raises RedisError while Redis is away, and UnknownSession if Redis does not know the session.
    """

    def __init__(self, session: str, shared: SharedParts) -> None:
        self._session = session
        self._shared = shared

    async def claim(self, *, seen_epoch: int) -> mover.Event:
        """`seen_epoch`: the highest that this gateway has seen. Raises NoCapacity."""
        claim = self._shared.claims.claim(self._session, seen_epoch=seen_epoch)
        return mover.Claimed(await self._timed("claim", claim))

    async def examine(self, claim: Claim, *, silence: Callable[[], Silence]) -> mover.Event | None:
        """Whether the session must leave the claim's worker, which has been silent for so long.

        None if there is nothing to go by: Redis has lost the record, and `maintenance` writes it back.
        """
        record = await self._timed("record", self._shared.claims.record(self._session))
        if record is None:
            return None

        # Somebody else has moved the session already.
        if record.epoch > claim.epoch:
            newer = claim_of(record)
            return None if newer is None else mover.Claimed(newer)

        # What Redis says of a worker of the same name that was started anew says nothing about this one.
        workers = await self._shared.claims.workers()
        view = next((worker for worker in workers if worker.identity == claim.worker), None)

        heard = silence()
        link = LinkView(
            gateway=self._shared.gateway,
            refused=False,
            silent_ms=round(1000 * heard.quiet_s),
            patience_ms=round(1000 * heard.patience_s),
        )
        cause = should_move(
            self._session,
            link,
            view,
            candidates=with_room(record, workers),
            lease_expired=record.owner is None,
        )
        return mover.Examined(claim.epoch, cause)

    async def move(self, claim: Claim, cause: MoveCause) -> mover.Event:
        """Away from the claim's worker. Raises NoCapacity, StaleEpoch."""
        claims = self._shared.claims
        view = await claims.worker(claim.worker.name)
        # A worker that was started again under its old name has nothing to do with what became of its predecessor.
        suspect = claim.worker.name if view is None or view.identity == claim.worker else None

        result = "failed"
        try:
            move = await self._timed(
                "move", claims.move(self._session, expected_epoch=claim.epoch, suspect=suspect, cause=cause)
            )
            result = "won" if move.won else "adopted"
        except NoCapacity:
            result = "no-capacity"
            raise
        finally:
            self._shared.metrics.moves.labels(cause=cause.value, result=result).inc()

        logger.info(
            "%s: %s from %s to %s, cause %s, epoch %d",
            self._session, result, claim.worker.name, move.claim.worker.name, cause.value, move.claim.epoch,
        )  # fmt: skip
        return mover.Claimed(move.claim)

    async def _timed(self, operation: str, call: Awaitable[_T]) -> _T:
        began_s = time.perf_counter()
        try:
            return await call
        finally:
            self._shared.metrics.claim_seconds.labels(operation=operation).observe(time.perf_counter() - began_s)


def with_room(record: SessionRecord, workers: Sequence[WorkerView]) -> list[WorkerView]:
    """The workers besides its owner that a move could give the session to."""
    choices = {choice.pool: choice for choice in record.choices}
    return [
        worker
        for worker in workers
        if worker.identity != record.owner
        and worker.state is WorkerState.READY
        and worker.pool in choices
        and worker.free >= record.least_cost_in(choices[worker.pool], halves=worker.halves)
    ]


def claim_of(record: SessionRecord) -> Claim | None:
    """The claim that a record tells, None if nobody owns the session."""
    if record.owner is None:
        return None
    return Claim(record.name, record.epoch, record.owner, record.address, record.pool, record.cost)
