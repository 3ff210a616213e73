"""From the API server's JSON to the facts of `observed`: pure, and small enough to keep ten thousand of."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from genlock_core.errors import GenlockError
from genlock_core.sizing.profile import ProfileRow
from genlock_core.spec.mistakes import validate
from genlock_core.spec.pool import WorkerPoolSpec, WorkerPoolStatus
from genlock_operator.observed import Meta, NodeFacts, PodFacts, PodRole, PoolResource, SessionResource
from genlock_operator.plan.policy import (
    DRAIN_ANNOTATION,
    DRAINING_SINCE_ANNOTATION,
    KEEP_ANNOTATIONS,
    MEASURED_VARIABLE,
    POOL_LABEL,
    REVISION_LABEL,
    ROLE_LABEL,
    STATE_LABEL,
)

LEAVING_TAINTS: Final = frozenset({
    "ToBeDeletedByClusterAutoscaler", "DeletionCandidateOfClusterAutoscaler", "karpenter.sh/disrupted",
    "node.kubernetes.io/out-of-service", "node.cloudprovider.kubernetes.io/shutdown",
})  # fmt: skip
"""Taints that say of a node that it goes. NoExecute alone does not: pods that do not tolerate it are gone already."""
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing"})


class Unreadable(GenlockError):
    """An object that an older schema let in, or that is not ours; the mistakes say what is wrong."""

    def __init__(self, meta: Meta, mistakes: Iterable[str]) -> None:
        self.meta = meta
        self.mistakes = tuple(mistakes)
        super().__init__(f"{meta.key}: {'; '.join(self.mistakes)}")


def meta_of(body: Mapping[str, Any]) -> Meta:
    """Any object's metadata."""
    meta = body["metadata"]
    return Meta(
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        uid=meta["uid"],
        generation=int(meta.get("generation", 0)),
        resource_version=meta["resourceVersion"],
        created_ms=milliseconds(meta.get("creationTimestamp")),
        deleting="deletionTimestamp" in meta,
    )


def session_of(body: Mapping[str, Any]) -> SessionResource:
    """A StreamSession; its spec is read when it is planned."""
    status = body.get("status")
    return SessionResource(meta_of(body), _json(body.get("spec") or {}), _json(status) if status else b"")


def pool_of(body: Mapping[str, Any]) -> PoolResource:
    """A WorkerPool. Raises Unreadable; a status that cannot be read is none, as it is written anew."""
    meta = meta_of(body)
    spec, mistakes = validate(WorkerPoolSpec, body.get("spec") or {})
    if spec is None or mistakes:
        raise Unreadable(meta, _said("spec", mistakes))
    try:
        status = WorkerPoolStatus.model_validate(body.get("status") or {})
    except ValidationError:
        status = WorkerPoolStatus()
    return PoolResource(meta, spec, status)


def rows_of(body: Mapping[str, Any]) -> tuple[ProfileRow, ...]:
    """The rows of a ModelProfile. Raises Unreadable if any of them is none."""
    meta = meta_of(body)
    rows: list[ProfileRow] = []
    wrong: list[str] = []
    listed = (body.get("spec") or {}).get("rows") or ()
    if not isinstance(listed, list | tuple):
        raise Unreadable(meta, ["rows must be a list"])
    for number, given in enumerate(listed):
        row, mistakes = validate(ProfileRow, {"model": meta.name, **given} if isinstance(given, Mapping) else given)
        wrong += _said(f"rows[{number}]", mistakes)
        if row is not None:
            rows.append(row)
    if wrong:
        raise Unreadable(meta, wrong)
    return tuple(rows)


def pod_of(body: Mapping[str, Any]) -> PodFacts | None:
    """A worker or placeholder pod, None for one without our labels."""
    labels = body["metadata"].get("labels") or {}
    annotations = body["metadata"].get("annotations") or {}
    if POOL_LABEL not in labels or labels.get(ROLE_LABEL) not in set(PodRole):
        return None

    meta = meta_of(body)
    spec = body.get("spec") or {}
    status = body.get("status") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    container: Mapping[str, Any] = next(iter(status.get("containerStatuses") or ()), {})
    scheduled = conditions.get("PodScheduled", {})
    ready = conditions.get("Ready", {})
    return PodFacts(
        meta=meta,
        pool=f"{meta.namespace}/{labels[POOL_LABEL]}",
        role=PodRole(labels[ROLE_LABEL]),
        revision=labels.get(REVISION_LABEL, ""),
        state=labels.get(STATE_LABEL, ""),
        phase=status.get("phase", ""),
        ready=ready.get("status") == "True",
        node=spec.get("nodeName") or "",
        scheduled_ms=_since(scheduled),
        started_ms=milliseconds(((container.get("state") or {}).get("running") or {}).get("startedAt")),
        ready_ms=_since(ready),
        unschedulable=_unschedulable(scheduled),
        failing=_failing(status, container),
        drain_asked=DRAIN_ANNOTATION in annotations,
        draining_since_ms=milliseconds(annotations.get(DRAINING_SINCE_ANNOTATION)),
        protected=all(annotations.get(key) == value for key, value in KEEP_ANNOTATIONS.items()),
        told=_variable(spec, MEASURED_VARIABLE),
    )


def node_of(body: Mapping[str, Any]) -> NodeFacts:
    """A node. Whether it is ready does not matter: pods say themselves what became of them."""
    name = body["metadata"]["name"]
    spec = body.get("spec") or {}
    if spec.get("unschedulable"):
        return NodeFacts(name, "it is cordoned")
    taints = [taint["key"] for taint in spec.get("taints") or () if taint["key"] in LEAVING_TAINTS]
    return NodeFacts(name, f"it has the taint {taints[0]}" if taints else "")


def milliseconds(text: Any) -> int:
    """RFC 3339 as milliseconds since the epoch, 0 for what is none."""
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1_000)
    except (TypeError, ValueError, OverflowError):
        return 0


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _since(condition: Mapping[str, Any]) -> int:
    """Since when the condition is true, 0 if it is not."""
    return milliseconds(condition.get("lastTransitionTime")) if condition.get("status") == "True" else 0


def _variable(spec: Mapping[str, Any], name: str) -> str:
    """The value of a variable that the pod's container was given as it is."""
    container: Mapping[str, Any] = next(iter(spec.get("containers") or ()), {})
    return next((str(one.get("value", "")) for one in container.get("env") or () if one["name"] == name), "")


def _unschedulable(scheduled: Mapping[str, Any]) -> str:
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        return str(scheduled.get("message") or "no node fits")
    return ""


def _failing(status: Mapping[str, Any], container: Mapping[str, Any]) -> str:
    """Why the container does not run; the kubelet's own refusal of the pod counts as well."""
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or {}
    if waiting.get("reason") and waiting["reason"] not in _STARTING:
        return _sentence(waiting)
    if ended:
        return _sentence(ended)
    return _sentence(status) if status.get("phase") == "Failed" else ""


def _sentence(state: Mapping[str, Any]) -> str:
    reason = str(state.get("reason") or "Failed")
    code = f"exit code {state['exitCode']}" if "exitCode" in state else ""
    rest = str(state.get("message") or code)
    return f"{reason}: {rest}" if rest else reason


def _said(where: str, mistakes: Iterable[tuple[Iterable[str | int], str]]) -> list[str]:
    return [f"{'.'.join([where, *map(str, path)])} {message}" for path, message in mistakes]
