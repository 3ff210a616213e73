"""How the kinds look to the tools of a cluster: status and scale apart, selectors, columns, conditions, `explain`."""

import datetime
from collections.abc import Iterator
from typing import Any

import pytest

from tests.operator.cluster.resources import KINDS, POOL, PROFILE, SESSION, Resources

pytestmark = pytest.mark.apiserver

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}
NOW = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
DEFAULT_COLUMNS = {
    SESSION: ["Name", "Model", "Mode", "Steps", "GPUs", "Worker", "FPS", "TTFF", "Phase", "Age"],
    POOL: [
        "Name", "Model", "Product", "GPUs", "Desired", "Ready", "Serving", "Sessions", "Waiting", "Available", "Age",
    ],
    PROFILE: ["Name", "Description", "Age"],
}  # fmt: skip


def condition(kind: str, status: str, reason: str = "Because") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": "Said so.", "lastTransitionTime": NOW}


@pytest.mark.parametrize("plural", [SESSION, POOL])
def test_a_spec_is_not_changed_by_way_of_the_status(plural: str, sessions: Resources, pools: Resources) -> None:
    resources = {SESSION: sessions, POOL: pools}[plural]
    before = resources.create().json()["spec"]
    body = {"spec": {"model": "other"}, "status": {"observedGeneration": 1}}
    assert resources.patch(body, subresource="status").status_code == 200
    assert resources.get()["spec"] == before
    assert resources.get()["status"] == {"observedGeneration": 1}


@pytest.mark.parametrize("plural", [SESSION, POOL])
def test_a_status_is_not_changed_by_way_of_the_spec(plural: str, sessions: Resources, pools: Resources) -> None:
    resources = {SESSION: sessions, POOL: pools}[plural]
    resources.create()
    assert resources.patch({"status": {"observedGeneration": 1}}).status_code == 200
    assert "status" not in resources.get()


@pytest.mark.parametrize("plural", [SESSION, POOL])
def test_only_a_change_of_the_spec_is_a_new_generation(plural: str, sessions: Resources, pools: Resources) -> None:
    resources = {SESSION: sessions, POOL: pools}[plural]
    resources.create()
    resources.patch({"status": {"observedGeneration": 1}}, subresource="status")
    resources.patch({"metadata": {"labels": {"a": "b"}}})
    assert resources.get()["metadata"]["generation"] == 1
    resources.patch({"spec": {"prompt": "another"} if plural == SESSION else {"max": 3}})
    assert resources.get()["metadata"]["generation"] == 2


def test_a_phase_that_nobody_knows_is_refused(sessions: Resources) -> None:
    sessions.create()
    answer = sessions.patch({"status": {"phase": "Lost"}}, subresource="status")
    assert 'status.phase: Unsupported value: "Lost"' in answer.json()["message"]


def test_a_pool_is_scaled_as_a_deployment_is(pools: Resources) -> None:
    pools.create()
    pools.patch({"status": {"replicas": 2, "selector": "genlock.dev/pool=one"}}, subresource="status")
    assert pools.patch({"spec": {"replicas": 5}}, subresource="scale").status_code == 200
    scale = pools.kube.get(f"{pools.path}/one/scale").json()
    assert scale["kind"] == "Scale"
    assert scale["spec"] == {"replicas": 5}
    assert scale["status"] == {"replicas": 2, "selector": "genlock.dev/pool=one"}
    assert pools.get()["spec"]["replicas"] == 5


def test_scaling_keeps_to_the_schema(pools: Resources) -> None:
    pools.create()
    answer = pools.patch({"spec": {"replicas": 2_000}}, subresource="scale")
    assert answer.status_code == 422
    assert pools.get()["spec"]["replicas"] == 1


@pytest.mark.parametrize(
    ("status", "selector"),
    [
        ({}, "spec.model=mine"),
        ({}, "spec.qualityMode=quality"),
        ({"phase": "Live"}, "status.phase=Live"),
        ({"worker": "w-0"}, "status.worker=w-0"),
        ({"pool": "team/p"}, "status.pool=team/p"),
    ],
)
def test_sessions_are_found_by_field(sessions: Resources, status: dict[str, Any], selector: str) -> None:
    sessions.create({"model": "mine", "qualityMode": "quality"}, name="found")
    sessions.create(name="other")
    sessions.patch({"status": status}, name="found", subresource="status")
    answer = sessions.kube.get(sessions.path, params={"fieldSelector": selector})
    assert [one["metadata"]["name"] for one in answer.json()["items"]] == ["found"]


def test_pools_are_found_by_model(pools: Resources) -> None:
    pools.create({"model": "mine"}, name="found")
    pools.create(name="other")
    answer = pools.kube.get(pools.path, params={"fieldSelector": "spec.model=mine"})
    assert [one["metadata"]["name"] for one in answer.json()["items"]] == ["found"]


def cells(resources: Resources) -> dict[str, Any]:
    table = resources.kube.get(resources.path, headers=TABLE).json()
    (row,) = table["rows"]
    return dict(zip([column["name"] for column in table["columnDefinitions"]], row["cells"], strict=True))


def test_kubectl_get_shows_these_columns(resources: Resources) -> None:
    resources.create()
    columns = resources.kube.get(resources.path, headers=TABLE).json()["columnDefinitions"]
    assert [one["name"] for one in columns if one["priority"] == 0] == DEFAULT_COLUMNS[resources.plural]


def test_a_session_s_row(sessions: Resources) -> None:
    sessions.create({"model": "mine"})
    status = {
        "phase": "Live",
        "worker": "w-0",
        "steps": 2,
        "gpus": 1,
        "figures": {"outputFps": 15.9, "firstFrameMs": 420.0, "updated": NOW},
    }
    answer = sessions.patch({"status": status}, subresource="status")
    assert answer.status_code == 200, answer.text
    row = cells(sessions)
    shown = {name: row[name] for name in ("Name", "Model", "Mode", "Steps", "GPUs", "Worker", "FPS", "TTFF", "Phase")}
    assert shown == {
        "Name": "one",
        "Model": "mine",
        "Mode": "balanced",
        "Steps": 2,
        "GPUs": 1,
        "Worker": "w-0",
        "FPS": 15.9,
        "TTFF": 420,
        "Phase": "Live",
    }


def test_a_pool_s_row(pools: Resources) -> None:
    pools.create()
    counts = {"desired": 4, "ready": 3, "serving": 2, "sessions": 5, "waiting": 1}
    status = {**counts, "conditions": [condition("Available", "True")]}
    assert pools.patch({"status": status}, subresource="status").status_code == 200
    row = cells(pools)
    assert [row[name] for name in ("Desired", "Ready", "Serving", "Sessions", "Waiting", "Available")] == [
        4, 3, 2, 5, 1, "True",
    ]  # fmt: skip


def test_short_names_and_the_category_are_known(resources: Resources) -> None:
    served = {one["name"]: one for one in resources.kube.get("/apis/genlock.dev/v1alpha1").json()["resources"]}
    short = {SESSION: "ssn", POOL: "wpl", PROFILE: "mpf"}[resources.plural]
    assert served[resources.plural]["shortNames"] == [short]
    assert served[resources.plural]["categories"] == ["genlock"]


@pytest.mark.parametrize("plural", [SESSION, POOL])
def test_conditions_of_two_writers_merge_by_type(plural: str, sessions: Resources, pools: Resources) -> None:
    resources = {SESSION: sessions, POOL: pools}[plural]
    resources.create()
    for writer, kind in (("operator", "Available"), ("somebody-else", "Audited")):
        body = {
            "apiVersion": "genlock.dev/v1alpha1",
            "kind": KINDS[plural],
            "status": {"conditions": [condition(kind, "True")]},
        }
        path = f"{resources.path}/one/status"
        answer = resources.kube.patch(path, params={"fieldManager": writer}, json=body, headers=APPLY)
        assert answer.status_code == 200, answer.text
    assert {one["type"] for one in resources.get()["status"]["conditions"]} == {"Available", "Audited"}


def test_two_conditions_of_one_type_are_refused(pools: Resources) -> None:
    pools.create()
    body = {"status": {"conditions": [condition("Available", "True"), condition("Available", "False")]}}
    answer = pools.patch(body, subresource="status")
    assert "status.conditions[1]: Duplicate value" in answer.json()["message"]


def undescribed(schema: dict[str, Any], path: str) -> Iterator[str]:
    """Fields of a published schema that `kubectl explain` could say nothing about."""
    if "$ref" in schema or any("$ref" in one for one in schema.get("allOf", ())):
        return  # metadata: Kubernetes describes it
    for name, inner in schema.get("properties", {}).items():
        if not inner.get("description") and "$ref" not in inner:
            yield f"{path}.{name}"
        yield from undescribed(inner, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(inner := schema.get(name), dict):
            yield from undescribed(inner, f"{path}[]")


def test_explain_says_something_of_every_field(resources: Resources) -> None:
    published = resources.kube.get("/openapi/v3/apis/genlock.dev/v1alpha1").json()["components"]["schemas"]
    kind = KINDS[resources.plural]
    (schema,) = [one for name, one in published.items() if name.endswith(f".{kind}")]
    assert schema["description"]
    assert {"spec"} <= schema["properties"].keys()
    assert list(undescribed(schema, kind)) == []
