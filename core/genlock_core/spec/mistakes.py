"""Mistakes in a document, in the words of the person who wrote it: pydantic's findings, translated."""

import difflib
import json
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from genlock_core.spec.session import DNS_LABEL, RULE_BROKEN

M = TypeVar("M", bound=BaseModel)
Path = tuple[str | int, ...]

_NEEDS = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a number, not infinite",
    "bool_type": "must be true or false",
    "model_type": "must hold fields, written as name: value",
    "dict_type": "must hold fields, written as name: value",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "missing": "is missing",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "must be at least {}"),
    "greater_than": ("gt", "must be more than {}"),
    "less_than_equal": ("le", "must be at most {}"),
    "less_than": ("lt", "must be less than {}"),
    "multiple_of": ("multiple_of", "must be a multiple of {}"),
    "string_too_long": ("max_length", "must be at most {} characters long"),
    "string_too_short": ("min_length", "must be at least {} characters long"),
}


def validate(model: type[M], value: Any, *, below: Path = ()) -> tuple[M | None, list[tuple[Path, str]]]:
    """`value` (JSON values) as a model, or every mistake with the path of its field; `below` is put before each path.

    Strict: text is no number and a number no text, as for the API server. Rules across fields are not reported here,
    `rules.broken` does.
    """
    try:
        text = json.dumps(value, allow_nan=False)
        return model.model_validate_json(text, strict=True, by_alias=True, by_name=False), []
    except ValidationError as error:
        found = error.errors(include_url=False)
        return None, [
            ((*below, *detail["loc"]), _in_words(detail, model)) for detail in found if detail["type"] != RULE_BROKEN
        ]
    except ValueError:
        return None, [(below, "holds a number that is too large")]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean steps?`, or nothing if no known word is near."""
    lowered = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower().replace("_", ""), lowered, n=1, cutoff=0.6)
    return f"; did you mean {lowered[near[0]]}?" if near else ""


def _in_words(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        *parent, field = detail["loc"]
        return "there is no such field" + did_you_mean(str(field), _field_names(model, parent))
    if kind in ("enum", "literal_error"):
        allowed = [word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")]
        guess = did_you_mean(given, allowed) if isinstance(given, str) else ""
        return f"must be {_one_of(allowed)}, not {_shown(given)}{guess}"
    if kind in _BOUNDS:
        bound, message = _BOUNDS[kind]
        return f"{message.format(context[bound])}{_not(given)}"
    if kind == "string_pattern_mismatch" and context["pattern"] == DNS_LABEL:
        return f"must be a DNS label (1 to 63 lower-case letters, digits and hyphens){_not(given)}"
    if kind == "string_pattern_mismatch":
        return f"{_shown(given)} has characters or a length that are not allowed here ({context['pattern']})"
    if kind == "value_error":
        return f"{context['error']}{_not(given)}"
    if kind == "string_type" and isinstance(given, int | float):
        return f"must be text; put {_shown(given)} in quotes"
    if kind == "missing":
        return _NEEDS[kind]
    return f"{_NEEDS.get(kind, detail['msg'])}{_not(given)}"


def _not(given: Any) -> str:
    """What was written instead, where that is short enough to help."""
    return f", not {_shown(given)}" if isinstance(given, str | int | float | None) and len(str(given)) <= 40 else ""


def _shown(given: Any) -> str:
    text = json.dumps(given, ensure_ascii=False) if isinstance(given, str | int | float | None) else "this"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _one_of(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _field_names(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The fields that may stand at `path`, as they are written."""
    at: Any = model
    for part in path:
        if isinstance(part, int):
            at = next((inner for inner in typing.get_args(at) if isinstance(inner, type)), None)
            continue
        if not _is_model(at):
            return []
        by_alias: Mapping[str, Any] = {field.alias or name: field.annotation for name, field in at.model_fields.items()}
        at = _without_none(by_alias.get(part))
    return [field.alias or name for name, field in at.model_fields.items()] if _is_model(at) else []


def _without_none(annotation: Any) -> Any:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return next(part for part in typing.get_args(annotation) if part is not types.NoneType)
    return annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
