"""The CustomResourceDefinitions, made from the models: a cluster and a laptop check the same.

`python -m genlock_core.crds.crd` writes them below `manifests/crds` and `charts/genlock/crds`, or into the folders that
are named. A test says that the files agree.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from genlock_core.crds.structural import never_changes, structural, validate_at
from genlock_core.sizing.profile import PROFILE_KIND, ProfileSpec
from genlock_core.spec.pool import POOL_KIND, POOL_NAME, PoolGpu, WorkerPoolSpec, WorkerPoolStatus
from genlock_core.spec.rules import IMMUTABLE, NEW_POOL_RULES, POOL_IMMUTABLE, POOL_RULES, RULES, Rule
from genlock_core.spec.session import API_VERSION, DNS_LABEL, KIND, MODEL_NAME, StreamSessionSpec
from genlock_core.spec.status import SessionStatus

FOLDERS = ("manifests/crds", "charts/genlock/crds")

_GROUP, _VERSION = API_VERSION.split("/")


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column; a `wide` one is shown by `-o wide` alone."""

    name: str
    type: str
    path: str
    wide: bool = False


@dataclass(frozen=True, slots=True)
class ResourceKind:
    """What a definition is made from."""

    name: str
    plural: str
    short: str
    about: str
    """One sentence for `kubectl explain`."""
    object_name: str
    """The pattern of metadata.name."""
    spec: type[BaseModel]
    example: BaseModel
    """A spec of nothing but required fields: the defaults are read from it."""
    columns: Sequence[Column]
    status: type[BaseModel] | None = None
    rules: Sequence[Rule] = ()
    immutable: Sequence[str] = ()
    instead: str = ""
    """What to do where an immutable field has to change."""
    selectable: Sequence[str] = ()
    """Fields that `kubectl get --field-selector` may ask for."""
    scales: bool = False
    """Whether `kubectl scale` and autoscalers may set its replicas."""

    @property
    def file(self) -> str:
        return f"{self.plural}.yaml"


SESSION = ResourceKind(
    name=KIND,
    plural="streamsessions",
    short="ssn",
    about="A live stream of generated video: what goes in, what comes out, and what viewers are promised.",
    object_name=DNS_LABEL,
    spec=StreamSessionSpec,
    example=StreamSessionSpec(),
    status=SessionStatus,
    rules=RULES,
    immutable=IMMUTABLE,
    instead="make a session of another name",
    selectable=(".spec.model", ".spec.qualityMode", ".status.phase", ".status.worker", ".status.pool"),
    columns=(
        Column("Model", "string", ".spec.model"),
        Column("Mode", "string", ".spec.qualityMode"),
        Column("Steps", "integer", ".status.steps"),
        Column("GPUs", "integer", ".status.gpus"),
        Column("Worker", "string", ".status.worker"),
        Column("FPS", "number", ".status.figures.outputFps"),
        Column("TTFF", "number", ".status.figures.firstFrameMs"),
        Column("Phase", "string", ".status.phase"),
        Column("Pool", "string", ".status.pool", wide=True),
        Column("Share", "number", ".status.gpuShare", wide=True),
        Column("Lowered", "string", ".status.level.reason", wide=True),
        Column("Size", "string", ".status.resolution", wide=True),
        Column("Viewers", "integer", ".status.viewers", wide=True),
        Column("Late", "number", ".status.figures.missShare", wide=True),
        Column("Latency", "number", ".status.figures.latencyMs", wide=True),
        Column("Moves", "integer", ".status.moves", wide=True),
        Column("Reason", "string", ".status.reason", wide=True),
        Column("Age", "date", ".metadata.creationTimestamp"),
    ),
)

POOL = ResourceKind(
    name=POOL_KIND,
    plural="workerpools",
    short="wpl",
    about="Warm workers of one shape: a model resident on so many GPUs each, ready to take sessions.",
    object_name=POOL_NAME,
    spec=WorkerPoolSpec,
    example=WorkerPoolSpec(model="m", engine="mock", gpu=PoolGpu(product="g", count=1)),
    status=WorkerPoolStatus,
    rules=(*POOL_RULES, *NEW_POOL_RULES),
    immutable=POOL_IMMUTABLE,
    instead="make a pool of another name",
    selectable=(".spec.model",),
    scales=True,
    columns=(
        Column("Model", "string", ".spec.model"),
        Column("Product", "string", ".spec.gpu.product"),
        Column("GPUs", "integer", ".spec.gpu.count"),
        Column("Desired", "integer", ".status.desired"),
        Column("Ready", "integer", ".status.ready"),
        Column("Serving", "integer", ".status.serving"),
        Column("Sessions", "integer", ".status.sessions"),
        Column("Waiting", "integer", ".status.waiting"),
        Column("Available", "string", '.status.conditions[?(@.type=="Available")].status'),
        Column("Engine", "string", ".spec.engine", wide=True),
        Column("Min", "integer", ".spec.min", wide=True),
        Column("Max", "integer", ".spec.max", wide=True),
        Column("Free", "number", ".status.free", wide=True),
        Column("Updated", "integer", ".status.updated", wide=True),
        Column("Draining", "integer", ".status.draining", wide=True),
        Column("Progress", "string", '.status.conditions[?(@.type=="Progressing")].reason', wide=True),
        Column("Limit", "string", '.status.conditions[?(@.type=="ScalingLimited")].reason', wide=True),
        Column("Age", "date", ".metadata.creationTimestamp"),
    ),
)

PROFILE = ResourceKind(
    name=PROFILE_KIND,
    plural="modelprofiles",
    short="mpf",
    about="What was measured of a model on some GPUs: sessions are sized by it. Its name is the model's.",
    object_name=MODEL_NAME,
    spec=ProfileSpec,
    example=ProfileSpec(rows=()),
    columns=(
        Column("Description", "string", ".spec.description"),
        Column("Age", "date", ".metadata.creationTimestamp"),
    ),
)

KINDS = (SESSION, POOL, PROFILE)


def definition(kind: ResourceKind) -> dict[str, Any]:
    """The whole CustomResourceDefinition."""
    subresources: dict[str, Any] = {} if kind.status is None else {"status": {}}
    if kind.scales:
        subresources["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    version = {
        "name": _VERSION,
        "served": True,
        "storage": True,
        "subresources": subresources,
        "selectableFields": [{"jsonPath": path} for path in kind.selectable],
        "additionalPrinterColumns": [
            {"name": one.name, "type": one.type, "jsonPath": one.path} | ({"priority": 1} if one.wide else {})
            for one in kind.columns
        ],
        "schema": {"openAPIV3Schema": schema(kind)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{_GROUP}"},
        "spec": {
            "group": _GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short],
                "categories": ["genlock"],
            },
            "versions": [{name: value for name, value in version.items() if value}],
        },
    }


def schema(kind: ResourceKind) -> dict[str, Any]:
    """The structural schema of a whole object, with the rules across fields as CEL."""
    spec = structural(kind.spec, kind.example)
    if kind is PROFILE:
        _leave_out_the_model(spec["properties"]["rows"]["items"])

    for rule in kind.rules:
        validate_at(spec, rule)
    for path in kind.immutable:
        never_changes(spec, path, instead=kind.instead)

    properties = {
        "apiVersion": {"type": "string", "description": f"The version of this schema: {API_VERSION}."},
        "kind": {"type": "string", "description": f"Always {kind.name}."},
        "metadata": {
            "type": "object",
            "properties": {
                "name": {
                    "type": "string",
                    "description": "The object's name in its namespace.",
                    "maxLength": 63,
                    "pattern": kind.object_name,
                }
            },
        },
        "spec": spec,
    }
    if kind.status is not None:
        properties["status"] = structural(kind.status)
    return {"type": "object", "description": kind.about, "required": ["spec"], "properties": properties}


def _leave_out_the_model(row: dict[str, Any]) -> None:
    """A row in a document has no model: that is the document's name."""
    del row["properties"]["model"]
    row["required"].remove("model")


class _Dumper(yaml.SafeDumper):
    """Never writes an alias: the API server would take it, people would not."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def to_yaml(kind: ResourceKind) -> str:
    """The definition as a file."""
    text = yaml.dump(definition(kind), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return f"# Made by: python -m genlock_core.crds.crd\n{text}"


def write(folder: Path) -> None:
    """Every definition, a file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        (folder / kind.file).write_text(to_yaml(kind), encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:] or FOLDERS:
        write(Path(name))
