"""A small world for the plan of a pool: nodes with GPUs, pods that take time to start, workers in Redis with sessions.

It does what scheduler, kubelets, garbage collection, workers and gateways do, as simply as the plan can tell, and
executes the plan's actions the way the operator does. It refuses to go on when an action breaks a promise: a pod with
sessions is deleted, or more workers are created than max and surge allow.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from genlock_core.claims.facts import WorkerState, WorkerView
from genlock_core.claims.identity import FormatRange, WorkerIdentity
from genlock_core.spec.pool import WorkerPoolSpec, WorkerPoolStatus
from genlock_operator.actions import (
    CloseWorker,
    CreatePod,
    LookAgain,
    MarkPod,
    MoveSession,
    PoolAction,
    RetirePod,
    SetReserve,
    Tell,
    WritePoolStatus,
)
from genlock_operator.observed import (
    CreateFailure,
    Demand,
    Meta,
    NodeFacts,
    PodFacts,
    PodRole,
    PoolResource,
    PoolSeen,
)
from genlock_operator.plan.conditions import milliseconds
from genlock_operator.plan.policy import (
    DRAINING_SINCE_ANNOTATION,
    KEEP_ANNOTATIONS,
    POOL_LABEL,
    REVISION_LABEL,
    ROLE_LABEL,
    STATE_LABEL,
    WorkerDefaults,
)
from genlock_operator.plan.pool import plan_pool

DEFAULTS = WorkerDefaults(image="worker:1", redis_url="redis://redis:6379")
START_MS = 1_800_000_000_000
TICK_MS = 500
BIND_MS, RUN_MS, WARM_MS = 500, 2_000, 5_000
"""Until a pod is bound, until its container runs, until its worker is ready."""
GRACE_MS = 1_000
LEASE_MS = 2_000


def pool_spec(**fields: Any) -> WorkerPoolSpec:
    """A spec of four-GPU workers; `fields` as in YAML."""
    gpu = {"product": "NVIDIA-H100", "count": 4}
    return WorkerPoolSpec.model_validate({"model": "wan2.1-1.3b", "engine": "mock", "gpu": gpu, **fields})


def resource_of(spec: WorkerPoolSpec, **meta: Any) -> PoolResource:
    return PoolResource(
        Meta("studio", "h100", "uid-pool", 1, "1", START_MS, deleting=False), spec, WorkerPoolStatus(), **meta
    )


@dataclass
class Node:
    gpus: int
    cordoned: bool = False
    lost: bool = False


@dataclass
class Pod:
    facts: PodFacts
    image: str
    created_ms: int
    gone_ms: int = 0
    """When it is out of sight, once it is being deleted; 0 while it is not."""
    stuck: bool = False

    @property
    def name(self) -> str:
        return self.facts.meta.name

    @property
    def alive(self) -> bool:
        return not self.facts.meta.deleting and self.facts.phase != "Failed"

    def set(self, **changes: Any) -> None:
        self.facts = replace(self.facts, **changes)


@dataclass
class Process:
    """A worker in Redis."""

    identity: WorkerIdentity
    closed: bool = False
    heartbeat_ms: int = 0
    sessions: dict[str, int] = field(default_factory=dict)
    """Session -> cost."""

    @property
    def free(self) -> int:
        return 1_000 - sum(self.sessions.values())


class World:
    def __init__(self, spec: WorkerPoolSpec, nodes: dict[str, int], *, quota: int | None = None) -> None:
        self.now_ms = START_MS
        self.resource = resource_of(spec)
        self.nodes = {name: Node(gpus) for name, gpus in nodes.items()}
        self.quota = quota
        self.broken_images: set[str] = set()
        self.store_answers = True
        self.store_since_ms = 0
        self.lag = False
        """The operator's caches are one tick behind."""
        self.pods: dict[str, Pod] = {}
        self.processes: dict[str, Process] = {}
        self.costs: dict[str, int] = {}
        """Every session that lives."""
        self.create_failure: CreateFailure | None = None
        self.created: list[str] = []
        self.told: list[str] = []
        self.reserve = 0
        self.wishes: list[PoolAction] = []
        """The last plan."""
        self._uids = 0
        self._old: tuple[PoolResource, tuple[PodFacts, ...]] | None = None

    # -- what happens to it -------------------------------------------------------------------------------------------

    def arrive(self, session: str, cost: int = 250) -> None:
        self.costs[session] = cost

    def leave(self, session: str) -> None:
        self.costs.pop(session, None)
        for process in self.processes.values():
            process.sessions.pop(session, None)

    def change(self, **fields: Any) -> None:
        spec = self.resource.spec.model_dump(mode="json", by_alias=True, exclude_none=True) | fields
        meta = self.resource.meta
        self.resource = replace(
            self.resource,
            meta=replace(meta, generation=meta.generation + 1),
            spec=WorkerPoolSpec.model_validate(spec),
        )
        self._touch()

    def kill_pod(self, name: str) -> None:
        """Somebody deletes it by force; its sessions find another worker, or wait."""
        self._delete(self.pods[name])

    def fail_pod(self, name: str) -> None:
        self.pods[name].set(phase="Failed", ready=False)
        self.processes.pop(name, None)

    def run(self, seconds: float, *, tick_ms: int = TICK_MS) -> None:
        for _ in range(int(seconds * 1_000 / tick_ms)):
            self.tick(tick_ms=tick_ms)

    def tick(self, *, crash_after: int | None = None, tick_ms: int = TICK_MS) -> None:
        """A moment of everything; the operator dies after that many actions and is back at the next tick."""
        before = (self.resource, tuple(pod.facts for pod in self.pods.values()))
        self.now_ms += tick_ms
        self._bind()
        self._run_pods()
        self._serve()
        self._operate(crash_after)
        self._old = before if self.lag else None

    # -- what is asked of it ----------------------------------------------------------------------------------------

    @property
    def status(self) -> WorkerPoolStatus:
        return self.resource.status

    def workers(self) -> list[Pod]:
        """Worker pods that are not being deleted, by name."""
        return [
            pod
            for _, pod in sorted(self.pods.items())
            if pod.facts.role is PodRole.WORKER and not pod.facts.meta.deleting
        ]

    def placeholders(self) -> list[Pod]:
        return [pod for pod in self.pods.values() if pod.facts.role is PodRole.PLACEHOLDER and pod.alive]

    def waiting(self) -> list[str]:
        owned = {session for process in self.processes.values() for session in process.sessions}
        return sorted(set(self.costs) - owned)

    def condition(self, type_: str) -> str:
        return next(one.reason for one in self.status.conditions if one.type == type_)

    def seen(self) -> PoolSeen:
        resource, facts = self._old or (self.resource, tuple(pod.facts for pod in self.pods.values()))
        views = {name: self._view(process) for name, process in self.processes.items()}
        return PoolSeen(
            resource=resource,
            pods=facts,
            workers=views if self.store_answers else {},
            store_answers=self.store_answers,
            store_since_ms=self.store_since_ms,
            nodes={
                name: NodeFacts(name, ready=not node.lost, leaving="cordoned" if node.cordoned else "")
                for name, node in self.nodes.items()
            },
            demand=tuple(
                Demand(session, resource.meta.key, self.costs[session], self.now_ms)
                for session in (self.waiting() if self.store_answers else [])
            ),
            create_failure=self.create_failure,
        )

    # -- scheduler, kubelets, workers, gateways -----------------------------------------------------------------------

    def _bind(self) -> None:
        """Workers before placeholders; a worker takes a placeholder's room."""
        pending = [pod for pod in self.pods.values() if pod.alive and not pod.facts.node]
        for pod in sorted(pending, key=lambda pod: (pod.facts.role is PodRole.PLACEHOLDER, pod.name)):
            if self.now_ms - pod.created_ms < BIND_MS:
                continue
            node = next((name for name in sorted(self.nodes) if self._room(name) >= 4), "")
            if not node and pod.facts.role is PodRole.WORKER:
                node = self._preempt()
            unschedulable = "" if node else "0/3 nodes are available: Insufficient nvidia.com/gpu"
            pod.set(node=node, unschedulable=unschedulable, scheduled_ms=self.now_ms if node else 0)

    def _room(self, name: str) -> int:
        node = self.nodes[name]
        held = sum(4 for pod in self.pods.values() if pod.facts.node == name and pod.facts.phase != "Failed")
        return 0 if node.cordoned or node.lost else node.gpus - held

    def _preempt(self) -> str:
        for pod in self.placeholders():
            node = pod.facts.node
            if node and not self.nodes[node].cordoned and not self.nodes[node].lost:
                del self.pods[pod.name]
                return node
        return ""

    def _run_pods(self) -> None:
        for pod in list(self.pods.values()):
            node = self.nodes.get(pod.facts.node)
            if pod.facts.meta.deleting:
                if self.now_ms >= pod.gone_ms and (node is None or not node.lost):
                    del self.pods[pod.name]
                    self.processes.pop(pod.name, None)
            elif node is not None and node.lost:
                pod.set(ready=False)
                pod.gone_ms = pod.gone_ms or self.now_ms + round(DEFAULTS.lost_after_s * 1_000)
                if self.now_ms >= pod.gone_ms:
                    self._delete(pod)
            elif pod.alive and node is not None:
                pod.gone_ms = 0
                self._start(pod)

    def _start(self, pod: Pod) -> None:
        facts, age_ms = pod.facts, self.now_ms - pod.facts.scheduled_ms
        if pod.image in self.broken_images:
            pod.set(failing="ErrImagePull: no such image")
            return
        if age_ms >= RUN_MS and not facts.started_ms:
            pod.set(phase="Running", started_ms=self.now_ms, failing="")
        if facts.role is PodRole.WORKER and age_ms >= WARM_MS and not pod.stuck:
            process = self.processes.get(pod.name)
            if process is None:
                process = self.processes[pod.name] = Process(WorkerIdentity(pod.name, facts.meta.uid))
            process.heartbeat_ms = self.now_ms
            pod.set(ready=not process.closed, ready_ms=facts.ready_ms or self.now_ms)

    def _serve(self) -> None:
        """Leases end, and who has no worker takes one."""
        if not self.store_answers:
            return
        for process in self.processes.values():
            if self.now_ms - process.heartbeat_ms > LEASE_MS:
                process.sessions.clear()
        for session in self.waiting():
            self._give(session, excluded="")

    def _give(self, session: str, *, excluded: str) -> bool:
        cost = self.costs[session]
        fit = [
            process
            for name, process in sorted(self.processes.items())
            if name != excluded
            and not process.closed
            and process.free >= cost
            and self.now_ms - process.heartbeat_ms <= 1_000
        ]
        if not fit:
            return False
        min(fit, key=lambda process: process.free).sessions[session] = cost
        return True

    def _view(self, process: Process) -> WorkerView:
        return WorkerView(
            identity=process.identity,
            pool=self.resource.meta.key,
            model="wan2.1-1.3b",
            address="10.0.0.1:7000",
            state=WorkerState.DRAINING if process.closed else WorkerState.READY,
            heartbeat_age_ms=self.now_ms - process.heartbeat_ms,
            progress=0,
            links={},
            capacity=1_000,
            free=process.free,
            sessions=dict.fromkeys(process.sessions, 1),
            formats=FormatRange(1, 1),
        )

    # -- the operator's hands -----------------------------------------------------------------------------------------

    def _operate(self, crash_after: int | None) -> None:
        self.wishes = plan_pool(self.seen(), self.now_ms, DEFAULTS)
        for action in self.wishes[:crash_after]:
            self._act(action)

    def _act(self, action: PoolAction) -> None:
        match action:
            case CreatePod():
                self._create(action.manifest)
            case RetirePod():
                self._retire(action)
            case CloseWorker():
                self.processes[action.worker.name].closed = True
            case MoveSession():
                self._move(action.session)
            case MarkPod():
                self._mark(action)
            case WritePoolStatus():
                if action.meta.resource_version == self.resource.meta.resource_version:
                    self.resource = replace(self.resource, status=action.status)
                    self._touch()
            case SetReserve():
                self.reserve = action.thousandths
            case Tell():
                self.told.append(action.reason)
            case LookAgain():
                assert action.at_ms > self.now_ms

    def _create(self, manifest: Any) -> None:
        meta, spec = manifest["metadata"], self.resource.spec
        if meta["name"] in self.pods:
            return
        if self.quota is not None and len(self.pods) >= self.quota:
            self.create_failure = CreateFailure("QuotaExceeded", f"exceeded quota: pods={self.quota}", self.now_ms)
            return
        self.create_failure = None
        self._uids += 1
        labels = meta["labels"]
        facts = PodFacts(
            meta=Meta(meta["namespace"], meta["name"], f"uid-{self._uids}", 1, "1", self.now_ms, deleting=False),
            pool=labels[POOL_LABEL],
            role=PodRole(labels[ROLE_LABEL]),
            revision=labels[REVISION_LABEL],
            state=labels.get(STATE_LABEL, ""),
            phase="Pending",
            ready=False,
        )
        self.pods[meta["name"]] = Pod(facts, manifest["spec"]["containers"][0]["image"], self.now_ms)
        if facts.role is PodRole.WORKER:
            self.created.append(meta["name"])
            staying = sum(1 for _ in self._staying())
            assert staying <= spec.max + spec.rollout.surge, f"{staying} workers, max {spec.max}"

    def _staying(self) -> Iterator[Pod]:
        for pod in self.workers():
            process = self.processes.get(pod.name)
            if pod.alive and not pod.facts.draining_since_ms and not (process is not None and process.closed):
                yield pod

    def _retire(self, action: RetirePod) -> None:
        pod, process = self.pods.get(action.meta.name), self.processes.get(action.meta.name)
        if pod is None or pod.facts.meta.uid != action.meta.uid or pod.facts.meta.deleting:
            return
        if process is not None and action.worker is not None:
            process.closed = True
            if process.sessions:
                return
        assert process is None or not process.sessions, f"{pod.name} is deleted with {sorted(process.sessions)}"
        assert self.store_answers or not pod.facts.started_ms or pod.facts.role is PodRole.PLACEHOLDER
        self._delete(pod)

    def _delete(self, pod: Pod) -> None:
        pod.set(meta=replace(pod.facts.meta, deleting=True), ready=False)
        pod.gone_ms = self.now_ms + GRACE_MS
        self.processes.pop(pod.name, None)

    def _move(self, session: str) -> None:
        owner = next((name for name, process in self.processes.items() if session in process.sessions), None)
        if owner is not None and self._give(session, excluded=owner):
            del self.processes[owner].sessions[session]

    def _mark(self, action: MarkPod) -> None:
        pod = self.pods.get(action.meta.name)
        if pod is None:
            return
        changes: dict[str, Any] = {}
        if STATE_LABEL in action.labels:
            changes["state"] = action.labels[STATE_LABEL]
        if DRAINING_SINCE_ANNOTATION in action.annotations:
            changes["draining_since_ms"] = milliseconds(action.annotations[DRAINING_SINCE_ANNOTATION] or "")
        for key in KEEP_ANNOTATIONS:
            if key in action.annotations:
                changes["protected"] = action.annotations[key] is not None
        pod.set(**changes)

    def _touch(self) -> None:
        meta = self.resource.meta
        version = str(int(meta.resource_version) + 1)
        self.resource = replace(self.resource, meta=replace(meta, resource_version=version))
