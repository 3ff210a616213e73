"""A small cluster: nodes with GPUs, pods that take time to start, workers in Redis with sessions on them.

Scheduler, kubelets, node lifecycle, workers and gateways, as simply as the plan of a pool can tell.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from genlock_core.claims.facts import WorkerState, WorkerView
from genlock_core.claims.identity import FormatRange, WorkerIdentity
from genlock_operator.observed import PodFacts, PodRole

POOL = "studio/h100"
START_MS = 1_800_000_000_000
GPUS = 4
"""Of one pod."""
BIND_MS, RUN_MS, WARM_MS = 500, 2_000, 5_000
"""Until a pod is bound, until its container runs, until its worker is ready."""
LOST_AFTER_MS = 30_000
"""Until the pods of a node that is gone are given up."""
GRACE_MS = 1_000
LEASE_MS = 2_000


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


class Cluster:
    def __init__(self, nodes: dict[str, int]) -> None:
        self.now_ms = START_MS
        self.nodes = {name: Node(gpus) for name, gpus in nodes.items()}
        self.pods: dict[str, Pod] = {}
        self.processes: dict[str, Process] = {}
        self.costs: dict[str, int] = {}
        """Every session that lives."""
        self.broken_images: set[str] = set()
        self.store_answers = True
        self.warm_ms = WARM_MS
        """As of the constant; a larger model takes longer."""

    def go_on(self, by_ms: int) -> None:
        """Time passes, and everybody does what is due."""
        self.now_ms += by_ms
        self._bind()
        self._run_pods()
        self._serve()

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

    def _bind(self) -> None:
        """Workers before placeholders; a worker takes a placeholder's room."""
        pending = [pod for pod in self.pods.values() if pod.alive and not pod.facts.node]
        for pod in sorted(pending, key=lambda pod: (pod.facts.role is PodRole.PLACEHOLDER, pod.name)):
            if self.now_ms - pod.created_ms < BIND_MS:
                continue
            node = next((name for name in sorted(self.nodes) if self._room(name) >= GPUS), "")
            if not node and pod.facts.role is PodRole.WORKER:
                node = self._preempt()
            unschedulable = "" if node else "0/3 nodes are available: Insufficient nvidia.com/gpu"
            pod.set(node=node, unschedulable=unschedulable, scheduled_ms=self.now_ms if node else 0)

    def _room(self, name: str) -> int:
        node = self.nodes[name]
        held = sum(GPUS for pod in self.pods.values() if pod.facts.node == name and pod.facts.phase != "Failed")
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
                pod.gone_ms = pod.gone_ms or self.now_ms + LOST_AFTER_MS
                if self.now_ms >= pod.gone_ms:
                    self.delete(pod)
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
        if facts.role is PodRole.WORKER and age_ms >= self.warm_ms and not pod.stuck:
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
            self.give(session, excluded="")

    def give(self, session: str, *, excluded: str) -> bool:
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

    def view(self, process: Process) -> WorkerView:
        return WorkerView(
            identity=process.identity,
            pool=POOL,
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

    def delete(self, pod: Pod) -> None:
        pod.set(meta=replace(pod.facts.meta, deleting=True), ready=False)
        pod.gone_ms = self.now_ms + GRACE_MS
        self.processes.pop(pod.name, None)
