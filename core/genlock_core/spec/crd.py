"""The CustomResourceDefinition of StreamSession, made from the models, so that cluster and laptop check the same.

`python -m genlock_core.spec.crd > manifests/crds/streamsessions.yaml` writes it; a test says that the file agrees.
Everything follows the rules of structural schemas: no `$ref`, one type per field, `anyOf` nowhere.
"""

import sys
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from genlock_core.spec.rules import IMMUTABLE, RULES
from genlock_core.spec.session import API_VERSION, DNS_LABEL, KIND, StreamSessionSpec
from genlock_core.spec.status import SessionStatus

_GROUP, _VERSION = API_VERSION.split("/")
_KEPT = (
    "type", "format", "pattern", "minLength", "maxLength", "minimum", "maximum", "multipleOf", "minItems", "maxItems",
    "enum", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations",
)  # fmt: skip
_MAX_EXACT = 2**53
"""Bounds of a structural schema are float64; a larger one is left to the type int64."""

_COLUMNS = (
    ("Phase", "string", ".status.phase", 0),
    ("Model", "string", ".spec.model", 0),
    ("Worker", "string", ".status.worker", 0),
    ("FPS", "number", ".status.figures.outputFps", 0),
    ("Viewers", "integer", ".status.viewers", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Mode", "string", ".spec.qualityMode", 1),
    ("Steps", "integer", ".status.steps", 1),
    ("GPUs", "number", ".status.gpus", 1),
    ("Late", "number", ".status.figures.missShare", 1),
    ("Moves", "integer", ".status.moves", 1),
)
"""Name, type, where, and priority: 1 is shown by `-o wide` alone."""


def stream_session_crd() -> dict[str, Any]:
    """The whole CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"streamsessions.{_GROUP}"},
        "spec": {
            "group": _GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": "streamsessions",
                "singular": "streamsession",
                "shortNames": ["ssn"],
                "categories": ["genlock"],
            },
            "versions": [
                {
                    "name": _VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path} | ({"priority": priority} if priority else {})
                        for name, kind, path, priority in _COLUMNS
                    ],
                    "schema": {"openAPIV3Schema": stream_session_schema()},
                }
            ],
        },
    }


def stream_session_schema() -> dict[str, Any]:
    """The structural schema of a StreamSession, with the rules across fields as CEL."""
    spec = structural(StreamSessionSpec, StreamSessionSpec().model_dump(mode="json", by_alias=True))
    for rule in RULES:
        _validate_at(spec, rule.scope, rule.cel, f"{rule.field}: {rule.message}")
    for path in IMMUTABLE:
        _never_changes(spec, path)
    return {
        "type": "object",
        "description": "A live stream of generated video: what goes in, what comes out, and what viewers are promised.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "The version of this schema."},
            "kind": {"type": "string", "description": f"Always {KIND}."},
            "metadata": {
                "type": "object",
                "properties": {"name": {"type": "string", "maxLength": 63, "pattern": DNS_LABEL}},
            },
            "spec": spec,
            "status": structural(SessionStatus),
        },
    }


def structural(model: type[BaseModel], defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A model's structural schema: references resolved, `null` dropped (an absent field is None).

    `defaults` are the values, on the wire, of what is left out.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _structural(schema, schema.get("$defs", {}), defaults)


def _structural(schema: Mapping[str, Any], known: Mapping[str, Any], default: Any = None) -> dict[str, Any]:
    whole = _one_type(schema, known)
    made: dict[str, Any] = {name: whole[name] for name in ("description", *_KEPT) if name in whole}
    if "const" in whole:
        made |= {"type": "string", "enum": [whole["const"]]}
    if "properties" in whole:
        inside = default if isinstance(default, Mapping) else {}
        made["properties"] = {
            name: _with_default(_structural(inner, known, inside.get(name)), inside.get(name))
            for name, inner in whole["properties"].items()
        }
        if whole.get("required"):
            made["required"] = whole["required"]
    if "items" in whole:
        made["items"] = _structural(whole["items"], known)
    if made.get("type") == "integer":
        made["format"] = "int64"
        _drop_inexact(made)
    return made


def _with_default(schema: dict[str, Any], default: Any) -> dict[str, Any]:
    """An object's default is written out: the API server holds it, as it stands, against the object's rules."""
    if default is None:
        return schema
    if isinstance(default, Mapping):
        default = {name: value for name, value in default.items() if value is not None}
    return {**schema, "default": default}


def _one_type(schema: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The schema that a reference or an `X or null` means."""
    if "$ref" in schema:
        return {**_one_type(known[schema["$ref"].removeprefix("#/$defs/")], known), **_without(schema, "$ref")}
    if "anyOf" in schema:
        options = [option for option in schema["anyOf"] if option.get("type") != "null"]
        if len(options) != 1:
            raise ValueError(f"a structural schema has one type per field: {schema}")
        return {**_one_type(options[0], known), **_without(schema, "anyOf")}
    return dict(schema)


def _without(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != name}


def _drop_inexact(made: dict[str, Any]) -> None:
    for bound in ("minimum", "maximum"):
        if abs(made.get(bound, 0)) > _MAX_EXACT:
            del made[bound]


def _validate_at(schema: dict[str, Any], scope: tuple[str, ...], rule: str, message: str) -> None:
    for name in scope:
        schema = schema["properties"][name]
    schema.setdefault("x-kubernetes-validations", []).append({"rule": rule, "message": message})


def _never_changes(spec: dict[str, Any], path: str) -> None:
    """A transition rule at the field's parent, so that adding and removing an optional field is a change too."""
    *scope, name = path.split(".")
    rule = f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})"
    _validate_at(spec, tuple(scope), rule, f"{name} cannot be changed; make a session of another name")


class _Dumper(yaml.SafeDumper):
    """Never writes an alias: the API server would take it, people would not."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def to_yaml(document: Mapping[str, Any]) -> str:
    return yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    sys.stdout.write(f"# Made by: python -m genlock_core.spec.crd\n{to_yaml(stream_session_crd())}")
