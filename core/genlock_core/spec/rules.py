"""The rules that a StreamSession keeps across its fields, and the fields that never change.

Written once, on the wire form: the models check them, `load_manifest` reports them beside mistakes of single fields,
and the CRD carries them as CEL.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genlock_core.errors import FieldProblem

DEFAULT_STEPS: Mapping[str, int] = {"low-latency": 1, "balanced": 2, "quality": 4}
"""Denoising steps of a quality mode, where the session does not say."""

IMMUTABLE = ("model", "qualityMode", "resolution", "frameRate", "seed", "source.type")
"""Fields that a stream's state and its viewers' decoders are built on: to change one, make another session."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that must hold between fields of the object at `scope` (a path below `spec`)."""

    scope: tuple[str, ...]
    reads: tuple[str, ...]
    """The fields it looks at, dotted, below the scope."""
    field: str
    """The one to name when it is broken."""
    message: str
    cel: str
    """The same in the API server's words; `self` is the object at the scope, with defaults filled in."""
    holds: Callable[..., bool]
    """Takes the values of `reads` in their order, None for what is not there."""


def _min_steps_fit(steps: int | None, mode: str, min_steps: int) -> bool:
    return min_steps <= (steps or DEFAULT_STEPS[mode])


_DEFAULT_STEPS_CEL = "{" + ", ".join(f"'{mode}': {steps}" for mode, steps in DEFAULT_STEPS.items()) + "}"
_DEFAULT_STEPS_TEXT = ", ".join(f"{mode} {steps}" for mode, steps in DEFAULT_STEPS.items())

RULES = (
    Rule(
        scope=(),
        reads=("steps", "qualityMode", "approximation.minSteps"),
        field="approximation.minSteps",
        message=f"must not be larger than steps (where steps is left out: {_DEFAULT_STEPS_TEXT})",
        cel=f"self.approximation.minSteps <= (has(self.steps) ? self.steps : {_DEFAULT_STEPS_CEL}[self.qualityMode])",
        holds=_min_steps_fit,
    ),
    Rule(
        scope=("source",),
        reads=("type", "path"),
        field="path",
        message="is missing: a source of type file needs one",
        cel="self.type != 'file' || has(self.path)",
        holds=lambda kind, path: kind != "file" or path is not None,
    ),
    Rule(
        scope=("source",),
        reads=("type", "path"),
        field="path",
        message="belongs to a source of type file; leave it out",
        cel="self.type == 'file' || !has(self.path)",
        holds=lambda kind, path: kind == "file" or path is None,
    ),
)


def broken(value: Mapping[str, Any], rules: Sequence[Rule], *, unknown: Collection[str] = ()) -> Iterator[FieldProblem]:
    """The rules that `value` breaks, with paths below it.

    `value` is the object that the rules are about, on the wire and with defaults filled in. A rule that reads an
    `unknown` path (one with a mistake of its own), or a field below it, is left out.
    """
    for rule in rules:
        if any(path == bad or path.startswith(f"{bad}.") for path in rule.reads for bad in unknown):
            continue
        if not rule.holds(*(look_up(value, path) for path in rule.reads)):
            yield FieldProblem(rule.field, rule.message)


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[FieldProblem]:
    """The immutable fields in which two specs (on the wire) differ."""
    for path in IMMUTABLE:
        if look_up(old, path) != look_up(new, path):
            yield FieldProblem(path, "cannot be changed; make a session of another name")


def look_up(value: Any, path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value
