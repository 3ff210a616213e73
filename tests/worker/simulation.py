"""A worker in simulated time: a fake device inside the real decisions.

Chunk former, the sessions' rows, the readiness rule, scheduler, cost model, level policy and pacer are the real ones.
No threads and no sleeping: `Simulation.run` moves from event to event.
"""

import heapq
import random
from collections import deque
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from genlock_core.approximation.levels import Level
from genlock_core.media import SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.sizing.step_time import StepTime
from genlock_core.slo.deadlines import is_miss
from genlock_worker.engines.contract import DeviceSeconds, Row, StreamSettings, chunk_frames
from genlock_worker.intake.chunks import ChunkFormer, SourceFrame
from genlock_worker.output.pacing import PacedFrame, Pacer, spans_of
from genlock_worker.ownership.overload import Overload
from genlock_worker.rows.cost_model import CostModel
from genlock_worker.rows.load import EngineLoad
from genlock_worker.rows.scheduler import Batch, Wait, next_batch
from genlock_worker.rows.session_rows import SessionChunk, SessionPlan, SessionRows
from genlock_worker.rows.under_way import BatchUnderWay, UnderWay


@dataclass(slots=True)
class SimSession:
    """One publisher: its rate, its jitter (standard deviation in seconds), and what became of its frames."""

    name: str
    steps: int = 2
    frame_rate: int = 16
    source_rate: float = 16.0
    jitter_s: float = 0.0
    deadline_s: float = 0.5
    phase_s: float = 0.0
    adaptive: bool = False
    minimum: int = 1
    may_halve: bool = False
    shape: tuple[int, int] = (832, 480)
    offered: int = 0
    dropped: int = 0
    chunks: list[int] = field(default_factory=list)
    steps_run: list[tuple[float, int]] = field(default_factory=list)
    ran_with: list[tuple[float, Level]] = field(default_factory=list)
    """What it ran with from when on."""
    latencies: list[float] = field(default_factory=list)
    frames: list[PacedFrame] = field(default_factory=list)

    @property
    def late_share(self) -> float:
        return sum(is_miss(f.send_s, f.due_s) for f in self.frames) / max(1, len(self.frames))

    @property
    def served_share(self) -> float:
        return 1 - self.dropped / max(1, self.offered)


class Simulation:
    """Runs sessions over a device whose batches truly take `truth.seconds(rows)`, times noise.

    `depth` batches may be under way. `eager`: the next batch is submitted as soon as it may be, instead of as late as
    the device needs it.
    """

    def __init__(
        self,
        sessions: list[SimSession],
        *,
        truth: StepTime,
        prior: StepTime | None = None,
        noise: float = 0.0,
        seed: int = 0,
        depth: int = 1,
        eager: bool = False,
    ) -> None:
        self.sessions = {session.name: session for session in sessions}
        self.truth = truth
        self.noise = noise
        self.random = random.Random(seed)
        self.cost = CostModel(prior or truth)
        self.now = 0.0
        self.batches: list[tuple[float, tuple[Row, ...]]] = []
        self.rows = {s.name: SessionRows(self._plan(s)) for s in sessions}
        self.formers = {s.name: ChunkFormer(frame_rate=s.frame_rate) for s in sessions}
        self.pacers = {s.name: Pacer(frame_rate=s.frame_rate, deadline_s=s.deadline_s) for s in sessions}
        self.under_way = UnderWay(self.cost)
        self.overload = Overload()
        self.overloaded_from_s: float | None = None
        """When the worker said for the first time that it takes no new session."""
        self.load = EngineLoad(cost=self.cost, metrics=WorkerMetrics(CollectorRegistry()), now_s=0.0)
        self._depth = depth
        self._eager = eager
        self._device_free_s = 0.0
        self._running: deque[tuple[float, float, int]] = deque()
        """(when it ends, how long it takes, number) of each batch under way, the oldest first."""

    @staticmethod
    def _plan(session: SimSession) -> SessionPlan:
        width, height = session.shape
        settings = StreamSettings("", session.steps, width, height, session.frame_rate, seed=0, noise_scale=0.7)
        minimum = session.minimum if session.adaptive else None
        return SessionPlan(session.name, "tiny", settings, session.deadline_s, minimum, may_halve=session.may_halve)

    def run(self, seconds: float) -> None:
        """Simulate `seconds` more of source time, then let the engine finish what it has."""
        arrivals = self._arrivals(self.now, self.now + seconds)
        while arrivals or self._running or any(rows.candidates() for rows in self.rows.values()):
            while arrivals and arrivals[0][0] <= self.now:
                self._frame(*heapq.heappop(arrivals))
            while self._running and self._running[0][0] <= self.now:
                self._collect(*self._running.popleft())
            self._decide_levels()
            decision = self._choose(may_hold=bool(arrivals))
            if isinstance(decision, Batch):
                self._submit(decision)
                continue
            times = [decision.until_s, arrivals[0][0] if arrivals else None, *(end for end, _, _ in self._running)]
            self.now = max(self.now, min((at for at in times if at is not None), default=self.now))

    def _choose(self, *, may_hold: bool) -> Batch | Wait:
        if len(self.under_way) >= self._depth:
            return Wait(None)
        candidates = [candidate for rows in self.rows.values() for candidate in rows.candidates()]
        expected = [arrival for rows in self.rows.values() if (arrival := rows.expected()) is not None]
        return next_batch(
            candidates,
            self.cost,
            self.now,
            expected=expected if may_hold else [],
            load=self._load(),
            free_s=0.0 if self._eager else self.under_way.free_s,
        )

    def _arrivals(self, start: float, end: float) -> list[tuple[float, int, str, int]]:
        events = []
        for session in self.sessions.values():
            count = int((end - start) * session.source_rate)
            for index in range(count):
                capture = start + session.phase_s + index / session.source_rate
                arrival = capture + abs(self.random.gauss(0, session.jitter_s))
                events.append((arrival, index, session.name, round(capture * 1e6)))
        heapq.heapify(events)
        return events

    def _frame(self, now: float, index: int, name: str, capture_us: int) -> None:
        session = self.sessions[name]
        frame = SourceFrame(SourcePosition(1, capture_us), None, now)
        for chunk in self.formers[name].add(frame):
            session.offered += len(chunk.frames)
            session.dropped += self.rows[name].offer(chunk)

    def _decide_levels(self) -> None:
        self.load.decide_levels(list(self.rows.values()), self.now)
        self.overload.look(self.now, exhausted=self.load.exhausted)
        if self.overload.is_overloaded and self.overloaded_from_s is None:
            self.overloaded_from_s = self.now
        for name, rows in self.rows.items():
            self.formers[name].every = rows.next_running.every
            ran_with = self.sessions[name].ran_with
            if not ran_with or ran_with[-1][1] != rows.next_running:
                ran_with.append((self.now, rows.next_running))

    def _load(self) -> float:
        return min(1.0, self.under_way.busy_s / self.now) if self.now > 0 else 0.0

    def _submit(self, batch: Batch) -> None:
        for row in batch.rows:
            rows = self.rows[row.session]
            if row.chunk == rows.next_chunk:
                self.sessions[row.session].steps_run.append((self.now, rows.begin().steps))
            rows.submitted(row, self.now)
        seconds = self.truth.seconds(len(batch.rows)) * max(0.1, 1 + self.random.gauss(0, self.noise))
        self._device_free_s = max(self.now, self._device_free_s) + seconds
        number = self.under_way.next_number()
        self.under_way.add(BatchUnderWay(number, batch.rows, {}, batch.shape, 0), self.now)
        self._running.append((self._device_free_s, seconds, number))

    def _collect(self, _: float, seconds: float, number: int) -> None:
        batch = self.under_way.take(number, self.now)
        assert batch is not None
        self.under_way.learn(batch, DeviceSeconds(rows=seconds), encoded=0, decoded=0)
        self.batches.append((self.now, batch.rows))
        for row in batch.rows:
            rows = self.rows[row.session]
            chunk = rows.collected(row)
            if chunk.is_complete:
                rows.shown(chunk, self.now, since_s=self.now)
                self._finished(row.session, chunk)

    def _finished(self, name: str, chunk: SessionChunk) -> None:
        session = self.sessions[name]
        session.chunks.append(chunk.index)
        session.latencies.append(self.now - chunk.complete_s)
        session.frames += self.pacers[name].schedule(
            complete_s=chunk.complete_s, ready_s=self.now, spans=spans_of(chunk, frames=chunk_frames(chunk.index))
        )


def jain(shares: list[float]) -> float:
    """Jain's fairness index: 1 if all are equal, 1/n if one has it all."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares)) if any(shares) else 0.0
