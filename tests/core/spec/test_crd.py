import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from genlock_core.spec import reference
from genlock_core.spec.crd import stream_session_crd, stream_session_schema
from genlock_core.spec.manifest import load_manifest
from genlock_core.spec.rules import IMMUTABLE, RULES
from genlock_core.spec.session import Phase, StreamSessionSpec
from genlock_core.spec.status import Condition, Endpoints, Figures, SessionStatus

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
STRUCTURAL = {
    "type", "description", "format", "default", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum",
    "multipleOf", "minItems", "maxItems", "properties", "required", "items", "x-kubernetes-validations",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
}  # fmt: skip
"""What the schema may use; all of it is allowed in a structural schema."""


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """As the API server prunes: it drops unknown fields, with strict field validation it refuses them."""
    schema = copy.deepcopy(schema)
    for path, node in nodes(schema):
        if node["type"] == "object" and path not in ("", ".metadata"):
            node["additionalProperties"] = False
    return schema


CHECK = jsonschema.Draft202012Validator(closed(stream_session_schema()))


def test_the_committed_crd_is_the_one_that_the_models_make() -> None:
    assert yaml.safe_load((ROOT / "manifests/crds/streamsessions.yaml").read_text()) == stream_session_crd()


def test_the_committed_reference_is_the_one_that_the_models_make() -> None:
    assert (ROOT / "docs/streamsession.md").read_text() == reference.page()


def test_the_schema_is_structural() -> None:
    for path, node in nodes(stream_session_schema()):
        assert set(node) <= STRUCTURAL, path
        assert node["type"] in ("object", "array", "string", "integer", "number", "boolean"), path


def test_every_field_is_described() -> None:
    bare = [
        path
        for path, node in nodes(stream_session_schema())
        if not node.get("description") and not path.startswith(".metadata") and not path.endswith("[]")
    ]
    assert bare == []


def test_every_text_that_a_rule_reads_is_bounded_so_that_the_rule_is_cheap() -> None:
    for path, node in nodes(stream_session_schema()):
        if node["type"] == "string" and "x-kubernetes-validations" in node:
            assert node["maxLength"] <= 64, path


def test_patterns_are_of_the_kind_that_both_sides_understand() -> None:
    for path, node in nodes(stream_session_schema()):
        if pattern := node.get("pattern"):
            assert re.compile(pattern)
            assert "(?" not in pattern, path
            assert pattern.startswith("^"), path
            assert pattern.endswith("$"), path


def test_every_rule_and_every_immutable_field_is_in_the_schema() -> None:
    text = json.dumps(stream_session_schema())
    for rule in RULES:
        assert json.dumps(rule.cel) in text
    for path in IMMUTABLE:
        assert f"oldSelf.{path.rpartition('.')[2]}" in text


def test_the_defaults_of_the_schema_are_those_of_the_models() -> None:
    def filled(schema: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
        for name, inner in schema["properties"].items():
            if name not in value and "default" in inner:
                value[name] = copy.deepcopy(inner["default"])
            if isinstance(value.get(name), dict):
                filled(inner, value[name])
        return value

    wire = StreamSessionSpec().model_dump(mode="json", by_alias=True, exclude_none=True)
    assert filled(stream_session_schema()["properties"]["spec"], {}) == wire


def test_the_default_of_an_object_is_written_out_because_its_rules_are_held_against_it() -> None:
    for path, node in nodes(stream_session_schema()):
        if node["type"] == "object" and "default" in node:
            inner = {name: field["default"] for name, field in node["properties"].items() if "default" in field}
            assert node["default"] == inner, path


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_fits_the_schema(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        CHECK.validate(document)


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
