"""What `genlock session set` was told to change: `name=value` texts, read by the contract's own bounds."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from genlock_core.errors import BadInput
from genlock_core.spec.mistakes import validate
from genlock_core.stream_state.control import ControlChange

_FIELDS: Final[Mapping[str, type]] = MappingProxyType(
    {"prompt": str, "steps": int, "noiseScale": float, "paused": bool}
)


def parse_changes(changes: Sequence[str]) -> dict[str, object]:
    """`["prompt=ink", "steps=3"]` as a control change. Raises BadInput with what is possible."""
    change: dict[str, object] = {}
    for text in changes:
        name, separator, value = text.partition("=")
        if not separator or name not in _FIELDS:
            raise BadInput(f"{text!r} is no change; write {', '.join(f'{field}=...' for field in _FIELDS)}")
        change[name] = _value(name, value)
    _, mistakes = validate(ControlChange, change)
    if mistakes:
        raise BadInput("; ".join(f"{'.'.join(map(str, path))} {message}" for path, message in mistakes))
    return change


def _value(name: str, text: str) -> object:
    kind = _FIELDS[name]
    if kind is str:
        return text
    if kind is bool:
        if text.lower() not in {"true", "false"}:
            raise BadInput(f"{name} must be true or false, not {text!r}")
        return text.lower() == "true"
    least, most = _bounds(name)
    mistake = BadInput(
        f"{name} must be {'a whole number ' if kind is int else ''}from {least:g} to {most:g}, not {text!r}"
    )
    try:
        value = kind(text)
    except ValueError:
        raise mistake from None
    # Asked in this way round, a value that is no number is refused too.
    if not least <= value <= most:
        raise mistake
    return value


def _bounds(name: str) -> tuple[float, float]:
    """What the contract allows: from, to."""
    declared: Mapping[str, Any] = ControlChange.model_json_schema()["properties"][name]
    (number,) = [one for one in declared["anyOf"] if one["type"] != "null"]
    return number["minimum"], number["maximum"]
