"""An object that was stored before a rule came can still be labelled, reported on and changed in other fields."""

import copy
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.api_server import ApiServer
from tests.kube_fixtures import apply_crd, load_crds
from tests.operator.cluster.resources import MERGE_PATCH, POOL, PROFILE, SESSION, spec_with

pytestmark = pytest.mark.apiserver

TIMEOUT_S = 30.0
POLL_S = 0.1
CHECKS = (
    "enum", "exclusiveMinimum", "maxItems", "maxLength", "maximum", "minLength", "minimum", "multipleOf", "pattern",
    "x-kubernetes-validations",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Old:
    """A spec that was fine once; `unrelated` is a change that must go through, `worse` one that must not."""

    plural: str
    spec: dict[str, Any]
    unrelated: dict[str, Any]
    worse: dict[str, Any]


OLD = {
    "steps beyond the mode": Old(
        SESSION, {"qualityMode": "low-latency", "steps": 3}, {"prompt": "other"}, {"steps": 4}
    ),
    "least steps beyond steps": Old(
        SESSION, {"approximation.minSteps": 3}, {"prompt": "other"}, {"approximation": {"minSteps": 4}}
    ),
    "first frame before the chunk": Old(
        SESSION, {"slo.timeToFirstFrame": "100ms"}, {"slo": {"missBudget": "2%"}}, {"slo": {"timeToFirstFrame": "90ms"}}
    ),
    "first frame in words": Old(
        SESSION, {"slo.timeToFirstFrame": "soon"}, {"steps": 1}, {"slo": {"timeToFirstFrame": "sooner"}}
    ),
    "file without a path": Old(SESSION, {"source.type": "file"}, {"source": {"loop": False}}, {"source": {"path": ""}}),
    "path without a file": Old(
        SESSION, {"source.path": "a.mp4"}, {"source": {"loop": False}}, {"source": {"path": "b.mp4"}}
    ),
    "bitrate": Old(SESSION, {"output.bitrate": "50k"}, {"output": {"codec": "vp8"}}, {"output": {"bitrate": "60k"}}),
    "bitrate in words": Old(
        SESSION, {"output.bitrate": "fast"}, {"output": {"codec": "vp8"}}, {"output": {"bitrate": "faster"}}
    ),
    "idle timeout": Old(SESSION, {"idleTimeout": "1ms"}, {"prompt": "other"}, {"idleTimeout": "2ms"}),
    "long prompt": Old(SESSION, {"prompt": "x" * 2_001}, {"steps": 1}, {"prompt": "y" * 2_001}),
    "min beyond max": Old(POOL, {"min": 3, "max": 2}, {"buffer": 1}, {"min": 4}),
    "more gpus than the engine": Old(POOL, {"engine": "diffusion", "gpu.count": 4}, {"max": 3}, {"gpu": {"count": 8}}),
    "weights from two places": Old(
        POOL,
        {"template.weights": {"claim": "a", "image": "b"}},
        {"template": {"image": "worker:2"}},
        {"template": {"weights": {"image": "c"}}},
    ),
    "toleration": Old(
        POOL, {"template.tolerations": [{"value": "x"}]}, {"max": 3}, {"template": {"tolerations": [{"value": "y"}]}}
    ),
    "scale in": Old(POOL, {"scaleInAfter": "soon"}, {"max": 3}, {"scaleInAfter": "later"}),
    "resolution": Old(
        PROFILE,
        {"rows.0.resolution": "100x100"},
        {"description": "other"},
        {"rows": [{**spec_with(PROFILE, {})["rows"][0], "resolution": "90x90"}]},
    ),
}


def without_checks(value: Any) -> Any:
    """The schema with nothing but types, required fields and defaults; a field may be called as a check is."""
    if isinstance(value, list):
        return [without_checks(one) for one in value]
    if not isinstance(value, dict):
        return value
    lax = {name: without_checks(inner) for name, inner in value.items() if name not in CHECKS}
    if "properties" in value:
        lax["properties"] = {name: without_checks(inner) for name, inner in value["properties"].items()}
    return lax


class OldObjects:
    """Objects of every kind, in a group of their own, stored under lax definitions which then became the project's."""

    def __init__(self, kube: httpx.Client) -> None:
        self.kube = kube
        self.group = f"ratchet-{secrets.token_hex(4)}.dev"

    def store(self) -> None:
        strict = {crd["spec"]["names"]["plural"]: self._renamed(crd) for crd in load_crds()}
        for crd in strict.values():
            apply_crd(self.kube, without_checks(crd))
        for name, old in OLD.items():
            self._create(old, self.name_of(name), until=201)
        for crd in strict.values():
            apply_crd(self.kube, crd)
        for old in OLD.values():
            self._create(old, "new", until=422, dryRun="All")

    def name_of(self, case: str) -> str:
        return case.replace(" ", "-")

    def patch(self, case: str, body: dict[str, Any], subresource: str = "") -> httpx.Response:
        path = f"{self._path(OLD[case])}/{self.name_of(case)}{subresource}"
        return self.kube.patch(path, json=body, headers=MERGE_PATCH)

    def _path(self, old: Old) -> str:
        return f"/apis/{self.group}/v1alpha1/namespaces/default/{old.plural}"

    def _renamed(self, crd: dict[str, Any]) -> dict[str, Any]:
        renamed = copy.deepcopy(crd)
        renamed["spec"]["group"] = self.group
        renamed["metadata"]["name"] = f"{crd['spec']['names']['plural']}.{self.group}"
        return renamed

    def _create(self, old: Old, name: str, *, until: int, **query: str) -> None:
        """A changed definition is in force some time after it was stored."""
        kind = {SESSION: "StreamSession", POOL: "WorkerPool", PROFILE: "ModelProfile"}[old.plural]
        body = {
            "apiVersion": f"{self.group}/v1alpha1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec_with(old.plural, old.spec),
        }
        deadline = time.monotonic() + TIMEOUT_S
        while (answer := self.kube.post(self._path(old), json=body, params=query)).status_code != until:
            if time.monotonic() > deadline:
                raise AssertionError(f"{name}: {answer.status_code} {answer.text}")
            time.sleep(POLL_S)


@pytest.fixture(scope="module")
def old_objects(api_server: ApiServer) -> Iterator[OldObjects]:
    with api_server.client() as kube:
        objects = OldObjects(kube)
        objects.store()
        yield objects


@pytest.mark.parametrize("case", OLD)
def test_it_can_be_labelled(old_objects: OldObjects, case: str) -> None:
    answer = old_objects.patch(case, {"metadata": {"labels": {"seen": "yes"}}})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("case", [case for case, old in OLD.items() if old.plural != PROFILE])
def test_its_status_can_be_written(old_objects: OldObjects, case: str) -> None:
    answer = old_objects.patch(case, {"status": {"observedGeneration": 1}}, "/status")
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("case", OLD)
def test_another_field_can_be_changed(old_objects: OldObjects, case: str) -> None:
    answer = old_objects.patch(case, {"spec": OLD[case].unrelated})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("case", OLD)
def test_the_broken_field_can_only_be_mended(old_objects: OldObjects, case: str) -> None:
    assert old_objects.patch(case, {"spec": OLD[case].worse}).status_code == 422
