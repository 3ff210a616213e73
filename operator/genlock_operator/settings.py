"""What a platform team may set on the operator: each field here is declared once, as an option of `genlock-operator`.

`--watch-nodes` is also `GENLOCK_OPERATOR_WATCH_NODES`, and so on (`genlock_core.process.options`). The URL of Redis may
hold a password: in a cluster it comes as a variable from a Secret.
"""

import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from genlock_core.process import values
from genlock_core.process.address import Address
from genlock_core.process.logs import LogSettings
from genlock_core.process.options import Clash, Computed, Program, option, read, section
from genlock_core.process.values import Kind
from genlock_operator.plan.policy import WorkerDefaults
from genlock_operator.watch.watcher import Scope

PROGRAM: Final = Program(
    "genlock-operator", "GENLOCK_OPERATOR_", "The operator of Genlock: StreamSessions, WorkerPools, ModelProfiles."
)
SERVICE_ACCOUNT_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
NAMESPACE: Final = values.text(values.LABEL, shape="NAMESPACE", must_be="the name of a namespace")


def _gpus(text: str) -> tuple[str, int]:
    """`PRODUCT=COUNT`. Raises ValueError."""
    product, _, count = text.partition("=")
    if not product or not count.isdecimal() or len(count) > 6:
        raise ValueError("must be PRODUCT=GPUS, such as NVIDIA-H100=32")
    return product, int(count)


GPUS: Final = Kind("PRODUCT=GPUS", _gpus, {"type": "string", "pattern": r"^[^=,\s]+=[0-9]{1,6}$"})


def _default_identity(environment: Mapping[str, str]) -> str:
    return environment.get("POD_NAME") or f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(3)}"


def _pods_namespace(environment: Mapping[str, str]) -> str:
    if namespace := environment.get("POD_NAMESPACE"):
        return namespace
    if SERVICE_ACCOUNT_NAMESPACE.exists():
        return SERVICE_ACCOUNT_NAMESPACE.read_text(encoding="ascii").strip()
    return "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """All of it."""

    redis_url: str = option(values.redis_url(), "redis://127.0.0.1:6379", "URL of Redis", name="redis", secret=True)
    identity: str = option(
        values.text(r"\S+", must_be="one word"),
        Computed("the pod's name, else the host's and a random ending", _default_identity),
        "this replica's name, in the lease and in Events; unique in the installation",
    )
    own_namespace: str = option(
        NAMESPACE,
        Computed("the pod's, else `default`", _pods_namespace),
        "the operator's own namespace",
    )
    namespaces: tuple[str, ...] = option(
        values.several(NAMESPACE, separator=","),
        "",
        "namespaces to watch, commas between; left out: the operator's own",
    )
    all_namespaces: bool = option(values.switch(), "no", "watch every namespace")
    watch_nodes: bool = option(
        values.switch(), "no", "drain workers of nodes that are cordoned or about to go; needs a ClusterRole"
    )
    lease_name: str = option(
        values.text(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", must_be="the name of a Lease"),
        "genlock-operator",
        "name of the Lease that one replica holds",
    )
    lease_namespace: str | None = option(
        values.optional(NAMESPACE),
        "",
        "its namespace, which must be watched; left out: the operator's own, else the first",
    )
    public_url: str | None = option(
        values.optional(values.web_url()), "", "base URL of the gateways, for the endpoints in status"
    )
    health: Address = option(values.address(), "127.0.0.1:8081", "address of /healthz, /readyz and /metrics")
    scaler: Address | None = option(
        values.optional(values.address()),
        "",
        "address at which KEDA's external scaler (gRPC, without TLS) is served; left out: nowhere",
    )
    kubeconfig: Path | None = option(
        values.optional(values.path()), "", "a kubeconfig file; left out: the pod's service account"
    )
    snapshot_budget_bytes: int | None = option(
        values.optional(values.size()),
        "",
        "memory of Redis that all snapshots together may take; left out: half of its maxmemory, and 1Gi without one",
    )
    gpu_budget: tuple[tuple[str, int], ...] = option(
        values.several(GPUS, separator=","),
        "",
        "GPUs that all pools of a product may have together, commas between; each pool's min comes first, the rest "
        "goes by weight; left out: as many as the pools' own max allow",
    )
    log: LogSettings = section(LogSettings)
    workers: WorkerDefaults = section(WorkerDefaults, "workers of every pool")

    @property
    def scope(self) -> Scope:
        """What is watched, and where the lease lies."""
        named = self.namespaces or (self.own_namespace,)
        namespaces = None if self.all_namespaces else named
        near = namespaces is None or self.own_namespace in namespaces
        lease = self.lease_namespace or (self.own_namespace if near else named[0])
        return Scope(namespaces, lease, self.lease_name, nodes=self.watch_nodes)


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> OperatorSettings:
    """Read options and environment. A mistake is one line on stderr, and exit status 2."""
    return read(PROGRAM, OperatorSettings, arguments, environment, complete=_complete)


def _complete(settings: OperatorSettings) -> OperatorSettings:
    """What one option leaves to another. Raises Clash."""
    if settings.all_namespaces and settings.namespaces:
        raise Clash(["namespaces", "all-namespaces"], "give one of them, not both")
    watched = settings.scope.namespaces
    if watched is not None and settings.scope.lease_namespace not in watched:
        raise Clash(["lease-namespace"], f"must be one of those that are watched, {', '.join(watched)}")

    products = [product for product, _ in settings.gpu_budget]
    if len(set(products)) < len(products):
        raise Clash(["gpu-budget"], "names a product twice")

    workers = settings.workers
    if workers.redis_secret is not None:
        return replace(settings, workers=replace(workers, redis_url=""))
    url = workers.redis_url or settings.redis_url
    if "@" in url:
        raise Clash(["redis", "worker-redis"], "a URL with a password is for workers to get by --worker-redis-secret")
    return replace(settings, workers=replace(workers, redis_url=url))
