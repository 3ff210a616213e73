"""The three kinds as the tests of the API server make them: the least that is accepted, changed in one place."""

import copy
from collections.abc import Mapping
from typing import Any, Final

import httpx

GROUP: Final = "/apis/genlock.dev/v1alpha1"
MERGE_PATCH: Final = {"Content-Type": "application/merge-patch+json"}

SESSION, POOL, PROFILE = "streamsessions", "workerpools", "modelprofiles"
KINDS: Final = {SESSION: "StreamSession", POOL: "WorkerPool", PROFILE: "ModelProfile"}
ROW: Final = {
    "resolution": "832x480",
    "steps": 2,
    "gpuProduct": "NVIDIA-H100",
    "gpus": 1,
    "fpsPerSession": 20.0,
    "source": "a test",
}
LEAST: Final[Mapping[str, dict[str, Any]]] = {
    SESSION: {},
    POOL: {"model": "wan2.1-1.3b", "engine": "mock", "gpu": {"product": "NVIDIA-H100", "count": 1}},
    PROFILE: {"rows": [ROW]},
}
"""Specs of nothing but required fields."""


def spec_with(plural: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The least spec, with values at dotted paths; a number in a path is an index, None takes the field away."""
    spec = copy.deepcopy(LEAST[plural])
    for path, value in changes.items():
        *above, last = path.split(".")
        where: Any = spec
        for part in above:
            where = where[int(part)] if isinstance(where, list) else where.setdefault(part, {})
        if value is None:
            del where[last]
        else:
            where[last] = value
    return spec


def manifest(plural: str, spec: Mapping[str, Any], *, name: str = "one") -> dict[str, Any]:
    return {"apiVersion": "genlock.dev/v1alpha1", "kind": KINDS[plural], "metadata": {"name": name}, "spec": spec}


class Resources:
    """One kind in one namespace, by an administrator; answers are the server's."""

    def __init__(self, kube: httpx.Client, namespace: str, plural: str) -> None:
        self.kube, self.plural = kube, plural
        self.path = f"{GROUP}/namespaces/{namespace}/{plural}"

    def create(self, changes: Mapping[str, Any] | None = None, *, name: str = "one") -> httpx.Response:
        """Fields that the schema does not know are refused, as kubectl asks for it."""
        body = manifest(self.plural, spec_with(self.plural, changes or {}), name=name)
        return self.kube.post(self.path, json=body, params={"fieldValidation": "Strict"})

    def get(self, name: str = "one") -> dict[str, Any]:
        answer = self.kube.get(f"{self.path}/{name}")
        answer.raise_for_status()
        return dict(answer.json())

    def patch(self, body: Mapping[str, Any], *, name: str = "one", subresource: str = "") -> httpx.Response:
        """A merge patch."""
        path = f"{self.path}/{name}" + (f"/{subresource}" if subresource else "")
        return self.kube.patch(path, json=body, headers=MERGE_PATCH)
