"""What the installation says of every worker pod and session: the operator's settings, as the plans need them."""

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class WorkerDefaults:
    """What the chart sets for worker pods of every pool."""

    image: str
    redis_url: str = ""
    """Without credentials; where it has some, `redis_secret` holds the whole URL instead."""
    redis_secret: SecretKey | None = None
    secrets: SecretKey = SecretKey("genlock-secrets", "secrets")
    """The installation's secrets, for the link to the gateways (GENLOCK_SECRETS)."""
    image_pull_policy: str = "IfNotPresent"
    live_priority_class: str = "genlock-live"
    warm_priority_class: str = "genlock-warm"
    link_port: int = 7_000
    health_port: int = 9_090
    """/healthz, /readyz and /metrics of a worker."""
    lost_after_s: float = 30.0
    """How long a pod stays bound to a node that does not answer."""
    stuck_after_s: float = 30.0
    """A worker whose engine makes no progress for this long is replaced."""


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How often a session's status speaks."""

    figures_every_s: float = 30.0
    """Figures alone are written at most this often; phases and conditions at once."""
    retry_s: float = 1.0
    """How soon a session that waits for room tries again if nothing that it could hear of changes."""
