"""A pool's world: a small cluster with one pool in it, and an operator that plans and acts on it.

It refuses to go on when an action breaks a promise: a pod with sessions is deleted, or any while Redis is away, or more
workers are created than max and surge allowed when it was planned.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from genlock_core.claims.counters import PoolCounters
from genlock_core.spec.pool import WorkerPoolSpec, WorkerPoolStatus
from genlock_operator.actions import (
    CloseWorker,
    CreatePod,
    ExpectWorker,
    LookAgain,
    MarkPod,
    MoveSession,
    PoolAction,
    RetirePod,
    SetReserve,
    ShowScaling,
    Tell,
    WritePoolStatus,
)
from genlock_operator.autoscale.arrivals import FlowMeter
from genlock_operator.autoscale.recommend import Recommendation
from genlock_operator.autoscale.stabilise import WantedLately
from genlock_operator.observed import (
    CreateFailure,
    Demand,
    Meta,
    NodeFacts,
    PodFacts,
    PodRole,
    PoolResource,
    PoolSeen,
    PoolTraffic,
    SessionCost,
    StartUpTimes,
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
from genlock_operator.plan.pool.plan import plan_pool
from tests.operator.plan.pool_cluster import BIND_MS, START_MS, Cluster, Pod

DEFAULTS = WorkerDefaults(image="worker:1", redis_url="redis://redis:6379")
TICK_MS = 500
NODES = {"a": 8, "b": 8, "c": 8}


def pool_spec(**fields: Any) -> WorkerPoolSpec:
    """A spec of four-GPU workers; `fields` as in YAML."""
    gpu = {"product": "NVIDIA-H100", "count": 4}
    return WorkerPoolSpec.model_validate({"model": "wan2.1-1.3b", "engine": "mock", "gpu": gpu, **fields})


def resource_of(spec: WorkerPoolSpec, **meta: Any) -> PoolResource:
    return PoolResource(
        Meta("studio", "h100", "uid-pool", 1, "1", START_MS, deleting=False), spec, WorkerPoolStatus(), **meta
    )


@dataclass
class Traffic:
    """The counters of a pool, and who reads them."""

    session_cost: int = 250
    came: int = 0
    went: int = 0
    silent_since_ms: int | None = None
    """Since when the counters have not been written."""
    budget: int | None = None
    wanted: WantedLately = field(default_factory=WantedLately)
    _meter: FlowMeter = field(default_factory=FlowMeter)

    def count(self, now_ms: int) -> None:
        if self.silent_since_ms is None:
            self._meter.note(PoolCounters(arrivals=self.came, departures=self.went), now_ms / 1_000)

    def seen(self, now_ms: int) -> PoolTraffic:
        age_ms = 0 if self.silent_since_ms is None else now_ms - self.silent_since_ms
        return PoolTraffic(
            flow=self._meter.flow(now_ms / 1_000),
            age_s=age_ms / 1_000,
            session_cost=self.session_cost,
            budget=self.budget,
            wanted=self.wanted.all,
        )


class World(Cluster):
    def __init__(self, spec: WorkerPoolSpec, nodes: dict[str, int], *, quota: int | None = None) -> None:
        super().__init__(nodes)
        self.resource = resource_of(spec)
        self.quota = quota
        self.store_since_ms = 0
        self.lag = False
        """The operator's caches are one tick behind, but for pods that it wrote: answers go in at once."""
        self.create_failure: CreateFailure | None = None
        self.created: list[str] = []
        self.told: list[str] = []
        self.reserve = 0
        self.shown: Recommendation | None = None
        self.expected: list[int] = []
        """What was said of the next worker, in ms from then."""
        self.traffic: Traffic | None = None
        """None: nobody counts."""
        self.lowered: dict[str, SessionCost] = {}
        """Sessions that pay less than they ask for."""
        self.wishes: list[PoolAction] = []
        """The last plan."""
        self._planned_by = spec
        """The spec that the last plan went by, which may be an old one."""
        self._written: set[str] = set()
        """The pods that the operator wrote in this tick."""
        self._uids = 0
        self._old: tuple[PoolResource, tuple[PodFacts, ...]] | None = None

    # -- what happens to it -------------------------------------------------------------------------------------------

    def arrive(self, session: str, cost: int = 250) -> None:
        self.costs[session] = cost
        if self.traffic is not None:
            self.traffic.came += 1

    def leave(self, session: str) -> None:
        self.costs.pop(session, None)
        if self.traffic is not None:
            self.traffic.went += 1
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
        self.delete(self.pods[name])

    def fail_pod(self, name: str) -> None:
        self.pods[name].set(phase="Failed", ready=False)
        self.processes.pop(name, None)

    def run(self, seconds: float, *, tick_ms: int = TICK_MS) -> None:
        for _ in range(int(seconds * 1_000 / tick_ms)):
            self.tick(tick_ms=tick_ms)

    def tick(self, *, crash_after: int | None = None, tick_ms: int = TICK_MS) -> None:
        """A moment of everything; the operator dies after that many actions and is back at the next tick."""
        resource, facts = self.resource, {name: pod.facts for name, pod in self.pods.items()}
        self.go_on(tick_ms)
        self._written.clear()
        if self.traffic is not None:
            self.traffic.count(self.now_ms)
        self._operate(crash_after)
        answers = {name: self.pods[name].facts for name in self._written}
        self._old = (resource, tuple((facts | answers).values())) if self.lag else None

    # -- what is asked of it ----------------------------------------------------------------------------------------

    @property
    def status(self) -> WorkerPoolStatus:
        return self.resource.status

    def condition(self, type_: str) -> str:
        return next(one.reason for one in self.status.conditions if one.type == type_)

    def seen(self) -> PoolSeen:
        resource, facts = self._old or (self.resource, tuple(pod.facts for pod in self.pods.values()))
        views = {name: self.view(process) for name, process in self.processes.items()}
        return PoolSeen(
            resource=resource,
            pods=facts,
            workers=views if self.store_answers else {},
            store_answers=self.store_answers,
            store_since_ms=self.store_since_ms,
            nodes={
                name: NodeFacts(name, leaving="cordoned" if node.cordoned else "") for name, node in self.nodes.items()
            },
            demand=tuple(
                Demand(session, resource.meta.key, self.costs[session], self.now_ms)
                for session in (self.waiting() if self.store_answers else [])
            ),
            create_failure=self.create_failure,
            start_ups=(StartUpTimes({"ready": (BIND_MS + self.warm_ms) / 1_000}),),
            costs=self.lowered,
            traffic=self.traffic.seen(self.now_ms) if self.traffic is not None else None,
        )

    # -- the operator acts --------------------------------------------------------------------------------------------

    def _operate(self, crash_after: int | None) -> None:
        seen = self.seen()
        self._planned_by = seen.resource.spec
        self.wishes = plan_pool(seen, self.now_ms, DEFAULTS)
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
            case ShowScaling():
                self.shown = action.shown
                if self.traffic is not None:
                    self.traffic.wanted.note(self.now_ms / 1_000, action.asked)
            case SetReserve():
                self.reserve = action.thousandths
            case ExpectWorker():
                self.expected.append(action.in_ms)
            case Tell():
                assert (action.kind, action.meta.uid) == ("WorkerPool", self.resource.meta.uid), "it is about the pool"
                assert action.type in {"Normal", "Warning"}, "the API server takes no other"
                self.told.append(action.reason)
            case LookAgain():
                assert action.at_ms > self.now_ms

    def _create(self, manifest: Any) -> None:
        meta, spec = manifest["metadata"], self._planned_by
        if meta["name"] in self.pods:
            self._written.add(meta["name"])
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
        self._written.add(meta["name"])
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
        assert self.store_answers, f"{pod.name} is deleted though Redis is away"
        self.delete(pod)

    def _move(self, session: str) -> None:
        owner = next((name for name, process in self.processes.items() if session in process.sessions), None)
        if owner is not None and self.give(session, excluded=owner):
            del self.processes[owner].sessions[session]

    def _mark(self, action: MarkPod) -> None:
        pod = self.pods.get(action.meta.name)
        if pod is None:
            return
        self._written.add(pod.name)
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


def world(*, nodes: dict[str, int] | None = None, quota: int | None = None, **spec: Any) -> World:
    """A pool after its first quarter of a minute."""
    made = World(pool_spec(**spec), nodes or NODES, quota=quota)
    made.run(15)
    return made


def fill(made: World, count: int, cost: int = 500) -> None:
    """So many sessions of that cost arrive."""
    for number in range(count):
        made.arrive(f"studio/s{number}", cost)
