"""The pods of a pool as manifests: workers, and the placeholders that hold their room on nodes.

Everything that a pod is comes from the pool's spec and the operator's settings, so the same question always gives the
same manifest. A pod's name tells its pool, its revision and its ordinal. It is unique in the installation, because the
pool's uid is part of the revision, and it is the worker's name in the claims as well.
"""

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from genlock_core.sizing.measured import FpsBySize
from genlock_core.sizing.measured_steps import StepTimeBySize
from genlock_core.spec.pool import POOL_KIND, WorkerPoolSpec
from genlock_core.spec.session import API_VERSION
from genlock_operator.observed import PodRole, PodState, PoolResource
from genlock_operator.plan.policy import (
    POOL_LABEL,
    REVISION_LABEL,
    ROLE_LABEL,
    STATE_LABEL,
    SecretKey,
    WorkerDefaults,
)
from genlock_operator.plan.pool import pod_placement
from genlock_operator.plan.pool.pod_placement import APP_LABEL, WORKER_APP
from genlock_operator.plan.pool.worker_environment import drain_s, environment, mounts, volumes

PLACEHOLDER_APP: Final = "genlock-placeholder"
LINK_PORT_NAME: Final = "link"
HEALTH_PORT_NAME: Final = "metrics"
CONTAINER: Final = "worker"
USER_ID: Final = 10_001
GRACE_MARGIN_S: Final = 15
START_BUDGET_S: Final = 1_800
"""How long a model may take to load before the kubelet starts the worker again."""

_NO_FPS: Final[FpsBySize] = MappingProxyType({})
_NO_STEP_TIMES: Final[StepTimeBySize] = MappingProxyType({})
_REVISION_CHARS = 10
_SLEEP = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); signal.pause()"


def revision(resource: PoolResource, defaults: WorkerDefaults) -> str:
    """What a worker of this pool runs, as a short hash: pods of another one are replaced.

    Only what a worker would notice counts. Fields that are left out do not, so that a new release, which knows more
    fields, replaces nobody; nor does what the scale of the pool is, or how it drains. Nor does what was measured of the
    model: a worker learns its own speed within some micro-steps, so a better figure is worth nobody's move.
    """
    spec = resource.spec
    inputs: dict[str, object] = {
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
    # Where it is off, a worker is what one of a release without it was.
    if defaults.decode_process:
        inputs["decode_process"] = True
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
    resource: PoolResource,
    ordinal: int,
    defaults: WorkerDefaults,
    measured: FpsBySize = _NO_FPS,
    step_times: StepTimeBySize = _NO_STEP_TIMES,
) -> dict[str, Any]:
    """The manifest of a worker: a bare pod, which only the operator deletes. What was measured: as in `PoolSeen`."""
    spec = resource.spec

    # A model may take half an hour to load. Once it has, a worker without progress is restarted within seconds.
    container = _container(spec, defaults) | {
        "env": environment(resource, defaults, measured, step_times),
        "ports": [
            {"name": LINK_PORT_NAME, "containerPort": defaults.link_port, "protocol": "TCP"},
            {"name": HEALTH_PORT_NAME, "containerPort": defaults.health_port, "protocol": "TCP"},
        ],
        "startupProbe": _probe("/readyz", every_s=1, failures=START_BUDGET_S),
        "livenessProbe": _probe("/healthz", every_s=5, failures=2),
        "readinessProbe": _probe("/readyz", every_s=2, failures=2),
        "volumeMounts": mounts(spec),
    }
    return _pod(resource, ordinal, defaults, role=PodRole.WORKER, app=WORKER_APP, labels=_WARM) | {
        "spec": _pod_spec(spec, defaults, container, priority_class=defaults.live_priority_class)
        | {"terminationGracePeriodSeconds": drain_s(spec) + GRACE_MARGIN_S, "volumes": volumes(spec)}
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
    meta = resource.meta
    of_revision = revision(resource, defaults)
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

    # What the template leaves out is left to the cluster's defaults.
    if template.node_selector:
        pod["nodeSelector"] = dict(template.node_selector)
    if template.runtime_class is not None:
        pod["runtimeClassName"] = template.runtime_class
    if template.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in template.image_pull_secrets]
    return pod


def _container(spec: WorkerPoolSpec, defaults: WorkerDefaults) -> dict[str, Any]:
    image, policy = _image(spec, defaults)

    # Limits equal to requests: the pod is Guaranteed, and the last one that a full node evicts.
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


def _key(secret: SecretKey | None) -> list[str]:
    return [] if secret is None else [secret.name, secret.key]
