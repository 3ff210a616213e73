"""What a worker finds when it starts: its variables, and the volumes with its model and media.

It is what the operator and the worker's options have to agree on; the rest of a pod is between the operator and the
cluster (`pods`).
"""

from typing import Any, Final

from genlock_core.sizing import measured_steps
from genlock_core.sizing.measured import FpsBySize, to_json
from genlock_core.sizing.measured_steps import StepTimeBySize
from genlock_core.spec.pool import WorkerPoolSpec
from genlock_operator.observed import PoolResource
from genlock_operator.plan.policy import MEASURED_VARIABLE, STEP_TIME_VARIABLE, SecretKey, WorkerDefaults

MODELS: Final = "/models"
"""Where a pool's weights are mounted."""
MEDIA: Final = "/media"
"""Where clips for file sources are mounted."""
DECODE_PROCESS_VARIABLE: Final = "GENLOCK_WORKER_DECODE_PROCESS"
"""The installation's default for it; a pool's template decides for the pool."""
GRACE_CAP_S: Final = 60
"""A worker that is deleted although it serves (its node shuts down, or by force) moves its sessions within this time;
the polite way out is a drain, which takes as long as it needs."""


def environment(
    resource: PoolResource, defaults: WorkerDefaults, measured: FpsBySize, step_times: StepTimeBySize
) -> list[dict[str, Any]]:
    """What the operator sets, then what the template adds; where both name a variable, the operator's holds.

    `measured`, `step_times`: what was measured of its model by now, as in `PoolSeen`.
    """
    spec = resource.spec
    ours: list[dict[str, Any]] = [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "HOME", "value": "/tmp"},  # noqa: S108 - a volume of the pod's own
        {"name": "GENLOCK_SECRETS", "valueFrom": _secret_ref(defaults.secrets)},
        {"name": "GENLOCK_WORKER_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "GENLOCK_WORKER_POOL", "value": resource.meta.key},
        {"name": "GENLOCK_WORKER_REDIS"}
        | (
            {"value": defaults.redis_url}
            if defaults.redis_secret is None
            else {"valueFrom": _secret_ref(defaults.redis_secret)}
        ),
        {"name": "GENLOCK_WORKER_LISTEN", "value": f"0.0.0.0:{defaults.link_port}"},
        {"name": "GENLOCK_WORKER_ADVERTISE", "value": "$(POD_IP):0"},
        {"name": "GENLOCK_WORKER_ENGINE", "value": spec.engine},
        {"name": "GENLOCK_WORKER_MODEL", "value": spec.model},
        {"name": "GENLOCK_WORKER_GPU_PRODUCT", "value": spec.gpu.product},
        {"name": "GENLOCK_WORKER_GPUS", "value": str(spec.computes_on)},
        {"name": "GENLOCK_WORKER_METRICS_PORT", "value": str(defaults.health_port)},
        {"name": "GENLOCK_WORKER_METRICS_HOST", "value": "0.0.0.0"},  # noqa: S104 - the pod's own network, behind a NetworkPolicy
        {"name": "GENLOCK_WORKER_LOG_FORMAT", "value": "json"},
        {"name": "GENLOCK_WORKER_DRAIN_TIMEOUT", "value": f"{drain_s(spec)}s"},
    ]
    if measured:
        ours.append({"name": MEASURED_VARIABLE, "value": to_json(measured)})
    if step_times:
        ours.append({"name": STEP_TIME_VARIABLE, "value": measured_steps.to_json(step_times)})
    if spec.template.media is not None:
        ours.append({"name": "GENLOCK_WORKER_MEDIA_ROOT", "value": MEDIA})
    if _has_weights(spec):
        ours.append({"name": "GENLOCK_WORKER_WEIGHTS", "value": MODELS})

    if defaults.decode_process and DECODE_PROCESS_VARIABLE not in spec.template.env:
        ours.append({"name": DECODE_PROCESS_VARIABLE, "value": "yes"})

    names = {entry["name"] for entry in ours}
    return ours + [
        {"name": name, "value": value} for name, value in sorted(spec.template.env.items()) if name not in names
    ]


def volumes(spec: WorkerPoolSpec) -> list[dict[str, Any]]:
    """Room for temporary files, shared memory, and what the template brings: weights and media, read-only."""
    weights = spec.template.weights
    media = spec.template.media
    volumes: list[dict[str, Any]] = [
        {"name": "tmp", "emptyDir": {"sizeLimit": "8Gi"}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
    ]
    if weights.claim is not None:
        volumes.append({"name": "weights", "persistentVolumeClaim": {"claimName": weights.claim, "readOnly": True}})
    elif weights.image is not None:
        volumes.append({"name": "weights", "image": {"reference": weights.image, "pullPolicy": "IfNotPresent"}})
    if media is not None:
        volumes.append({"name": "media", "persistentVolumeClaim": {"claimName": media, "readOnly": True}})
    return volumes


def mounts(spec: WorkerPoolSpec) -> list[dict[str, Any]]:
    """Where the container sees these volumes."""
    mounts: list[dict[str, Any]] = [
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - the same, in memory
    ]
    if _has_weights(spec):
        mounts.append({"name": "weights", "mountPath": MODELS, "readOnly": True})
    if spec.template.media is not None:
        mounts.append({"name": "media", "mountPath": MEDIA, "readOnly": True})
    return mounts


def _has_weights(spec: WorkerPoolSpec) -> bool:
    """Whether a volume brings them; else they are in the image, which then says where, or the model needs none."""
    return spec.template.weights.claim is not None or spec.template.weights.image is not None


def drain_s(spec: WorkerPoolSpec) -> int:
    """How long a worker that is deleted although it serves may take to move its sessions."""
    return min(max(spec.drain.timeout // 1_000, 1), GRACE_CAP_S)


def _secret_ref(secret: SecretKey) -> dict[str, Any]:
    return {"secretKeyRef": {"name": secret.name, "key": secret.key}}
