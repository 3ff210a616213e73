import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from genlock_core.crds import crd, reference
from genlock_core.crds.crd import KINDS, POOL, PROFILE, ResourceKind
from genlock_core.sizing.profile import PROFILE_KIND
from genlock_core.spec.manifest import load_manifest
from genlock_core.spec.pool import POOL_KIND, WorkerPoolSpec
from genlock_core.spec.session import KIND, Phase
from genlock_core.spec.status import Condition, Endpoints, Figures, SessionStatus

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
PROFILES = sorted((ROOT / "core/genlock_core/sizing/profiles").glob("*.yaml"))
STRUCTURAL = {
    "type", "description", "format", "default", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum",
    "exclusiveMinimum", "multipleOf", "minItems", "maxItems", "maxProperties", "properties", "required", "items",
    "additionalProperties", "x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
}  # fmt: skip
"""What the schema may use; all of it is allowed in a structural schema."""

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from nodes(schema[name], f"{path}[]")


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """As the API server prunes: it drops unknown fields, with strict field validation it refuses them."""
    schema = copy.deepcopy(schema)
    for path, node in nodes(schema):
        if node["type"] == "object" and path not in ("", ".metadata"):
            node.setdefault("additionalProperties", False)
    return schema


CHECKS = {kind.name: jsonschema.Draft4Validator(closed(crd.schema(kind))) for kind in KINDS}
"""Draft 4 is what OpenAPI 3.0, and so a CRD, goes by."""
CHECK = CHECKS[KIND]


@every_kind
@pytest.mark.parametrize("folder", crd.FOLDERS)
def test_the_committed_crd_is_the_one_that_the_models_make(kind: ResourceKind, folder: str) -> None:
    assert (ROOT / folder / kind.file).read_text() == crd.to_yaml(kind)


def test_every_folder_of_crds_holds_them_and_nothing_else() -> None:
    for folder in crd.FOLDERS:
        assert {path.name for path in (ROOT / folder).iterdir()} == {kind.file for kind in KINDS}


def test_the_writer_writes_what_is_committed(tmp_path: Path) -> None:
    crd.write(tmp_path / "crds")
    reference.write(tmp_path)
    for kind in KINDS:
        assert (tmp_path / "crds" / kind.file).read_bytes() == (ROOT / "manifests/crds" / kind.file).read_bytes()
        page = f"{kind.name.lower()}.md"
        assert (tmp_path / page).read_bytes() == (ROOT / "docs" / page).read_bytes()


@every_kind
def test_the_schema_is_structural(kind: ResourceKind) -> None:
    for path, node in nodes(crd.schema(kind)):
        assert set(node) <= STRUCTURAL, path
        assert node["type"] in ("object", "array", "string", "integer", "number", "boolean"), path


@every_kind
def test_every_field_is_described(kind: ResourceKind) -> None:
    bare = [path for path, node in nodes(crd.schema(kind)) if not node.get("description")]
    assert bare == [".metadata"], "the API server describes metadata itself, and lets nobody else do so"


@every_kind
def test_every_text_that_a_rule_reads_is_bounded_so_that_the_rule_is_cheap(kind: ResourceKind) -> None:
    for path, node in nodes(crd.schema(kind)):
        if node["type"] == "string" and "x-kubernetes-validations" in node:
            assert node["maxLength"] <= 64, path


@every_kind
def test_everything_in_a_spec_that_can_grow_is_bounded(kind: ResourceKind) -> None:
    for path, node in nodes(crd.schema(kind)["properties"]["spec"]):
        if node["type"] == "string":
            assert "maxLength" in node or "enum" in node or "pattern" in node, path
        assert node["type"] != "array" or "maxItems" in node, path
        assert "additionalProperties" not in node or "maxProperties" in node, path


@every_kind
def test_patterns_are_of_the_kind_that_both_sides_understand(kind: ResourceKind) -> None:
    for path, node in nodes(crd.schema(kind)):
        if pattern := node.get("pattern"):
            assert re.compile(pattern)
            assert "(?" not in pattern, path
            assert pattern.startswith("^"), path
            assert pattern.endswith("$"), path


@every_kind
def test_every_rule_and_every_immutable_field_is_in_the_schema(kind: ResourceKind) -> None:
    text = json.dumps(crd.schema(kind))
    for rule in kind.rules:
        assert json.dumps(rule.cel)[1:-1] in text
    for path in kind.immutable:
        assert f"== oldSelf.{path.rpartition('.')[2]}" in text


@every_kind
def test_a_rule_across_fields_lets_pass_what_an_older_release_let_in(kind: ResourceKind) -> None:
    """It compares with the old object, and it names only fields that the schema has."""
    for path, node in nodes(crd.schema(kind)):
        for rule in node.get("x-kubernetes-validations", ()):
            if not rule.get("optionalOldSelf"):
                assert node["type"] != "object" or "== oldSelf." in rule["rule"], path
                continue
            at = node
            for part in rule["fieldPath"].removeprefix(".").split("."):
                at = at["properties"][part]
            assert ") || oldSelf.hasValue() && " in rule["rule"]


@every_kind
def test_printer_columns_and_selectable_fields_are_fields_of_the_schema(kind: ResourceKind) -> None:
    known = {path: node["type"] for path, node in nodes(crd.schema(kind))}
    columns = {column.path: column.type for column in kind.columns if not column.path.startswith(".metadata")}
    for path, column_type in columns.items():
        at = path.replace('[?(@.type=="', "|").split("|")[0]
        assert known[at] == (column_type if at == path else "array"), path
    assert {known[path] for path in kind.selectable} <= {"string"}


@every_kind
def test_the_defaults_of_the_schema_are_those_of_the_models(kind: ResourceKind) -> None:
    def filled(schema: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
        for name, inner in schema.get("properties", {}).items():
            if name not in value and "default" in inner:
                value[name] = copy.deepcopy(inner["default"])
            if isinstance(value.get(name), dict):
                filled(inner, value[name])
        return value

    written = kind.example.model_dump(mode="json", by_alias=True, exclude_unset=True)
    wire = kind.example.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert filled(crd.schema(kind)["properties"]["spec"], written) == wire


@every_kind
def test_the_default_of_an_object_is_written_out_because_its_rules_are_held_against_it(kind: ResourceKind) -> None:
    for path, node in nodes(crd.schema(kind)):
        if node["type"] == "object" and "default" in node and "properties" in node:
            inner = {name: field["default"] for name, field in node["properties"].items() if "default" in field}
            assert node["default"] == inner, path


def test_a_default_inside_a_list_is_the_models_too() -> None:
    row = crd.schema(PROFILE)["properties"]["spec"]["properties"]["rows"]["items"]
    assert {name: field["default"] for name, field in row["properties"].items() if "default" in field} == {
        "sessions": 1, "doubtful": False,
    }  # fmt: skip
    template = crd.schema(POOL)["properties"]["spec"]["properties"]["template"]["properties"]
    assert template["tolerations"]["items"]["properties"]["operator"]["default"] == "Equal"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_fits_the_schema(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        CHECKS[document["kind"]].validate(document)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_the_profiles_that_come_with_genlock_are_objects_that_the_api_server_takes(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        CHECKS[PROFILE_KIND].validate(document)


@pytest.mark.parametrize(
    "spec",
    [
        {"steps": 0},
        {"steps": 5},
        {"steps": "2"},
        {"stesp": 2},
        {"qualityMode": "fast"},
        {"resolution": {"width": 832}},
        {"resolution": {"width": 830, "height": 480}},
        {"frameRate": 61},
        {"prompt": ""},
        {"prompt": " \n"},
        {"prompt": "bell\x07"},
        {"prompt": "x" * 2_001},
        {"seed": -1},
        {"noiseScale": 1.1},
        {"source": {"type": "camera"}},
        {"output": {"bitrate": 1_500_000}},
        {"output": {"bitrate": "fast"}},
        {"slo": {"frameDeadline": 500}},
        {"slo": {"frameDeadline": "500"}},
        {"slo": {"missBudget": "101%"}},
        {"access": {"view": "public"}},
        {"access": {"origins": ["https://www.example.org/"]}},
        {"access": {"origins": ["null"]}},
        {"access": {"origins": ["*"] * 17}},
        {"idleTimeout": "1d"},
        {"ttlSecondsAfterFinished": -1},
        [],
    ],
    ids=str,
)
def test_what_the_schema_refuses_the_models_refuse_too(spec: Any) -> None:
    document = {"apiVersion": "genlock.dev/v1alpha1", "kind": "StreamSession", "metadata": {"name": "a"}, "spec": spec}
    assert not CHECK.is_valid(document)
    with pytest.raises(Exception, match="1 mistake"):
        load_manifest(json.dumps(document))


def test_a_full_status_fits_the_schema() -> None:
    now = "2026-01-01T00:00:00Z"
    status = SessionStatus(
        phase=Phase.LIVE,
        worker="w0",
        epoch=1_700_000_000_000,
        gpus=2.0,
        endpoints=Endpoints(whip="a", whep="b", studio="c", watch="d"),
        figures=Figures(output_fps=16.0, miss_share=0.01, updated=now),
        conditions=[Condition(type="Live", status="True", reason="Frames", message="", last_transition_time=now)],
    )
    document = {"spec": {}, "status": status.model_dump(mode="json", by_alias=True, exclude_none=True)}
    CHECK.validate(document)
    document["status"]["phase"] = "Alive"
    assert not CHECK.is_valid(document)


POOL_SPEC = {"model": "wan2.1-1.3b", "engine": "mock", "gpu": {"product": "NVIDIA-H100", "count": 1}}


@pytest.mark.parametrize(
    "change",
    [
        {"model": "Wan"},
        {"engine": "torch"},
        {"gpu": {"product": "NVIDIA-H100"}},
        {"gpu": {"product": "NVIDIA-H100", "count": 0}},
        {"replicas": -1},
        {"max": 1_001},
        {"scaleInAfter": 300},
        {"drain": {"timeout": "forever"}},
        {"moveReserve": "110%"},
        {"sessionNamespaces": "Some"},
        {"template": {"compute": {"cpu": "four"}}},
        {"template": {"nodeSelector": {"a": 1}}},
        {"template": {"tolerations": [{"operator": "Like"}]}},
        {"template": {"env": {"A": "x" * 4_097}}},
        {"template": {"command": ["sh"]}},
    ],
    ids=str,
)
def test_what_the_pools_schema_refuses_the_models_refuse_too(change: dict[str, Any]) -> None:
    spec = POOL_SPEC | change
    document = {"apiVersion": "genlock.dev/v1alpha1", "kind": POOL_KIND, "metadata": {"name": "a"}, "spec": spec}
    assert not CHECKS[POOL_KIND].is_valid(document)
    with pytest.raises(ValueError, match="1 validation error"):
        WorkerPoolSpec.model_validate_json(json.dumps(spec), strict=True)


ROW = {"gpuProduct": "H100", "gpus": 1, "resolution": "832x480", "steps": 2, "fpsPerSession": 16.5, "source": "a test"}


@pytest.mark.parametrize(
    "change",
    [
        {"resolution": "832"},
        {"resolution": {"width": 832, "height": 480}},
        {"steps": 5},
        {"fpsPerSession": 0},
        {"gpus": 0},
        {"chunkLatencyMs": {"p50": 1}},
        {"guessed": True},
        {"source": ""},
    ],
    ids=str,
)
def test_what_the_profiles_schema_refuses_the_models_refuse_too(change: dict[str, Any]) -> None:
    def document(row: dict[str, Any]) -> dict[str, Any]:
        metadata = {"name": "wan2.1-1.3b"}
        return {
            "apiVersion": "genlock.dev/v1alpha1",
            "kind": PROFILE_KIND,
            "metadata": metadata,
            "spec": {"rows": [row]},
        }

    CHECKS[PROFILE_KIND].validate(document(ROW))
    assert not CHECKS[PROFILE_KIND].is_valid(document(ROW | change))
