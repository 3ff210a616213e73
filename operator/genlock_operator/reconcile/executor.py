"""Carries out what the plans ask for: in Redis and at the API server. Only the leader acts, and each action is counted.

Every action is safe to repeat. What somebody else has done meanwhile is no error: the next plan sees it. What the API
server answers goes into the caches at once, so that the next plan works on it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from pydantic import BaseModel
from redis.exceptions import RedisError

from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import Fit
from genlock_core.errors import GenlockError, NoCapacity, StaleEpoch, UnknownSession
from genlock_core.spec.session import Phase
from genlock_core.stream_state.control import ControlStream
from genlock_operator.actions import (
    ChangeStream,
    ClaimWorker,
    CloseWorker,
    CreatePod,
    DeleteSession,
    EndSession,
    ExpectWorker,
    FitClaim,
    ForgetRecord,
    LookAgain,
    MarkPod,
    MoveSession,
    PoolAction,
    RetirePod,
    SessionAction,
    SetReserve,
    ShowScaling,
    StoreRecord,
    Tell,
    WritePoolStatus,
    WriteSessionStatus,
)
from genlock_operator.kube.api import PODS, STREAM_SESSIONS, WORKER_POOLS, KubeApi, Resource, whole_status
from genlock_operator.kube.errors import AlreadyExists, Conflict, KubeError, NotFound, RequestRefused
from genlock_operator.kube.recorder import EventRecorder
from genlock_operator.observed import Meta
from genlock_operator.watch import facts
from genlock_operator.watch.caches import Caches

StreamAction: TypeAlias = (
    StoreRecord | ClaimWorker | FitClaim | MoveSession | ChangeStream | EndSession | ForgetRecord
    | CloseWorker | SetReserve | ExpectWorker
)  # fmt: skip
ClusterAction: TypeAlias = WriteSessionStatus | WritePoolStatus | DeleteSession | CreatePod | MarkPod | RetirePod | Tell
RealAction: TypeAlias = StreamAction | ClusterAction


class ActionResult(StrEnum):
    """What became of an action; one word each, as in the metrics."""

    DONE = "done"
    ADOPTED = "adopted"  # another one had moved it already
    OVERTAKEN = "overtaken"  # the session is over, or changed hands: the next look shows it
    NO_CAPACITY = "no-capacity"
    THERE = "there"  # what was to be created is there already
    LEFT = "left"  # sessions are left on the worker, which therefore stays
    QUOTA = "quota"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ActionOutcome:
    """The result; and why a claim or a move found no room, "" unless there was none, for the next plan."""

    result: ActionResult = ActionResult.DONE
    refusal: str = ""


class NotLeading(GenlockError):
    """This replica does not hold the lease; nothing was done."""

    def __init__(self) -> None:
        super().__init__("this replica does not lead")


@dataclass(slots=True)
class Executor:
    """`perform` is the one door for every action."""

    claims: Claims
    control: ControlStream
    api: KubeApi
    caches: Caches
    recorder: EventRecorder
    may_act: Callable[[], bool]
    """Whether this replica holds the lease; asked before every single action."""
    done: Callable[[RealAction, ActionResult], None]
    """Told what became of every action, those too that raise an error."""

    async def perform(self, action: SessionAction | PoolAction) -> str:
        """Do it; why a claim or move found no room, else "". Raises NotLeading, KubeError, RedisError."""
        if isinstance(action, LookAgain | ShowScaling):
            raise TypeError("looking again is the queue's, and showing the autoscaler's")
        if not self.may_act():
            raise NotLeading
        try:
            if isinstance(action, StreamAction):
                outcome = await self._change_stream(action)
            else:
                outcome = ActionOutcome(await self._change_cluster(action))
        except (KubeError, RedisError) as error:
            self.done(action, _of_failure(error))
            raise
        self.done(action, outcome.result)
        return outcome.refusal

    # -- the stream: Redis ---------------------------------------------------------------------------------------------

    async def _change_stream(self, action: StreamAction) -> ActionOutcome:
        """Raises RedisError."""
        try:
            match action:
                case StoreRecord(record):
                    await self.claims.create(record)
                case ClaimWorker(session):
                    await self.claims.claim(session)
                case FitClaim(session, epoch):
                    # The plan thought that it fits; where it does not any more, the next one moves it.
                    if await self.claims.fit(session, expected_epoch=epoch) in (Fit.NO_ROOM, Fit.ELSEWHERE):
                        return ActionOutcome(ActionResult.NO_CAPACITY, "its worker has no room for the change")
                case MoveSession(session, epoch, cause, steps):
                    move = await self.claims.move(session, expected_epoch=epoch, suspect=None, cause=cause, steps=steps)
                    return ActionOutcome(ActionResult.DONE if move.won else ActionResult.ADOPTED)
                case ChangeStream(session, change, client, number):
                    entry = await self.control.append(session, client=client, number=number, change=change)
                    await self.claims.remember_control(session, change.to_fields(), entry)
                case EndSession(session, reason):
                    await self._end(session, reason)
                case ForgetRecord(session):
                    await self.claims.forget(session)
                case CloseWorker(worker):
                    await self.claims.close(worker)
                case ExpectWorker(pool, in_ms):
                    await self.claims.expect_worker(pool, in_ms)
                case SetReserve(pool, thousandths):
                    await self.claims.set_reserve(pool, thousandths)
        except NoCapacity as full:
            return ActionOutcome(ActionResult.NO_CAPACITY, full.reason)
        except (UnknownSession, StaleEpoch):
            return ActionOutcome(ActionResult.OVERTAKEN)
        return ActionOutcome()

    async def _end(self, session: str, reason: str) -> None:
        record = await self.claims.record(session)
        if record is None or record.finished:
            return
        if record.owner is None:
            await self.claims.set_phase(session, 0, Phase.ENDED, reason)
        else:
            await self.claims.release(session, epoch=record.epoch, phase=Phase.ENDED, reason=reason)

    # -- the cluster: the API server -----------------------------------------------------------------------------------

    async def _change_cluster(self, action: ClusterAction) -> ActionResult:
        """Raises KubeError (Conflict: look again), and RedisError where a worker is asked first."""
        match action:
            case WriteSessionStatus(meta, status):
                answer = await self._write_status(STREAM_SESSIONS, meta, status)
                if answer is not None:
                    self.caches.sessions.put(facts.session_of(answer))
            case WritePoolStatus(meta, status):
                answer = await self._write_status(WORKER_POOLS, meta, status)
                if answer is not None:
                    self._keep_pool(answer)
            case DeleteSession(meta):
                await self._delete(STREAM_SESSIONS, meta)
            case CreatePod():
                return await self._create(action)
            case MarkPod():
                await self._mark(action)
            case RetirePod():
                return await self._retire(action)
            case Tell():
                self.recorder.tell(action)
        return ActionResult.DONE

    async def _write_status(self, resource: Resource, meta: Meta, status: BaseModel) -> dict[str, Any] | None:
        """Replace the status of the object that was seen; None if it is gone."""
        body = {"metadata": {"resourceVersion": meta.resource_version}, "status": whole_status(status)}
        try:
            return await self.api.patch_status(resource, meta.namespace, meta.name, body)
        except NotFound:
            (self.caches.sessions if resource is STREAM_SESSIONS else self.caches.pools).drop(meta.key, meta.uid)
            return None

    async def _create(self, action: CreatePod) -> ActionResult:
        namespace = action.pool.partition("/")[0]
        result = ActionResult.DONE
        try:
            answer = await self.api.create(PODS, namespace, action.manifest)
        except AlreadyExists:
            # It is ours from before: its name is a function of the plan. The watch knows it, or will in a moment.
            answer = await self.api.get(PODS, namespace, action.manifest["metadata"]["name"])
            result = ActionResult.THERE
        self._keep_pod(answer)
        return result

    async def _mark(self, action: MarkPod) -> None:
        marks = {"uid": action.meta.uid, "labels": dict(action.labels), "annotations": dict(action.annotations)}
        try:
            answer = await self.api.patch(PODS, action.meta.namespace, action.meta.name, {"metadata": marks})
        except NotFound:
            self.caches.pods.drop(action.meta.key, action.meta.uid)
            return
        self._keep_pod(answer)

    async def _retire(self, action: RetirePod) -> ActionResult:
        """Never before the worker is closed and empty: the one that has the name now, not the one that was planned."""
        worker = await self.claims.worker(action.meta.name)
        if worker is None and action.worker is not None:
            # Redis knew it a moment ago and has lost it since: it may serve, and will say so.
            return ActionResult.LEFT
        if worker is not None and await self.claims.close(worker.identity):
            return ActionResult.LEFT
        await self._delete(PODS, action.meta)
        return ActionResult.DONE

    async def _delete(self, resource: Resource, meta: Meta) -> None:
        try:
            await self.api.delete(resource, meta.namespace, meta.name, uid=meta.uid)
        except (NotFound, Conflict):  # this one is gone already
            return

    def _keep_pool(self, body: Mapping[str, Any]) -> None:
        try:
            self.caches.pools.put(facts.pool_of(body))
        except facts.Unreadable:  # its status says so, that is what was written
            return

    def _keep_pod(self, body: Mapping[str, Any]) -> None:
        pod = facts.pod_of(body)
        if pod is not None:
            self.caches.pods.put(pod)


def _of_failure(error: Exception) -> ActionResult:
    """What became of an action that raised."""
    if isinstance(error, RequestRefused):
        return ActionResult.QUOTA if error.quota else ActionResult.REFUSED
    return ActionResult.FAILED
