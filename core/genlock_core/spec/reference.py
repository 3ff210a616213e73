"""`docs/streamsession.md`, the reference of every field, made from the same schema as the CRD.

`python -m genlock_core.spec.reference > docs/streamsession.md` writes it; a test says that the page agrees.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from genlock_core.spec.crd import stream_session_schema
from genlock_core.spec.quantities import format_duration_ms
from genlock_core.spec.rules import IMMUTABLE, RULES
from genlock_core.spec.session import MODE_DEFAULTS

_HEAD = """\
# StreamSession

One manifest is the whole interface; the same file runs with `genlock up FILE` and on Kubernetes. `examples/` has one
per use. This page is made by `python -m genlock_core.spec.reference > docs/streamsession.md`; a test keeps it true.

A file may hold several sessions, divided by `---`. Unknown fields, a number where text belongs and YAML's anchors are
mistakes; all mistakes of a file are reported at once, each with the path of its field. `metadata.name` and
`metadata.namespace` (left out: `default`) are DNS labels, because they are part of the URLs.

Durations are text with a unit (`500ms`, `1m30s`), bitrates as well (`1500k`, `2M`), shares are percentages (`1%`).

A change of `prompt`, `steps` or `noiseScale` reaches a session that lives with its next chunk. What else its worker
goes by (`output.bitrate`, `slo.frameDeadline`, `approximation`, `recovery`, `source.path`, `source.loop`) reaches it
only when a worker opens it again: with its next move, or after its worker was lost.
"""

_BY_MODE = ("spec.steps", "spec.resolution", "spec.slo")


def page() -> str:
    """The whole page, Markdown."""
    schema = stream_session_schema()["properties"]
    lines = [
        _HEAD,
        "## Quality modes",
        "",
        "What `qualityMode` stands for where the session does not say otherwise:",
        "",
    ]
    lines += ["| mode | steps | resolution | frameDeadline | timeToFirstFrame |", "|---|---|---|---|---|"]
    for mode, defaults in MODE_DEFAULTS.items():
        deadline, first = map(format_duration_ms, (defaults.frame_deadline_ms, defaults.time_to_first_frame_ms))
        lines.append(f"| `{mode}` | {defaults.steps} | {defaults.resolution} | {deadline} | {first} |")
    lines += ["", "## spec", "", "| field | type | default | meaning |", "|---|---|---|---|"]
    lines += [_row(path, field) for path, field in _fields(schema["spec"], "spec")]
    lines += ["", "Rules across fields:", ""]
    lines += [f"- `{'.'.join(('spec', *rule.scope, rule.field))}` {rule.message}." for rule in RULES]
    fixed = ", ".join(f"`{path}`" for path in IMMUTABLE)
    lines += ["", f"Fixed for the life of a session: {fixed}.", ""]
    lines += ["## status", "", "Written by the system.", "", "| field | type | meaning |", "|---|---|---|"]
    for path, field in _fields(schema["status"], "status"):
        lines.append(f"| `{path}` | {_kind(field)} | {field['description']} |")
    return "\n".join(lines) + "\n"


def _fields(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every field that holds a value, in the order of the schema."""
    for name, field in schema["properties"].items():
        below, inner = f"{path}.{name}", field
        if field["type"] == "array" and "properties" in field["items"]:
            below, inner = f"{below}[]", field["items"]
        if "properties" in inner:
            yield from _fields(inner, below)
        else:
            yield below, field


def _row(path: str, field: Mapping[str, Any]) -> str:
    absent = "by mode" if path.startswith(_BY_MODE) else "-"
    default = f"`{field['default']}`".replace("True", "true") if "default" in field else absent
    return f"| `{path}` | {_kind(field)} | {default} | {field['description']} |"


def _kind(field: Mapping[str, Any]) -> str:
    """The type and its bounds in words."""
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if bounds := field.get("x-kubernetes-validations"):
        return f"text {bounds[0]['message'].removeprefix('must lie ')}"
    kind = {"integer": "whole number", "string": "text", "array": "list"}.get(field["type"], field["type"])
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None:
        return f"{kind}, {low} to {high}"
    if "maxLength" in field and field["maxLength"] > 63:
        return f"{kind}, up to {field['maxLength']} characters"
    return kind if low is None else f"{kind}, at least {low}"


if __name__ == "__main__":
    sys.stdout.write(page())
