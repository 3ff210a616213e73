"""The actions on the cluster: the API server. What a write was answered is what the next plan sees."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from genlock_core.claims.claims import Claims
from genlock_operator.actions import (
    CreatePod,
    DeleteSession,
    MarkPod,
    RetirePod,
    Tell,
    WritePoolStatus,
    WriteSessionStatus,
)
from genlock_operator.kube.api import PODS, STREAM_SESSIONS, WORKER_POOLS, KubeApi
from genlock_operator.kube.api import Resource as KubeResource
from genlock_operator.kube.errors import AlreadyExists, Conflict, NotFound
from genlock_operator.kube.recorder import EventRecorder
from genlock_operator.observed import Meta
from genlock_operator.reconcile.outcome import Result
from genlock_operator.watch import facts
from genlock_operator.watch.caches import Caches

ClusterAction = WriteSessionStatus | WritePoolStatus | DeleteSession | CreatePod | MarkPod | RetirePod | Tell


@dataclass(slots=True)
class ClusterActions:
    """Carries them out. Raises a KubeError (Conflict: look again), and RedisError where a worker is asked first."""

    api: KubeApi
    caches: Caches
    claims: Claims
    teller: EventRecorder

    async def perform(self, action: ClusterAction) -> Result:
        """Do it, and what became of it."""
        match action:
            case WriteSessionStatus(meta, status):
                answer = await self._status(STREAM_SESSIONS, meta, status)
                if answer is not None:
                    self.caches.sessions.put(facts.session_of(answer))
            case WritePoolStatus(meta, status):
                answer = await self._status(WORKER_POOLS, meta, status)
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
                self.teller.tell(action)
        return Result.DONE

    async def _status(self, resource: KubeResource, meta: Meta, status: BaseModel) -> dict[str, Any] | None:
        """Replace the status of the object that was seen; None if it is gone."""
        body = {"metadata": {"resourceVersion": meta.resource_version}, "status": as_patch(status)}
        try:
            return await self.api.patch_status(resource, meta.namespace, meta.name, body)
        except NotFound:
            (self.caches.sessions if resource is STREAM_SESSIONS else self.caches.pools).drop(meta.key, meta.uid)
            return None

    async def _create(self, action: CreatePod) -> Result:
        namespace, result = action.pool.partition("/")[0], Result.DONE
        try:
            answer = await self.api.create(PODS, namespace, action.manifest)
        except AlreadyExists:  # ours from before; the watch knows it, or will in a moment
            answer = await self.api.get(PODS, namespace, action.manifest["metadata"]["name"])
            result = Result.THERE
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

    async def _retire(self, action: RetirePod) -> Result:
        """Never before the worker is closed and empty: the one that has the name now, not the one that was planned."""
        worker = await self.claims.worker(action.meta.name)
        if worker is None and action.worker is not None:
            return Result.LEFT  # Redis knew it a moment ago and has lost it since: it may serve, and will say so
        if worker is not None and await self.claims.close(worker.identity):
            return Result.LEFT
        await self._delete(PODS, action.meta)
        return Result.DONE

    async def _delete(self, resource: KubeResource, meta: Meta) -> None:
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
        if (pod := facts.pod_of(body)) is not None:
            self.caches.pods.put(pod)


def as_patch(status: BaseModel) -> dict[str, Any]:
    """A status as a merge patch that replaces the whole of it: what has no value is null, which takes it away.

    Not so inside of lists: those are replaced as they are, and the API server would keep the nulls.
    """
    whole: dict[str, Any] = status.model_dump(mode="json", by_alias=True)
    return {name: _without_nulls(value) if isinstance(value, list) else value for name, value in whole.items()}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return value
