"""The WorkerPool: warm workers of one shape, and its status."""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from genlock_core.spec.autoscaling import MAX_WORKERS, Autoscaling
from genlock_core.spec.engines import EngineKind, computed_on
from genlock_core.spec.quantities import Duration, Share
from genlock_core.spec.rules import POOL_RULES
from genlock_core.spec.session import MODEL_NAME, SHORT, Model, checked
from genlock_core.spec.status import Condition, Count, Figure, Timestamp

POOL_KIND: Final = "WorkerPool"
POOL_NAME: Final = r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$"
"""At most 40 characters: a worker is called `{pool}-{revision}-{ordinal}`, and a pod's name is its host name too."""

_NodeProduct = Annotated[str, Field(min_length=1, max_length=63, description="A value of the node label.")]
_SecretName = Annotated[
    str, Field(min_length=1, max_length=253, description="Name of a Secret of the pool's namespace.")
]
_LabelValue = Annotated[str, Field(max_length=63, description="The value that the node's label must have.")]
_EnvValue = Annotated[str, Field(max_length=4_096, description="The variable's value.")]


class SessionNamespaces(StrEnum):
    """Whose sessions a pool serves."""

    SAME = "Same"
    ALL = "All"


class PoolGpu(Model):
    """The GPUs of one worker; all in one node."""

    product: str = Field(
        min_length=1, max_length=63, description="What the ModelProfiles call the GPU, for example NVIDIA-H100."
    )
    count: Annotated[int, Field(ge=1, le=16)] = Field(
        description="GPUs of one worker; no more than its engine computes on."
    )
    resource: str = Field(
        "nvidia.com/gpu", min_length=1, max_length=253, description="The extended resource that a pod asks for."
    )
    node_products: list[_NodeProduct] = Field(
        default_factory=list,
        max_length=16,
        description="Values of the node label nvidia.com/gpu.product that stand for it; empty: those Genlock knows.",
    )


class Weights(Model):
    """Where the model's weights come from: a claim, an image, or (neither of them) the worker's own image."""

    claim: str | None = Field(
        None, min_length=1, max_length=253, description="A PersistentVolumeClaim of the pool's namespace; read-only."
    )
    image: str | None = Field(
        None, min_length=1, max_length=1_024, description="An OCI image with the weights, mounted as an image volume."
    )

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Self:
        return checked(self, ("template", "weights"), POOL_RULES)


class Compute(Model):
    """CPU and memory of a worker; requests equal limits, so that the pod is Guaranteed."""

    cpu: str = Field("4", pattern=r"^[0-9]{1,6}m?$", description="CPUs, such as 4 or 1500m.")
    memory: str = Field("16Gi", pattern=r"^[0-9]{1,9}(Ki|Mi|Gi|Ti)?$", description="Memory, such as 16Gi.")


class Toleration(Model):
    """A taint that workers of the pool put up with; the usual form of Kubernetes."""

    key: str | None = Field(None, max_length=253, description="The taint's key.")
    operator: Literal["Exists", "Equal"] = Field("Equal", description="Exists or Equal.")
    value: str | None = Field(None, max_length=63, description="The taint's value, for Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Which effect; left out: all."
    )
    toleration_seconds: Annotated[int, Field(ge=0)] | None = Field(
        None, description="For NoExecute: how long the pod stays."
    )


class WorkerTemplate(Model):
    """What a worker pod is made from. A change of it is rolled out, live sessions moved first."""

    image: str | None = Field(
        None, min_length=1, max_length=1_024, description="The worker's image; left out: the operator's default."
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="When the kubelet pulls the image."
    )
    image_pull_secrets: list[_SecretName] = Field(
        default_factory=list, max_length=8, description="Names of Secrets for the registry."
    )
    compute: Compute = Field(default_factory=Compute, description="CPU and memory of a worker.")
    weights: Weights = Field(default_factory=Weights, description="Where the model's weights come from.")
    media: str | None = Field(
        None, min_length=1, max_length=253, description="A PersistentVolumeClaim with the files that sources play."
    )
    node_selector: dict[str, _LabelValue] = Field(
        default_factory=dict, max_length=16, description="Node labels that workers need besides the GPU's."
    )
    tolerations: list[Toleration] = Field(
        default_factory=list, max_length=16, description="Taints that workers put up with, besides nvidia.com/gpu."
    )
    runtime_class: str | None = Field(
        None, min_length=1, max_length=253, description="RuntimeClass, for example nvidia."
    )
    env: dict[str, _EnvValue] = Field(
        default_factory=dict, max_length=32, description="Environment of the worker besides what the operator sets."
    )

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Self:
        return checked(self, ("template",), POOL_RULES)


class Rollout(Model):
    """How a change of the template reaches the workers."""

    surge: Annotated[int, Field(ge=1, le=100)] = Field(1, description="Workers that may exist beyond what is wanted.")
    stalled_after: Annotated[int, Duration(at_least_ms=10_000)] = Field(
        600_000, description="When a new worker that is not ready counts as stalled; the old ones serve on."
    )


class DrainSpec(Model):
    """How a worker leaves."""

    timeout: Annotated[int, Duration(at_least_ms=1_000)] = Field(
        600_000, description="After this long a drain that finds no room elsewhere is overdue; it still cuts nobody."
    )


class WorkerPoolSpec(Model):
    """The `spec` of a WorkerPool as the platform team writes it."""

    model: str = Field(
        pattern=MODEL_NAME,
        json_schema_extra=SHORT,
        description="Name of a ModelProfile; resident on every worker.",
    )
    engine: EngineKind = Field(description="mock paints on the CPU and needs no GPU; diffusion is the model.")
    gpu: PoolGpu = Field(description="The GPUs of one worker.")
    replicas: Annotated[int, Field(ge=0, le=MAX_WORKERS)] = Field(
        1, description="Workers to keep at least, busy or warm; what kubectl scale and autoscalers set."
    )
    min: Annotated[int, Field(ge=0, le=MAX_WORKERS)] = Field(0, description="Never fewer workers than this.")
    max: Annotated[int, Field(ge=0, le=MAX_WORKERS)] = Field(
        16, description="Never more workers than this (but for a rollout's surge); lowering it drains."
    )
    buffer: Annotated[int, Field(ge=0, le=MAX_WORKERS)] = Field(
        0, description="Empty workers to keep warm at least, beyond those that sessions need."
    )
    scale_in_after: Annotated[int, Duration(at_least_ms=0)] = Field(
        300_000,
        description="How long there must be too many workers before one goes; never less than one takes to start.",
    )
    autoscaling: Autoscaling = Field(default_factory=Autoscaling, description="How the number of workers is found.")
    headroom: Annotated[int, Field(ge=0, le=MAX_WORKERS)] = Field(
        0, description="Placeholder pods of a worker's size that hold room on nodes until a worker needs it."
    )
    move_reserve: Share = Field(
        0.0, description="Share of the pool's capacity that only moves may use, for example 10%."
    )
    session_namespaces: SessionNamespaces = Field(
        SessionNamespaces.SAME, description="Same: sessions of the pool's namespace; All: of every watched namespace."
    )
    template: WorkerTemplate = Field(default_factory=WorkerTemplate, description="What a worker pod is made from.")
    rollout: Rollout = Field(default_factory=Rollout, description="How a change of the template reaches the workers.")
    drain: DrainSpec = Field(default_factory=DrainSpec, description="How a worker leaves.")

    @property
    def computes_on(self) -> int:
        """On how many of its GPUs a worker computes: all of them, but for a pool from before the rule of it."""
        return computed_on(self.engine, self.gpu.count)

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Self:
        return checked(self, (), POOL_RULES)


class PoolConditionType(StrEnum):
    """What a pool's condition is about."""

    AVAILABLE = "Available"
    """At least the wanted number of workers is ready."""
    PROGRESSING = "Progressing"
    """True while workers start, leave or are replaced; False when all is done, or stalled (the reason tells)."""
    SCALING_LIMITED = "ScalingLimited"
    """Something keeps the pool from growing: its max, a quota, no node with free GPUs, the GPU budget."""
    METRICS_STALE = "MetricsStale"
    """Nobody can say who comes and goes: no worker leaves for want of sessions."""
    STABILIZING = "Stabilizing"
    """There are more workers than are wanted, and not for long enough yet that one leaves."""


class StartUpSpec(Model):
    """How long new workers took, over the last ones, in seconds."""

    phase: str = Field(max_length=32, description="scheduled, started, ready or registered.")
    p50: Figure = Field(description="Median seconds from the phase before.")
    p95: Figure = Field(description="95th percentile of the seconds from the phase before.")


class AutoscalingStatus(Model):
    """What autoscaling says. Its arithmetic is told by `genlock autoscale explain` and by metrics."""

    desired: Count = Field(
        description="Workers that it gives the pool; with the modes External and Recommend only shown."
    )
    reason: str = Field(max_length=64, description="The term that decides, such as Arrivals or Maximum.")
    since: Timestamp = Field(description="Since when it has said so.")


class WorkerPoolStatus(Model):
    """What the system has made of a WorkerPool."""

    observed_generation: Count | None = Field(None, description="The generation of the spec that this speaks of.")
    selector: str = Field("", max_length=512, description="Label selector of its workers, for the scale subresource.")
    revision: str = Field("", max_length=63, description="The template's hash; pods of another one are being replaced.")
    replicas: Count = Field(0, description="Worker pods, those that leave not counted.")
    desired: Count = Field(0, description="Workers that are wanted now.")
    ready: Count = Field(0, description="Workers that take sessions.")
    updated: Count = Field(0, description="Workers of the template's revision.")
    serving: Count = Field(0, description="Workers with at least one session.")
    draining: Count = Field(0, description="Workers that are leaving.")
    placeholders: Count = Field(0, description="Placeholder pods that hold room.")
    sessions: Count = Field(0, description="Sessions on its workers.")
    waiting: Count = Field(0, description="Sessions that wait for room in it.")
    free: Figure = Field(0.0, description="Free capacity, in workers.")
    surplus_since: Timestamp | None = Field(None, description="Since when there have been too many workers.")
    autoscaling: AutoscalingStatus | None = Field(None, description="What autoscaling says, and why.")
    start_up: list[StartUpSpec] = Field(
        default_factory=list,
        max_length=8,
        description="How long new workers took, by phase.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["phase"]},
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        description="Available, Progressing, ScalingLimited, MetricsStale, Stabilizing.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


NODE_PRODUCTS: Final[dict[str, tuple[str, ...]]] = {
    "NVIDIA-H100": ("NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-PCIe", "NVIDIA-H100-NVL"),
    "NVIDIA-H200": ("NVIDIA-H200", "NVIDIA-H200-NVL"),
    "NVIDIA-A100": ("NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-80GB-PCIe", "NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-PCIE-40GB"),
    "NVIDIA-L40S": ("NVIDIA-L40S",),
    "NVIDIA-GeForce-RTX-4090": ("NVIDIA-GeForce-RTX-4090",),
}
"""What the GPU feature discovery calls the products of our profiles, in the node label `nvidia.com/gpu.product`."""


def node_products(gpu: PoolGpu) -> tuple[str, ...]:
    """The values of the node label that are this GPU; a product that nobody knows stands for itself."""
    return tuple(gpu.node_products) or NODE_PRODUCTS.get(gpu.product, (gpu.product,))


def wire(model: Model) -> dict[str, Any]:
    """A model as the API server has it; what has no value is left out."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)
