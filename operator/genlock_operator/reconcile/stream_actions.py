"""The actions on the stream: Redis. Each is safe to repeat; what another one has done meanwhile is only seen anew."""

from dataclasses import dataclass

from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import Fit
from genlock_core.errors import NoCapacity, StaleEpoch, UnknownSession
from genlock_core.spec.session import Phase
from genlock_core.stream_state.control import ControlStream
from genlock_operator.actions import (
    ChangeStream,
    ClaimWorker,
    CloseWorker,
    EndSession,
    FitClaim,
    ForgetRecord,
    MoveSession,
    SetReserve,
    StoreRecord,
)
from genlock_operator.reconcile.outcome import Outcome, Result

StreamAction = (
    StoreRecord
    | ClaimWorker
    | FitClaim
    | MoveSession
    | ChangeStream
    | EndSession
    | ForgetRecord
    | CloseWorker
    | SetReserve
)


@dataclass(slots=True)
class StreamActions:
    """Carries them out. Every method raises RedisError when Redis is away."""

    claims: Claims
    control: ControlStream

    async def perform(self, action: StreamAction) -> Outcome:
        """Do it, and what became of it."""
        try:
            match action:
                case ClaimWorker(session):
                    await self.claims.claim(session)
                case MoveSession(session, epoch, cause):
                    move = await self.claims.move(session, expected_epoch=epoch, suspect=None, cause=cause)
                    return Outcome(Result.DONE if move.won else Result.ADOPTED)
                case FitClaim(session, epoch):
                    return await self._fit(session, epoch)
                case _:
                    await self._write(action)
        except NoCapacity as full:
            return Outcome(Result.NO_CAPACITY, full.reason)
        except (UnknownSession, StaleEpoch):
            return Outcome(Result.OVERTAKEN)
        return Outcome()

    async def _write(
        self, action: StoreRecord | ChangeStream | EndSession | ForgetRecord | CloseWorker | SetReserve
    ) -> None:
        match action:
            case StoreRecord(record):
                await self.claims.create(record)
            case ChangeStream(session, change, client, number):
                entry = await self.control.append(session, client=client, number=number, change=change)
                await self.claims.remember_control(session, change.to_fields(), entry)
            case EndSession(session, reason):
                await self._end(session, reason)
            case ForgetRecord(session):
                await self.claims.forget(session)
            case CloseWorker(worker):
                await self.claims.close(worker)
            case SetReserve(pool, thousandths):
                await self.claims.set_reserve(pool, thousandths)

    async def _fit(self, session: str, epoch: int) -> Outcome:
        """The plan thought that it fits; where it does not any more, the next one moves it."""
        if await self.claims.fit(session, expected_epoch=epoch) in (Fit.NO_ROOM, Fit.ELSEWHERE):
            return Outcome(Result.NO_CAPACITY, "its worker has no room for the change")
        return Outcome()

    async def _end(self, session: str, reason: str) -> None:
        record = await self.claims.record(session)
        if record is None or record.finished:
            return
        if record.owner is None:
            await self.claims.set_phase(session, 0, Phase.ENDED, reason)
        else:
            await self.claims.release(session, epoch=record.epoch, phase=Phase.ENDED, reason=reason)
