"""What a platform team may set on the operator, as options of `genlock-operator` and as environment variables.

`--watch-nodes` is `GENLOCK_OPERATOR_WATCH_NODES`, and so on; an option wins over its variable. The URL of Redis may
hold a password: in a cluster it comes as a variable from a Secret.
"""

import argparse
import os
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from genlock_operator.plan.policy import SecretKey, SessionPolicy, WorkerDefaults
from genlock_operator.watch.watcher import Scope

ENVIRONMENT_PREFIX = "GENLOCK_OPERATOR_"
SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a host and a port; port 0 lets the system choose."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """`127.0.0.1:8081` or `[::]:8081`. Raises ValueError."""
        host, separator, port = text.rpartition(":")
        if not separator or not port.isdecimal() or int(port) > 65_535:
            raise ValueError(f"{text!r} is not an address; write for example 127.0.0.1:8081")
        return cls(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - what an empty host means


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """All of it."""

    redis_url: str
    identity: str
    """This replica's name, in the lease and in Events."""
    scope: Scope
    kubeconfig: Path | None
    """None: the pod's service account."""
    public_url: str
    workers: WorkerDefaults
    policy: SessionPolicy
    health: Address
    concurrency: int
    log_format: str
    log_level: str


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> OperatorSettings:
    """Read options and environment. Exits with a usage message on a mistake, as argparse does."""
    parser = _parser(environment)
    options = parser.parse_args(arguments)
    try:
        return OperatorSettings(
            redis_url=options.redis,
            identity=options.identity,
            scope=_scope(options, environment),
            kubeconfig=Path(options.kubeconfig) if options.kubeconfig else None,
            public_url=options.public_url.rstrip("/"),
            workers=_workers(options),
            policy=SessionPolicy(figures_every_s=options.figures_every_s),
            health=Address.parse(options.health),
            concurrency=_at_least_one(options.concurrency),
            log_format=options.log_format,
            log_level=options.log_level,
        )
    except ValueError as error:
        parser.error(str(error))


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="genlock-operator", description="The operator of Genlock: StreamSessions, WorkerPools, ModelProfiles."
    )
    defaults = WorkerDefaults(image="genlock-worker")

    def option(
        flag: str, default: str, meaning: str, *, kind: type = str, choices: tuple[str, ...] | None = None
    ) -> None:
        name = ENVIRONMENT_PREFIX + flag.removeprefix("--").replace("-", "_").upper()
        parser.add_argument(
            flag, default=environment.get(name, default), type=kind, choices=choices, help=f"{meaning} [{name}]"
        )

    def switch(flag: str, meaning: str) -> None:
        name = ENVIRONMENT_PREFIX + flag.removeprefix("--").replace("-", "_").upper()
        parser.add_argument(
            flag, action="store_true", default=_truth(name, environment.get(name, "")), help=f"{meaning} [{name}]"
        )

    option("--redis", "redis://127.0.0.1:6379", "URL of Redis")
    option("--namespaces", "", "namespaces to watch, commas between; left out: the operator's own")
    switch("--all-namespaces", "watch every namespace")
    switch("--watch-nodes", "drain workers of nodes that are cordoned or about to go; needs a ClusterRole")
    option("--identity", _default_identity(environment), "this replica's name, unique in the installation")
    option("--lease-name", "genlock-operator", "name of the Lease that one replica holds")
    option(
        "--lease-namespace", "", "its namespace, which must be watched; left out: the operator's own, else the first"
    )
    option("--public-url", "", "base URL of the gateways, for the endpoints in status")
    option("--worker-image", defaults.image, "image of workers whose pool names none")
    option("--worker-image-pull-policy", defaults.image_pull_policy, "when it is pulled", choices=_PULL_POLICIES)
    option("--worker-redis", "", "URL of Redis for workers, without credentials; left out: that of --redis")
    option("--worker-redis-secret", "", "NAME/KEY of a Secret in the pool's namespace with that URL instead")
    option(
        "--worker-secret", f"{defaults.secrets.name}/{defaults.secrets.key}", "NAME/KEY of the installation's secrets"
    )
    option("--live-priority-class", defaults.live_priority_class, "priority class of workers")
    option("--warm-priority-class", defaults.warm_priority_class, "priority class of placeholders")
    option("--worker-link-port", str(defaults.link_port), "port of a worker's link", kind=int)
    option("--worker-health-port", str(defaults.health_port), "port of a worker's probes and metrics", kind=int)
    option("--lost-after-s", str(defaults.lost_after_s), "seconds a pod stays bound to a silent node", kind=float)
    option(
        "--stuck-after-s",
        str(defaults.stuck_after_s),
        "seconds without progress until a worker is replaced",
        kind=float,
    )
    option(
        "--figures-every-s", str(SessionPolicy().figures_every_s), "least seconds between figures in status", kind=float
    )
    option("--health", "127.0.0.1:8081", "address of /healthz, /readyz and /metrics")
    option("--kubeconfig", "", "a kubeconfig file, outside of a cluster")
    option("--concurrency", "32", "objects that are worked on at once", kind=int)
    option("--log-format", "text", "how to log", choices=("text", "json"))
    option("--log-level", "info", "least severity that is logged", choices=("debug", "info", "warning", "error"))
    return parser


_PULL_POLICIES = ("Always", "IfNotPresent", "Never")


def _scope(options: argparse.Namespace, environment: Mapping[str, str]) -> Scope:
    own = _own_namespace(environment)
    named = tuple(name.strip() for name in options.namespaces.split(",") if name.strip())
    if options.all_namespaces and named:
        raise ValueError("give --namespaces or --all-namespaces, not both")
    namespaces = None if options.all_namespaces else named or (own,)
    for name in namespaces or ():
        if not _LABEL.fullmatch(name):
            raise ValueError(f"--namespaces: {name!r} is not the name of a namespace")
    lease = options.lease_namespace or (own if namespaces is None or own in namespaces else namespaces[0])
    if namespaces is not None and lease not in namespaces:
        raise ValueError(f"--lease-namespace {lease}: must be one of those that are watched, {', '.join(namespaces)}")
    return Scope(namespaces, lease, options.lease_name, nodes=options.watch_nodes)


def _own_namespace(environment: Mapping[str, str]) -> str:
    if namespace := environment.get("POD_NAMESPACE"):
        return namespace
    if SERVICE_ACCOUNT_NAMESPACE.exists():
        return SERVICE_ACCOUNT_NAMESPACE.read_text(encoding="ascii").strip()
    return "default"


def _workers(options: argparse.Namespace) -> WorkerDefaults:
    url = options.worker_redis or options.redis
    secret = _secret("--worker-redis-secret", options.worker_redis_secret) if options.worker_redis_secret else None
    if secret is None and "@" in url:
        raise ValueError("the URL of Redis holds a password; give workers theirs by --worker-redis-secret NAME/KEY")
    return WorkerDefaults(
        image=options.worker_image,
        redis_url="" if secret is not None else url,
        redis_secret=secret,
        secrets=_secret("--worker-secret", options.worker_secret),
        image_pull_policy=options.worker_image_pull_policy,
        live_priority_class=options.live_priority_class,
        warm_priority_class=options.warm_priority_class,
        link_port=options.worker_link_port,
        health_port=options.worker_health_port,
        lost_after_s=options.lost_after_s,
        stuck_after_s=options.stuck_after_s,
    )


def _secret(flag: str, text: str) -> SecretKey:
    name, _, key = text.partition("/")
    if not name or not key:
        raise ValueError(f"{flag} {text!r}: write NAME/KEY")
    return SecretKey(name, key)


def _at_least_one(count: int) -> int:
    if count < 1:
        raise ValueError("--concurrency must be at least 1")
    return count


def _truth(name: str, text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise SystemExit(f"genlock-operator: {name}={text!r}: write true or false")
    return text.lower() in _TRUE


def _default_identity(environment: Mapping[str, str]) -> str:
    return environment.get("POD_NAME") or f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(3)}"
