"""The references of every field, `docs/streamsession.md` and its like, made from the same schemas as the CRDs.

`python -m genlock_core.crds.reference` writes them below `docs` (or the folder that is named); a test says that the
pages agree.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genlock_core.crds import crd
from genlock_core.crds.crd import ResourceKind
from genlock_core.durations import format_duration_ms
from genlock_core.spec.session import MODE_DEFAULTS

_SESSION_HEAD = """\
# StreamSession

One manifest is the whole interface; the same file runs with `genlock up FILE` and on Kubernetes. `examples/` has one
per use. This page is made by `python -m genlock_core.crds.reference`; a test keeps it true.

A file may hold several sessions, divided by `---`. Unknown fields, a number where text belongs and YAML's anchors are
mistakes; all mistakes of a file are reported at once, each with the path of its field. `metadata.name` and
`metadata.namespace` (left out: `default`) are DNS labels, because they are part of the URLs.

Durations are text with a unit (`500ms`, `1m30s`), bitrates as well (`1500k`, `2M`), shares are percentages (`1%`).

A change of `prompt`, `steps` or `noiseScale` reaches a session that lives with its next chunk. What else its worker
goes by (`output.bitrate`, `slo.frameDeadline`, `approximation`, `recovery`, `source.path`, `source.loop`) reaches it
only when a worker opens it again: with its next move, or after its worker was lost.
"""

_POOL_HEAD = """\
# WorkerPool

Warm workers of one shape on Kubernetes: pods of so many GPUs, each with a model resident, ready to take sessions within
milliseconds. `kubectl get workerpools` (short `wpl`) shows how many there are and whether they are enough. This page is
made by `python -m genlock_core.crds.reference`; a test keeps it true.

The number of workers follows the sessions: what they need when they are packed, and enough besides for those who come
while a worker starts ([how](kubernetes.md#pools)); at least `min`, `replicas` (`kubectl scale` sets it) and what the
schedule says, at most `max`. A worker with a live session is never deleted: its sessions move first, whatever the
reason (fewer workers, another template, a drained node).

Durations are text with a unit (`500ms`, `1m30s`), shares are percentages (`10%`). A pool's name has at most 40
characters, as its workers are called after it.
"""

_PROFILE_HEAD = """\
# ModelProfile

What was measured of a model, on which GPUs; a session is sized by it: the cheapest shape that meets its service levels.
The object's name is the model's. A figure that nobody measured is left out, never guessed; then that service level is
not checked, and the session's `status.unprofiled` says so. `genlock_core/sizing/profiles/` holds the published
measurements. This page is made by `python -m genlock_core.crds.reference`; a test keeps it true.

A row counts for a pool if model, GPU product and number of GPUs are the pool's, and if `engine` lets it:

| `engine` | a mock pool | a diffusion pool |
|---|---|---|
| `diffusion` | counts | counts |
| `mock` | counts | never |
| `reference` | counts | of one GPU, where the engine itself was not measured |
| left out | counts | of one GPU, as in releases before rows named an engine |

A row that names its `encoder` or `decoder` counts only for pools whose workers have the same: what the pool's
`template.env` says of `GENLOCK_WORKER_ENCODER` and `GENLOCK_WORKER_DECODER`, `vae` where it says nothing. A row that
does not name them counts for all.

Where several of them measured the same size and step count, a pool goes by its own engine's rows; after them by those
of the diffusion engine, by those that name none, and last by the reference's. Where a session's own resolution and
steps were not measured, a row with at least as many pixels and steps stands in.

**Quality is a proxy** until it is measured with a model's published weights, and it never says what people like. It
says how like a step count's picture is to that of 4 steps, with the same input and seed. `genlock profile --quality`
measures it: the mean SSIM of the pictures (Wang et al. 2004) times min(1, (F + 0.01) / (f + 0.01)), where f is how much
they flicker and F how much those of 4 steps do. It decides who gives way first when a pool is full, nothing else. It
counts on every GPU, as the picture is the same there. A row without it counts by its share of 4 steps. Where fewer
steps are measured to look better than more of them, the row is accepted; they are taken to look the same, and
`genlock profile` and the session's `status.unprofiled` say so.

`examples/busy-hour/profile.yaml` has made-up rows for the mock engine, where one step costs half of what four do: 8
sessions at 4 steps fill a worker, and a ninth makes all of them go on with 3.
"""

_HEADS = {crd.SESSION.name: _SESSION_HEAD, crd.POOL.name: _POOL_HEAD, crd.PROFILE.name: _PROFILE_HEAD}
_KINDS = {"integer": "whole number", "string": "text", "array": "list"}
_BY_MODE = ("spec.steps", "spec.resolution", "spec.slo")


def page(kind: ResourceKind) -> str:
    """A kind's whole page, Markdown."""
    schema = crd.schema(kind)["properties"]
    lines = [_HEADS[kind.name]]
    if kind is crd.SESSION:
        lines += [*_modes(), ""]
    lines += ["## spec", "", "| field | type | default | meaning |", "|---|---|---|---|"]
    by_mode = _BY_MODE if kind is crd.SESSION else ()
    for path, field, required in _fields(schema["spec"], "spec"):
        absent = "by mode" if by_mode and path.startswith(by_mode) else "required" if required else "-"
        lines.append(_row(path, field, absent))
    if kind.rules:
        lines += ["", "Rules across fields:", ""]
        lines += [f"- `{'.'.join(('spec', *rule.scope, rule.field))}` {rule.message}." for rule in kind.rules]
        fixed = ", ".join(f"`{path}`" for path in kind.immutable)
        lines += ["", f"Fixed once and for all: {fixed}; for another value {kind.instead}."]
    if kind.status is not None:
        lines += ["", "## status", "", "Written by the system.", "", "| field | type | meaning |", "|---|---|---|"]
        for path, field, _ in _fields(schema["status"], "status"):
            lines.append(f"| `{path}` | {_kind(field)} | {field['description']} |")
    return "\n".join(lines) + "\n"


def write(folder: Path) -> None:
    """Every page, a file each."""
    for kind in crd.KINDS:
        (folder / f"{kind.name.lower()}.md").write_text(page(kind), encoding="utf-8")


def _modes() -> Iterator[str]:
    yield from ("## Quality modes", "", "What `qualityMode` stands for where the session does not say otherwise:", "")
    yield from ("| mode | steps | resolution | frameDeadline | timeToFirstFrame |", "|---|---|---|---|---|")
    for mode, defaults in MODE_DEFAULTS.items():
        deadline, first = map(format_duration_ms, (defaults.frame_deadline_ms, defaults.time_to_first_frame_ms))
        yield f"| `{mode}` | {defaults.steps} | {defaults.resolution} | {deadline} | {first} |"


def _fields(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """Every field that holds a value, in the order of the schema, and whether it must be there."""
    for name, field in schema["properties"].items():
        below, inner = f"{path}.{name}", field
        if field["type"] == "array" and "properties" in field["items"]:
            below, inner = f"{below}[]", field["items"]
        if "properties" in inner:
            yield from _fields(inner, below)
        else:
            yield below, field, name in schema.get("required", ())


def _row(path: str, field: Mapping[str, Any], absent: str) -> str:
    default = field.get("default")
    shown = (
        absent if default in (None, "", [], {}) else f"`{default if isinstance(default, str) else json.dumps(default)}`"
    )
    return f"| `{path}` | {_kind(field)} | {shown} | {field['description']} |"


def _kind(field: Mapping[str, Any]) -> str:
    """The type and its bounds in words."""
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    bounds = [rule["message"] for rule in field.get("x-kubernetes-validations", ())]
    if bounds and bounds[0].startswith("must lie "):
        return f"text {bounds[0].removeprefix('must lie ')}"
    if "additionalProperties" in field:
        return f"map of text, up to {field['maxProperties']}"
    kind = _KINDS.get(field["type"], str(field["type"]))
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None:
        return f"{kind}, {low} to {high}"
    if "maxLength" in field and field["maxLength"] > 63:
        return f"{kind}, up to {field['maxLength']} characters"
    if low is None:
        return kind
    return f"{kind}, more than {low}" if field.get("exclusiveMinimum") else f"{kind}, at least {low}"


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
