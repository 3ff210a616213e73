"""The pods of a pool as manifests: workers, and the placeholders that hold their room on nodes.

Everything that a pod is comes from the pool's spec and the operator's settings, so that the same question always gives
the same manifest; a worker is also told what was measured of its model by then. A pod's name tells its pool, its
revision and its ordinal, and is unique in the installation, because the pool's uid is part of the revision: it is the
worker's name in the claims as well.
"""

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from genlock_core.sizing.measured import FpsBySize, to_json
from genlock_core.spec.pool import POOL_KIND, WorkerPoolSpec
from genlock_core.spec.session import API_VERSION
from genlock_operator.observed import PodRole, PodState, PoolResource
from genlock_operator.plan.policy import (
    MEASURED_VARIABLE,
    POOL_LABEL,
    REVISION_LABEL,
    ROLE_LABEL,
    STATE_LABEL,
    SecretKey,
    WorkerDefaults,
)
from genlock_operator.plan.pool import pod_placement
from genlock_operator.plan.pool.pod_placement import APP_LABEL, WORKER_APP

PLACEHOLDER_APP: Final = "genlock-placeholder"
LINK_PORT_NAME: Final = "link"
HEALTH_PORT_NAME: Final = "metrics"
CONTAINER: Final = "worker"
MODELS: Final = "/models"
"""Where a pool's weights are mounted."""
MEDIA: Final = "/media"
USER_ID: Final = 10_001
GRACE_CAP_S: Final = 60
"""A worker that is deleted although it serves (its node shuts down, or by force) moves its sessions within this time;
the polite way out is a drain, which takes as long as it needs."""
GRACE_MARGIN_S: Final = 15
START_BUDGET_S: Final = 1_800
"""How long a model may take to load before the kubelet starts the worker again."""

_NOTHING: Final[FpsBySize] = MappingProxyType({})
_REVISION_CHARS = 10
_SLEEP = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); signal.pause()"


def revision(resource: PoolResource, defaults: WorkerDefaults) -> str:
    """What a worker of this pool runs, as a short hash: pods of another one are replaced.

    Only what a worker would notice counts. Fields that are left out do not, so that a new release, which knows more
    fields, replaces nobody; nor does what the scale of the pool is, or how it drains. Nor does what was measured of the
    model: a worker learns its own speed within some micro-steps, so a better figure is worth nobody's move.
    """
    spec = resource.spec
    inputs = {
        "pool": resource.meta.uid,
        "model": spec.model,
        "engine": spec.engine,
        "gpu": spec.gpu.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "template": spec.template.model_dump(
            mode="json", by_alias=True, exclude_defaults=True, exclude={"image", "image_pull_policy"}
        ),
        "image": _image(spec, defaults)[0],  # whether the template names it or the installation does
        "redis": [defaults.redis_url, _key(defaults.redis_secret)],
        "secrets": _key(defaults.secrets),
        "priority": defaults.live_priority_class,
        "ports": [defaults.link_port, defaults.health_port],
    }
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    return digest[:_REVISION_CHARS]


def pod_name(pool: str, of_revision: str, ordinal: int, role: PodRole = PodRole.WORKER) -> str:
    """The name of a pool's pod; `pool` without its namespace."""
    mark = "" if role is PodRole.WORKER else "hold-"
    return f"{pool}-{of_revision}-{mark}{ordinal}"


def selector(pool: str) -> str:
    """The label selector of a pool's workers, for the scale subresource."""
    return f"{POOL_LABEL}={pool},{ROLE_LABEL}={PodRole.WORKER.value}"


def worker_pod(
    resource: PoolResource, ordinal: int, defaults: WorkerDefaults, measured: FpsBySize = _NOTHING
) -> dict[str, Any]:
    """The manifest of a worker: a bare pod, which only the operator deletes. `measured`: as in `PoolSeen`."""
    spec = resource.spec
    container = _container(spec, defaults) | {
        "env": _environment(resource, defaults, measured),
        "ports": [
            {"name": LINK_PORT_NAME, "containerPort": defaults.link_port, "protocol": "TCP"},
            {"name": HEALTH_PORT_NAME, "containerPort": defaults.health_port, "protocol": "TCP"},
        ],
        "startupProbe": _probe("/readyz", every_s=1, failures=START_BUDGET_S),
        "livenessProbe": _probe("/healthz", every_s=5, failures=2),
        "readinessProbe": _probe("/readyz", every_s=2, failures=2),
        "volumeMounts": _mounts(spec),
    }
    return _pod(resource, ordinal, defaults, role=PodRole.WORKER, app=WORKER_APP, labels=_WARM) | {
        "spec": _pod_spec(spec, defaults, container, priority_class=defaults.live_priority_class)
        | {"terminationGracePeriodSeconds": _drain_s(spec) + GRACE_MARGIN_S, "volumes": _volumes(spec)}
    }


def placeholder_pod(resource: PoolResource, ordinal: int, defaults: WorkerDefaults) -> dict[str, Any]:
    """The manifest of a placeholder: a worker's size and image, and nothing inside. Any worker takes its place."""
    spec = resource.spec
    container = _container(spec, defaults) | {"command": ["python3", "-c", _SLEEP]}
    return _pod(resource, ordinal, defaults, role=PodRole.PLACEHOLDER, app=PLACEHOLDER_APP, labels={}) | {
        "spec": _pod_spec(spec, defaults, container, priority_class=defaults.warm_priority_class)
        | {"terminationGracePeriodSeconds": 0}
    }


_WARM = {STATE_LABEL: PodState.WARM.value}


def _pod(
    resource: PoolResource,
    ordinal: int,
    defaults: WorkerDefaults,
    *,
    role: PodRole,
    app: str,
    labels: Mapping[str, str],
) -> dict[str, Any]:
    meta, of_revision = resource.meta, revision(resource, defaults)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(meta.name, of_revision, ordinal, role),
            "namespace": meta.namespace,
            "labels": {
                APP_LABEL: app,
                "app.kubernetes.io/managed-by": "genlock-operator",
                POOL_LABEL: meta.name,
                ROLE_LABEL: role.value,
                REVISION_LABEL: of_revision,
                **labels,
            },
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": POOL_KIND,
                    "name": meta.name,
                    "uid": meta.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
    }


def _pod_spec(
    spec: WorkerPoolSpec, defaults: WorkerDefaults, container: Mapping[str, Any], *, priority_class: str
) -> dict[str, Any]:
    template = spec.template
    pod: dict[str, Any] = {
        "restartPolicy": "Always",
        "priorityClassName": priority_class,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": pod_placement.affinity(spec),
        "tolerations": pod_placement.tolerations(spec, round(defaults.lost_after_s)),
        "containers": [dict(container)],
    }
    if template.node_selector:
        pod["nodeSelector"] = dict(template.node_selector)
    if template.runtime_class is not None:
        pod["runtimeClassName"] = template.runtime_class
    if template.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in template.image_pull_secrets]
    return pod


def _container(spec: WorkerPoolSpec, defaults: WorkerDefaults) -> dict[str, Any]:
    image, policy = _image(spec, defaults)
    size = {
        "cpu": spec.template.compute.cpu,
        "memory": spec.template.compute.memory,
        spec.gpu.resource: str(spec.gpu.count),
    }
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": policy,
        "resources": {"limits": dict(size), "requests": dict(size)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _environment(resource: PoolResource, defaults: WorkerDefaults, measured: FpsBySize) -> list[dict[str, Any]]:
    """What the operator sets, then what the template adds; where both name a variable, the operator's holds."""
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
        {"name": "GENLOCK_WORKER_GPUS", "value": str(spec.gpu.count)},
        {"name": "GENLOCK_WORKER_METRICS_PORT", "value": str(defaults.health_port)},
        {"name": "GENLOCK_WORKER_METRICS_HOST", "value": "0.0.0.0"},  # noqa: S104 - the pod's own network, behind a NetworkPolicy
        {"name": "GENLOCK_WORKER_LOG_FORMAT", "value": "json"},
        {"name": "GENLOCK_WORKER_DRAIN_TIMEOUT", "value": f"{_drain_s(spec)}s"},
    ]
    if measured:
        ours.append({"name": MEASURED_VARIABLE, "value": to_json(measured)})
    if spec.template.media is not None:
        ours.append({"name": "GENLOCK_WORKER_MEDIA_ROOT", "value": MEDIA})
    if _has_weights(spec):
        ours.append({"name": "GENLOCK_WORKER_WEIGHTS", "value": MODELS})
    names = {entry["name"] for entry in ours}
    return ours + [
        {"name": name, "value": value} for name, value in sorted(spec.template.env.items()) if name not in names
    ]


def _volumes(spec: WorkerPoolSpec) -> list[dict[str, Any]]:
    weights, media = spec.template.weights, spec.template.media
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


def _mounts(spec: WorkerPoolSpec) -> list[dict[str, Any]]:
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


def _probe(path: str, *, every_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": HEALTH_PORT_NAME},
        "periodSeconds": every_s,
        "failureThreshold": failures,
        "timeoutSeconds": 2,
    }


def _image(spec: WorkerPoolSpec, defaults: WorkerDefaults) -> tuple[str, str]:
    """Image and pull policy: both the pool's or both the operator's."""
    if spec.template.image is None:
        return defaults.image, defaults.image_pull_policy
    return spec.template.image, spec.template.image_pull_policy


def _drain_s(spec: WorkerPoolSpec) -> int:
    return min(max(spec.drain.timeout // 1_000, 1), GRACE_CAP_S)


def _secret_ref(secret: SecretKey) -> dict[str, Any]:
    return {"secretKeyRef": {"name": secret.name, "key": secret.key}}


def _key(secret: SecretKey | None) -> list[str]:
    return [] if secret is None else [secret.name, secret.key]
