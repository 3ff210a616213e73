"""YAML (and JSON) from strangers as plain values: bounded, and with every mistake named by its line.

This is narrower than YAML on purpose. Anchors and aliases are refused, because they can grow without bound when they
are followed. So are tags, duplicate keys, and keys that are no text. Only `true`, `false`, `null` and numbers are
anything but text, as in Kubernetes' JSON.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from genlock_core.errors import FieldProblem, InvalidManifest

MAX_CHARS = 64 * 1024
MAX_DOCUMENTS = 64
MAX_DEPTH = 16
MAX_NODES = 20_000

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})")
_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?")
_NULLS = ("", "~", "null", "Null", "NULL")
_TRUE = ("true", "True", "TRUE")
_FALSE = ("false", "False", "FALSE")


@dataclass(frozen=True, slots=True)
class Document:
    """One document, and how to speak of it where there are several."""

    value: Any
    number: int
    """Which one it is; the first one is 1."""
    of: int
    """How many there are."""

    def at(self, path: Sequence[str | int]) -> str:
        """A field as a person writes it: `spec.slo.frameDeadline`, `rows[2].steps`."""
        text = ""
        for part in path:
            text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
        return f"{self._prefix()}{text or 'manifest'}"

    def _prefix(self) -> str:
        if self.of == 1:
            return ""
        metadata = self.value.get("metadata") if isinstance(self.value, dict) else None
        name = metadata.get("name") if isinstance(metadata, dict) else None
        named = f" ({name[:63]})" if isinstance(name, str) and name.isprintable() else ""
        return f"document {self.number}{named}: "


def read_documents(text: str, *, origin: str) -> list[Document]:
    """Every document of a YAML or JSON text that is not empty. Raises InvalidManifest, with all mistakes of form."""
    if len(text) > MAX_CHARS:
        _refuse("manifest", f"is {len(text)} characters long; at most {MAX_CHARS} are accepted", origin)

    # JSON first: YAML does not read all of it.
    if (value := _json(text)) is not None:
        _check_characters([value], origin)
        return [Document(value, 1, 1)]

    # The bounds are checked on the parser's events, before anything is built.
    try:
        _check_bounds(text, origin)
        nodes = [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if not _is_empty(node)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        _refuse(_line(mark), f"is not YAML: {error.problem or error.context}", origin)
    except yaml.YAMLError as error:
        _refuse("manifest", f"is not YAML: {str(error).splitlines()[0]}", origin)
    except (ValueError, OverflowError):  # a \U escape beyond Unicode, a version of a thousand digits
        _refuse("manifest", "is not YAML: it holds a number or an escape that is out of range", origin)

    problems: list[FieldProblem] = []
    values = [_value(node, problems) for node in nodes]
    if problems:
        raise InvalidManifest(problems, origin=origin)
    _check_characters(values, origin)
    return [Document(value, number, len(values)) for number, value in enumerate(values, start=1)]


def _json(text: str) -> Any | None:
    """A JSON object, None if the text is not one (YAML reads most of JSON, but no tabs and no escaped slashes)."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return value if _depth(value) <= MAX_DEPTH else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _depth(value: Any) -> int:
    """Levels of nesting, without recursion."""
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return depth


def _check_characters(values: list[Any], origin: str) -> None:
    """Refuse half characters (surrogates), which an escape can name and nobody can store. Two halves are one."""
    try:
        json.dumps(values, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        _refuse("manifest", "has an escape that is half a character, such as \\ud800", origin)


def _check_bounds(text: str, origin: str) -> None:
    """Refuse what would be large or deep before it is built; the event parser needs no recursion."""
    depth = nodes = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = _line(event.start_mark)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            _refuse(line, "has a YAML anchor or alias; write the value out", origin)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            _refuse(line, f"is nested more than {MAX_DEPTH} levels deep", origin)
        if nodes > MAX_NODES or documents > MAX_DOCUMENTS:
            _refuse(line, f"goes beyond {MAX_DOCUMENTS} documents or {MAX_NODES} values; split the file", origin)


def _value(node: Node, problems: list[FieldProblem]) -> Any:
    line = _line(node.start_mark)
    if isinstance(node, ScalarNode):
        return _scalar(node, line, problems)
    if not node.tag.startswith("tag:yaml.org,2002:"):
        problems.append(FieldProblem(line, f"has the YAML tag {node.tag[:40]}; leave it out"))
    if isinstance(node, SequenceNode):
        return [_value(item, problems) for item in node.value]

    # SafeLoader would take the last one of two equal keys in silence.
    assert isinstance(node, MappingNode)
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = _line(key_node.start_mark)
        value = _value(value_node, problems)
        if not isinstance(key_node, ScalarNode):
            problems.append(FieldProblem(line, "a key must be text"))
        elif key_node.value in mapping:
            problems.append(FieldProblem(line, f"the key {key_node.value[:40]!r} stands here twice"))
        else:
            mapping[key_node.value] = value
    return mapping


def _scalar(node: ScalarNode, line: str, problems: list[FieldProblem]) -> Any:
    text: str = node.value
    if node.tag == "tag:yaml.org,2002:str" or node.style in ("'", '"', "|", ">"):
        return text
    if not node.tag.startswith("tag:yaml.org,2002:"):
        problems.append(FieldProblem(line, f"has the YAML tag {node.tag[:40]}; leave it out"))
    return _plain(text)


def _plain(text: str) -> Any:
    """What a scalar without quotes stands for."""
    if text in _NULLS:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def _is_empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.style is None and node.value in _NULLS


def _line(mark: Any) -> str:
    """Where a mark of the parser points; it has none for some errors."""
    return "manifest" if mark is None else f"line {mark.line + 1}"


def _refuse(path: str, message: str, origin: str) -> NoReturn:
    raise InvalidManifest([FieldProblem(path, message)], origin=origin)
