"""The rules that a StreamSession and a WorkerPool keep across their fields, and the fields that never change.

Each rule is written once, on the wire form. The models check it, `load_manifest` reports it beside mistakes of single
fields, and the CRDs carry it as CEL.

A rule may come with a later release, while objects that break it are stored. The API server must then still take what
does not touch the mistake: a status, a label, another field. So a rule as CEL asks for less than here: it holds, or
none of the fields that it reads was changed (`ratcheting`). Rules of single fields need nothing of the kind, because
the API server itself lets pass what an update leaves as it was. Only a new `required` field would refuse old objects.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genlock_core.durations import parse_duration_ms
from genlock_core.errors import FieldProblem
from genlock_core.spec.engines import MOST_GPUS, gpus_mistake

DEFAULT_STEPS: Mapping[str, int] = {"low-latency": 1, "balanced": 2, "quality": 4}
"""Denoising steps of a quality mode, where the session does not say."""

LOW_LATENCY_STEPS = 2
"""More denoising steps than this are not low-latency any more: every step is another forward before a frame is out."""

FIRST_CHUNK_PERIODS = 4
"""The first chunk has 5 frames: its last one comes this many frame periods after its first, and nothing can be
generated before. A publisher that sends faster changes nothing, as its frames are thinned out to the session's rate."""

IMMUTABLE = ("model", "qualityMode", "resolution", "frameRate", "seed", "source.type", "approximation.models")
"""Fields that a stream's state and its viewers' decoders are built on: to change one, make another session."""

POOL_IMMUTABLE = ("model", "engine", "gpu")
"""The shape of a pool, which sessions were sized by: a pool of another shape is another pool."""


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


def ratcheting(rule: Rule) -> str:
    """The rule as CEL with `optionalOldSelf`: it holds, or no field that it reads was changed."""
    as_before = " && ".join(unchanged(path, "oldSelf.value()") for path in rule.reads)
    return f"({rule.cel}) || oldSelf.hasValue() && {as_before}"


def unchanged(path: str, old: str) -> str:
    """As CEL: the field at `path` is as in `old`, which may be that it is not there."""
    *above, name = path.split(".")

    # Both have it or neither has it, and where they have it, it is the same.
    mine, theirs = (".".join((root, *above, name)) for root in ("self", old))
    return f"has({mine}) == has({theirs}) && (!has({mine}) || {mine} == {theirs})"


def _min_steps_fit(steps: int | None, mode: str, min_steps: int) -> bool:
    return min_steps <= (steps or DEFAULT_STEPS[mode])


def _min_frame_rate_fits(frame_rate: int, min_frame_rate: int | None) -> bool:
    return min_frame_rate is None or min_frame_rate <= frame_rate


def _others_stand_in(model: str, others: Sequence[str]) -> bool:
    return len({model, *others}) == 1 + len(others)


def _steps_fit_the_mode(mode: str, steps: int | None) -> bool:
    return mode != "low-latency" or steps is None or steps <= LOW_LATENCY_STEPS


def steps_mistake(mode: str, steps: int | None) -> str:
    """Why a live session of that mode may not be steered to so many steps; "" if it may."""
    return "" if _steps_fit_the_mode(mode, steps) else f"steps {_STEPS_OF_LOW_LATENCY}"


def _first_chunk_is_in(first_frame: str | None, frame_rate: int, source: str) -> bool:
    if first_frame is None or source != "webrtc":
        return True
    return parse_duration_ms(first_frame) * frame_rate >= FIRST_CHUNK_PERIODS * 1_000


def _tolerations_fit(tolerations: Sequence[Mapping[str, Any]]) -> bool:
    return all(
        (one.get("operator") == "Exists" and one.get("value") is None)
        or (one.get("operator") == "Equal" and one.get("key") is not None)
        for one in tolerations
    )


_STEPS_OF_LOW_LATENCY = (
    f"must be at most {LOW_LATENCY_STEPS} in the mode low-latency; balanced and quality take up to 4"
)
_DEFAULT_STEPS_CEL = "{" + ", ".join(f"'{mode}': {steps}" for mode, steps in DEFAULT_STEPS.items()) + "}"
_DEFAULT_STEPS_TEXT = ", ".join(f"{mode} {steps}" for mode, steps in DEFAULT_STEPS.items())

RULES = (
    Rule(
        scope=(),
        reads=("qualityMode", "steps"),
        field="steps",
        message=_STEPS_OF_LOW_LATENCY,
        cel=f"self.qualityMode != 'low-latency' || !has(self.steps) || self.steps <= {LOW_LATENCY_STEPS}",
        holds=_steps_fit_the_mode,
    ),
    Rule(
        scope=(),
        reads=("steps", "qualityMode", "approximation.minSteps"),
        field="approximation.minSteps",
        message=f"must not be larger than steps (where steps is left out: {_DEFAULT_STEPS_TEXT})",
        cel=f"self.approximation.minSteps <= (has(self.steps) ? self.steps : {_DEFAULT_STEPS_CEL}[self.qualityMode])",
        holds=_min_steps_fit,
    ),
    Rule(
        scope=(),
        reads=("frameRate", "approximation.minFrameRate"),
        field="approximation.minFrameRate",
        message="must not be larger than frameRate",
        cel="!has(self.approximation.minFrameRate) || self.approximation.minFrameRate <= self.frameRate",
        holds=_min_frame_rate_fits,
    ),
    Rule(
        scope=(),
        reads=("model", "approximation.models"),
        field="approximation.models",
        message="must name other models than the session's own, each once",
        cel="!(self.model in self.approximation.models) && self.approximation.models.all(one, "
        "self.approximation.models.exists_one(other, other == one))",
        holds=_others_stand_in,
    ),
    Rule(
        scope=(),
        reads=("slo.timeToFirstFrame", "frameRate", "source.type"),
        field="slo.timeToFirstFrame",
        message=f"must be at least {FIRST_CHUNK_PERIODS} frame periods, in which the first chunk's 5 frames come",
        cel="!has(self.slo.timeToFirstFrame) || self.source.type != 'webrtc' || "
        f"duration(self.slo.timeToFirstFrame).getMilliseconds() * self.frameRate >= {FIRST_CHUNK_PERIODS * 1_000}",
        holds=_first_chunk_is_in,
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
"""Of a StreamSession."""

POOL_RULES = (
    Rule(
        scope=(),
        reads=("min", "max"),
        field="min",
        message="must not be larger than max",
        cel="self.min <= self.max",
        holds=lambda least, most: least <= most,
    ),
    Rule(
        scope=(),
        reads=("autoscaling.schedule", "max"),
        field="autoscaling.schedule",
        message="must not ask for more workers than max",
        cel="self.autoscaling.schedule.all(one, one.min <= self.max)",
        holds=lambda schedule, most: all(one["min"] <= most for one in schedule),
    ),
    Rule(
        scope=("autoscaling",),
        reads=("schedule",),
        field="schedule",
        message="must not begin and end at the same time; a whole day is from 00:00 to 24:00",
        cel="self.schedule.all(one, one.from != one.to)",
        holds=lambda schedule: all(one["from"] != one["to"] for one in schedule),
    ),
    Rule(
        scope=("template",),
        reads=("tolerations",),
        field="tolerations",
        message="need a key with operator Equal, and no value with operator Exists",
        cel="self.tolerations.all(one, one.operator == 'Exists' ? !has(one.value) : has(one.key))",
        holds=_tolerations_fit,
    ),
    Rule(
        scope=("template", "weights"),
        reads=("claim", "image"),
        field="image",
        message="cannot stand beside claim: the weights come from one place",
        cel="!has(self.claim) || !has(self.image)",
        holds=lambda claim, image: claim is None or image is None,
    ),
)
"""Of a WorkerPool."""

NEW_POOL_RULES = tuple(
    Rule(
        scope=(),
        reads=("engine", "gpu.count"),
        field="gpu.count",
        message=f"must be at most {most} with the engine {engine}, which computes on no more",
        cel=f"self.engine != '{engine}' || self.gpu.count <= {most}",
        holds=lambda engine, gpus: not gpus_mistake(engine, gpus),
    )
    for engine, most in MOST_GPUS.items()
    if most is not None
)
"""Of a WorkerPool that is made now. One that was stored before may break them for ever, as its shape cannot be changed:
the model reads it all the same, and it is sized by the GPUs that its engine computes on."""


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
