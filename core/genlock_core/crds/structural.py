"""Structural schemas, the form of a CustomResourceDefinition, made from the models: one source for both.

No `$ref`, one type per field, `anyOf` nowhere, and every default in the words of the wire (`500ms`, not 500).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from genlock_core.spec.rules import Rule, ratcheting, unchanged

_RULES = "x-kubernetes-validations"
_KEPT = (
    "type", "format", "pattern", "minLength", "maxLength", "minimum", "maximum", "multipleOf", "minItems", "maxItems",
    "maxProperties", "enum", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", _RULES,
)  # fmt: skip
_MAX_EXACT = 2**53
"""Bounds of a structural schema are float64; a larger one is left to the type int64."""


def structural(model: type[BaseModel], example: BaseModel | None = None) -> dict[str, Any]:
    """A model's structural schema: references resolved, `null` dropped (an absent field is None).

    `example` has nothing but the required fields: from it come the defaults of the others. Without one there are none.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    known = schema.get("$defs", {})
    default = None if example is None else example.model_dump(mode="json", by_alias=True)
    return _structural(schema, known, default)


def validate_at(schema: dict[str, Any], rule: Rule) -> None:
    """Put a rule across fields where it belongs."""
    _rules_at(schema, rule.scope).append({
        "rule": ratcheting(rule),
        "message": rule.message,
        "fieldPath": f".{rule.field}",
        "optionalOldSelf": True,
    })  # fmt: skip


def never_changes(schema: dict[str, Any], path: str, *, instead: str) -> None:
    """Put a transition rule at the field's parent: there, adding and removing an optional field is a change, too."""
    *scope, name = path.split(".")
    _rules_at(schema, scope).append({
        "rule": unchanged(name, "oldSelf"),
        "message": f"{name} cannot be changed; {instead}",
        "fieldPath": f".{name}",
    })  # fmt: skip


def _rules_at(schema: dict[str, Any], scope: Sequence[str]) -> list[dict[str, Any]]:
    for name in scope:
        schema = schema["properties"][name]
    found: list[dict[str, Any]] = schema.setdefault(_RULES, [])
    return found


def _structural(schema: Mapping[str, Any], known: Mapping[str, Any], default: Any = None) -> dict[str, Any]:
    whole = _one_type(schema, known)
    made: dict[str, Any] = {name: whole[name] for name in ("description", *_KEPT) if name in whole}
    if "const" in whole:
        made |= {"type": "string", "enum": [whole["const"]]}
    if "properties" in whole:
        required = whole.get("required", [])
        inside = default if isinstance(default, Mapping) else {}
        made["properties"] = {
            name: _structural(inner, known, inside.get(name))
            if name in required
            else _with_default(_structural(inner, known, inside.get(name)), inside.get(name))
            for name, inner in whole["properties"].items()
        }
        if required:
            made["required"] = required
    if isinstance(whole.get("additionalProperties"), Mapping):
        made["additionalProperties"] = _structural(whole["additionalProperties"], known)
    if "items" in whole:
        made["items"] = _structural(whole["items"], known, None if default is None else _plain_defaults(whole, known))
    if "exclusiveMinimum" in whole:
        made |= {"minimum": whole["exclusiveMinimum"], "exclusiveMinimum": True}
    if made.get("type") == "integer":
        made["format"] = "int64"
        _drop_inexact(made)
    if "pattern" in made and _RULES in made:
        made[_RULES] = [_after_pattern(made["pattern"], rule) for rule in made[_RULES]]
    return made


def _after_pattern(pattern: str, rule: Mapping[str, Any]) -> dict[str, Any]:
    """The rule for values that keep to the pattern.

    A rule that cannot read a value is an error of its own. The API server reports it beside the broken pattern, and
    refuses even updates of objects that were stored with that value before.
    """
    return {**rule, "rule": f"!self.matches(r'{pattern}') || {rule['rule']}"}


def _with_default(schema: dict[str, Any], default: Any) -> dict[str, Any]:
    """Write an object's default out in full: the API server checks the default as it stands by the object's rules."""
    return schema if default is None else {**schema, "default": _without_none(default)}


def _without_none(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {name: _without_none(inner) for name, inner in value.items() if inner is not None}


def _plain_defaults(array: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of a list's items, of which there is no example; they are plain values."""
    item = _one_type(array["items"], known)
    fields = {name: _one_type(inner, known) for name, inner in item.get("properties", {}).items()}
    return {name: field["default"] for name, field in fields.items() if isinstance(field.get("default"), str | int)}


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
