"""The few requests that the operator makes, as a protocol: resources are named, objects are JSON.

What it reads all the time comes from the watches; this is for writing, and for the rare look at one object.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from pydantic import BaseModel

from genlock_core.spec.session import API_VERSION

Body: TypeAlias = dict[str, Any]
"""An object of Kubernetes as JSON."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of objects, as URLs name it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """`/apis/genlock.dev/v1alpha1/namespaces/default/streamsessions/demo/status`."""
        parts = ["/apis" if self.group else "/api", self.api_version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


_GROUP, _VERSION = API_VERSION.split("/")
STREAM_SESSIONS: Final = Resource(_GROUP, _VERSION, "streamsessions", "StreamSession")
WORKER_POOLS: Final = Resource(_GROUP, _VERSION, "workerpools", "WorkerPool")
MODEL_PROFILES: Final = Resource(_GROUP, _VERSION, "modelprofiles", "ModelProfile")
PODS: Final = Resource("", "v1", "pods", "Pod")
NODES: Final = Resource("", "v1", "nodes", "Node", namespaced=False)
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS: Final = Resource("events.k8s.io", "v1", "events", "Event")


class KubeApi(Protocol):
    """Every method raises a KubeError; none tries again by itself."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Body: ...

    async def list_names(
        self, resource: Resource, namespace: str | None, *, labels: str = "", only_first: bool = False
    ) -> dict[str, str]:
        """Every object's uid by `namespace/name`, or that of the first one; metadata alone is fetched."""
        ...

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body: ...

    async def patch(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> Body:
        """A JSON merge patch. With `metadata.resourceVersion` or `.uid` in it another object is a Conflict."""
        ...

    async def patch_status(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> Body:
        """The same for the status subresource."""
        ...

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        """Delete this very object. Raises Conflict if another one has its name now."""
        ...


def whole_status(status: BaseModel) -> Body:
    """A status as a merge patch that replaces the whole of it: what has no value is null, which takes it away.

    Not so inside of lists: those are replaced as they are, and the API server would keep the nulls.
    """
    whole: Body = status.model_dump(mode="json", by_alias=True)
    return {name: _without_nulls(value) if isinstance(value, list) else value for name, value in whole.items()}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return value
