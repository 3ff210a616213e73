"""What the installation says of every worker pod and session: the operator's settings, as the plans need them."""

from dataclasses import dataclass

from genlock_core.process import values
from genlock_core.process.options import option
from genlock_core.process.values import Kind

GROUP_LABEL = "genlock.dev"
POOL_LABEL = f"{GROUP_LABEL}/pool"
"""The name of the pool, without its namespace."""
ROLE_LABEL = f"{GROUP_LABEL}/role"
REVISION_LABEL = f"{GROUP_LABEL}/revision"
STATE_LABEL = f"{GROUP_LABEL}/state"
"""Warm, Serving or Draining (`observed.PodState`): what the policy and the disruption budget go by."""
DRAIN_ANNOTATION = f"{GROUP_LABEL}/drain"
"""Any value: a person asks for the worker to be drained and replaced."""
DRAINING_SINCE_ANNOTATION = f"{GROUP_LABEL}/draining-since"
"""RFC 3339; written when the drain of a worker begins."""
MEASURED_VARIABLE = "GENLOCK_WORKER_MEASURED_FPS"
"""By which a worker is told what was measured of its model (`genlock_core.sizing.measured`)."""
STEP_TIME_VARIABLE = "GENLOCK_WORKER_MEASURED_STEP_TIME"
"""Likewise of its forwards (`genlock_core.sizing.measured_steps`). A worker that does not know it reads past it."""
KEEP_ANNOTATIONS = {
    "karpenter.sh/do-not-disrupt": "true",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
}
"""On pods that carry sessions: no autoscaler of nodes empties theirs."""


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key of a Secret in the pool's namespace."""

    name: str
    key: str

    @classmethod
    def parse(cls, text: str) -> "SecretKey":
        """`NAME/KEY`. Raises ValueError."""
        name, _, key = text.partition("/")
        if not name or not key:
            raise ValueError("must be NAME/KEY")
        return cls(name, key)


_REDIS_FOR_ALL = values.text(
    r"((redis|rediss|redis\+cluster|rediss\+cluster)://[^@\s]+)?",
    shape="URL",
    must_be="the address of a Redis without credentials; those come by --worker-redis-secret",
)
_SECRET_KEY = Kind("NAME/KEY", SecretKey.parse)
_PRIORITY_CLASS = values.text(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", must_be="the name of a PriorityClass")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDefaults:
    """What the installation says of worker pods of every pool. Each option is one of `genlock-operator`."""

    image: str = option(
        values.text(r"\S+", must_be="an image"),
        "genlock-worker",
        "image of workers whose pool names none",
        name="worker-image",
    )
    image_pull_policy: str = option(
        values.one_of("Always", "IfNotPresent", "Never"),
        "IfNotPresent",
        "when it is pulled",
        name="worker-image-pull-policy",
    )
    redis_url: str = option(
        _REDIS_FOR_ALL,
        "",
        "URL of Redis, without credentials; left out: that of --redis",
        name="worker-redis",
        secret=True,
    )
    """Empty where `redis_secret` holds the whole URL instead."""
    redis_secret: SecretKey | None = option(
        values.optional(_SECRET_KEY),
        "",
        "Secret in the pool's namespace with that URL instead",
        name="worker-redis-secret",
    )
    secrets: SecretKey = option(
        _SECRET_KEY, "genlock-secrets/secrets", "the installation's secrets (GENLOCK_SECRETS)", name="worker-secret"
    )
    """For the link to the gateways."""
    decode_process: bool = option(
        values.switch(),
        "no",
        "have workers decode each session's input in a process of its own, with a memory limit; a pool's template may "
        "say otherwise (GENLOCK_WORKER_DECODE_PROCESS)",
        name="worker-decode-process",
    )
    live_priority_class: str = option(_PRIORITY_CLASS, "genlock-live", "priority class of workers")
    warm_priority_class: str = option(_PRIORITY_CLASS, "genlock-warm", "priority class of placeholders")
    link_port: int = 7_000
    health_port: int = 9_090
    """/healthz, /readyz and /metrics of a worker."""
    lost_after_s: float = 30.0
    """How long a pod stays bound to a node that does not answer."""
    stuck_after_s: float = 30.0
    """A worker whose engine makes no progress for this long is replaced."""
