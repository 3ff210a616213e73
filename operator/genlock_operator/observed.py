"""What the plans look at: facts about resources, pods, nodes, workers and records, frozen, without any way to act.

`watch` makes those of the API server, `reconcile` those of Redis. Times are milliseconds since the epoch. A session
and a pool are named `namespace/name`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from genlock_core.claims.facts import WorkerView
from genlock_core.claims.figure_board import PostedFigures
from genlock_core.claims.record import SessionRecord
from genlock_core.sizing.measured import FpsBySize
from genlock_core.sizing.measured_steps import StepTimeBySize
from genlock_core.sizing.placement import Placement, Unplaceable
from genlock_core.spec.pool import WorkerPoolSpec, WorkerPoolStatus
from genlock_core.spec.session import ResolvedSession
from genlock_operator.autoscale.arrivals import Flow
from genlock_operator.autoscale.stabilise import WantedWorkers


@dataclass(frozen=True, slots=True)
class Meta:
    """An object's metadata, as far as anybody asks."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    created_ms: int
    deleting: bool

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class SessionResource:
    """A StreamSession as the API server has it; spec and status as JSON, as there are ten thousand in memory."""

    meta: Meta
    spec_json: bytes
    status_json: bytes

    @property
    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.status_json)) if self.status_json else {}


@dataclass(frozen=True, slots=True)
class PoolOutlook:
    """Whether a pool can grow, as its own plan saw it: what a session that waits is told."""

    name: str
    starting: int = 0
    """Workers that exist and are not ready yet."""
    limit: str = ""
    """QuotaExceeded, InsufficientGPUs, WorkersFailing or AtMax; "" while nothing is known to stand in the way."""
    message: str = ""
    """The limit in words."""


@dataclass(frozen=True, slots=True)
class SessionSeen:
    """Everything about one session at one moment."""

    name: str
    resource: SessionResource | None
    """The object; None: it was deleted, or never was."""
    session: ResolvedSession | None
    """The object's spec with its defaults; None without an object, or if the spec cannot be read."""
    record: SessionRecord | None
    """What Redis has under this name, whoever made it."""
    placement: Placement | Unplaceable | None = None
    """Where the spec could run; None without a spec."""
    mistakes: tuple[str, ...] = ()
    """Why the spec cannot be read."""
    refusal: str = ""
    """Why the last claim or move of this pass found no room; "" if it did, or none was tried."""
    outlooks: Mapping[str, PoolOutlook] = field(default_factory=dict)
    """What is known of the pools of its placement."""
    worker: WorkerView | None = None
    """The owner, None without one."""
    figures: PostedFigures | None = None
    """The newest; None if no gateway has any."""
    public_url: str = ""
    """Base URL of the gateways, without a slash at the end."""


@dataclass(frozen=True, slots=True)
class PoolResource:
    """A WorkerPool as the API server has it."""

    meta: Meta
    spec: WorkerPoolSpec
    status: WorkerPoolStatus


class PodRole(StrEnum):
    WORKER = "worker"
    PLACEHOLDER = "placeholder"


class PodState(StrEnum):
    """The label `genlock.dev/state` of a worker pod, which policy and disruption budget read."""

    WARM = "Warm"
    SERVING = "Serving"
    DRAINING = "Draining"


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A worker or placeholder pod. The `*_ms` of a phase are 0 until it is reached."""

    meta: Meta
    pool: str
    role: PodRole
    revision: str
    state: str
    """A `PodState`, as its label says; "" without one."""
    phase: str
    ready: bool
    node: str = ""
    scheduled_ms: int = 0
    started_ms: int = 0
    ready_ms: int = 0
    unschedulable: str = ""
    """The scheduler's message while no node fits."""
    failing: str = ""
    """Why its container does not run (ImagePullBackOff ...: message); "" if it does, or is only starting."""
    drain_asked: bool = False
    """It carries the annotation `genlock.dev/drain`."""
    draining_since_ms: int = 0
    """From its annotation `genlock.dev/draining-since`; 0 if it has none."""
    protected: bool = False
    """It carries the do-not-evict annotations."""
    told: str = ""
    """What it was told of its model's speed when it was made."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node of the cluster."""

    name: str
    leaving: str = ""
    """Why its workers have to go: a cordon, or a taint that empties it; "" if they may stay."""


@dataclass(frozen=True, slots=True)
class Demand:
    """A session that waits for room: `cost` thousandths of a worker of `pool`, its first choice."""

    session: str
    pool: str
    cost: int
    since_ms: int


@dataclass(frozen=True, slots=True)
class CreateFailure:
    """Why the API server refused the pool's last new pod."""

    reason: str
    """QuotaExceeded or Refused."""
    message: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class StartUpTimes:
    """What one worker took for each phase, in seconds: scheduled, started, ready, registered."""

    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SessionCost:
    """What a session takes of a worker of its pool, in thousandths."""

    asked: int
    """At the level that its users ask for."""
    paid: int
    """What its claim pays."""
    lowest: int
    """At the lowest level that it allows there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTraffic:
    """What was counted of a pool's sessions, and what others leave of the GPUs."""

    flow: Flow | None
    """None: the counters were never read."""
    age_s: float
    """Since the counters were last known to be new."""
    session_cost: int
    """What a new session is expected to take, in thousandths, at the level that it asks for."""
    budget: int | None = None
    """Workers that it may have of a GPU budget; None: there is none."""
    wanted: tuple[WantedWorkers, ...] = ()
    """What its plans have asked for lately, oldest first; nothing where another process has led until now."""


@dataclass(frozen=True, slots=True)
class PoolSeen:
    """Everything about one pool at one moment. `workers` are those that Redis knows, by pod name."""

    resource: PoolResource
    pods: tuple[PodFacts, ...]
    workers: Mapping[str, WorkerView]
    store_answers: bool = True
    """False: Redis is away, `workers` says nothing; nobody is drained or deleted then."""
    store_since_ms: int = 0
    """Since when Redis has answered without a break: heartbeats older than this say nothing of a worker."""
    nodes: Mapping[str, NodeFacts] = field(default_factory=dict)
    """Empty where the operator may not read nodes."""
    demand: tuple[Demand, ...] = ()
    create_failure: CreateFailure | None = None
    start_ups: tuple[StartUpTimes, ...] = ()
    costs: Mapping[str, SessionCost] = field(default_factory=dict)
    """Of its sessions, as far as their records were read."""
    traffic: PoolTraffic | None = None
    """None: nobody counts here, and the pool has what its sessions need and its buffer."""
    measured: FpsBySize = field(default_factory=dict)
    """What the profiles that size it say of its model on its GPUs, for one session alone; new workers are told."""
    step_times: StepTimeBySize = field(default_factory=dict)
    """Likewise of its forwards."""

    @property
    def name(self) -> str:
        """`namespace/name`, the pool's name in the claims."""
        return self.resource.meta.key
