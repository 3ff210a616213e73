"""Where a pool's pods may be and rather are: nodes with its GPU, packed, and for how long on one that is silent."""

from typing import Any, Final

from genlock_core.spec.pool import WorkerPoolSpec, node_products, wire

APP_LABEL: Final = "app.kubernetes.io/name"
WORKER_APP: Final = "genlock-worker"
PRODUCT_LABEL: Final = "nvidia.com/gpu.product"
"""As the GPU feature discovery writes it on nodes."""


def affinity(spec: WorkerPoolSpec) -> dict[str, Any]:
    """The right GPUs; and rather a node that has workers already, so that others stay empty."""
    product = {"key": PRODUCT_LABEL, "operator": "In", "values": list(node_products(spec.gpu))}
    workers = {"matchLabels": {APP_LABEL: WORKER_APP}}
    packed = {"weight": 100, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": workers}}
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [product]}]}
        },
        "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [packed]},
    }


def tolerations(spec: WorkerPoolSpec, lost_after_s: int) -> list[dict[str, Any]]:
    """The GPU nodes' taint, those of the template, and how long a node may be silent before its pods are given up."""
    silent = [
        {
            "key": f"node.kubernetes.io/{taint}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": lost_after_s,
        }
        for taint in ("not-ready", "unreachable")
    ]
    gpus = [{"key": key, "operator": "Exists"} for key in sorted({"nvidia.com/gpu", spec.gpu.resource})]
    return [*gpus, *(wire(toleration) for toleration in spec.template.tolerations), *silent]
