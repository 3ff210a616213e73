"""A worker in simulated time: a fake engine inside the real decisions.

Chunk former, lanes, scheduler, cost model, step policy and pacer are the real ones. No threads and no sleeping:
`Simulation.run` moves from event to event.
"""

import heapq
import random
from dataclasses import dataclass, field

from genlock_core.media import SourcePosition
from genlock_core.slo.deadlines import is_miss
from genlock_worker.engines.contract import BatchShape, Row, chunk_frames
from genlock_worker.intake.chunks import ChunkFormer, SourceFrame
from genlock_worker.output.pacing import PacedFrame, Pacer
from genlock_worker.rows.approximation import StepPolicy
from genlock_worker.rows.cost_model import CostModel, LinearCost
from genlock_worker.rows.lanes import Lane
from genlock_worker.rows.scheduler import Batch, next_batch


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
    shape: tuple[int, int] = (832, 480)
    offered: int = 0
    dropped: int = 0
    chunks: list[int] = field(default_factory=list)
    steps_run: list[tuple[float, int]] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    frames: list[PacedFrame] = field(default_factory=list)

    @property
    def late_share(self) -> float:
        return sum(is_miss(f.send_s, f.due_s) for f in self.frames) / max(1, len(self.frames))

    @property
    def served_share(self) -> float:
        return 1 - self.dropped / max(1, self.offered)


class Simulation:
    """Runs sessions over an engine whose micro-steps truly take `truth.seconds(rows)`, times noise."""

    def __init__(
        self,
        sessions: list[SimSession],
        *,
        truth: LinearCost,
        prior: LinearCost | None = None,
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.sessions = {session.name: session for session in sessions}
        self.truth = truth
        self.noise = noise
        self.random = random.Random(seed)
        self.cost = CostModel(prior or truth)
        self.now = 0.0
        self.batches: list[tuple[float, tuple[Row, ...]]] = []
        self.lanes = {s.name: self._lane(s) for s in sessions}
        self.formers = {s.name: ChunkFormer(frame_rate=s.frame_rate) for s in sessions}
        self.pacers = {s.name: Pacer(frame_rate=s.frame_rate, deadline_s=s.deadline_s) for s in sessions}
        self.policies = {
            s.name: StepPolicy(requested=s.steps, minimum=s.minimum, now_s=0.0) for s in sessions if s.adaptive
        }
        self._busy_s = 0.0

    @staticmethod
    def _lane(session: SimSession) -> Lane:
        shape = BatchShape("tiny", *session.shape, frames=4)
        return Lane(
            session.name,
            shape=shape,
            deadline_s=session.deadline_s,
            steps=session.steps,
            period_s=1 / session.frame_rate,
        )

    def run(self, seconds: float) -> None:
        """Simulate `seconds` more of source time, then let the engine finish what it has."""
        arrivals = self._arrivals(self.now, self.now + seconds)
        while arrivals or any(lane.candidates() for lane in self.lanes.values()):
            while arrivals and arrivals[0][0] <= self.now:
                self._frame(*heapq.heappop(arrivals))
            self._decide_steps()
            candidates = [c for lane in self.lanes.values() for c in lane.candidates()]
            expected = [a for lane in self.lanes.values() if (a := lane.expected()) is not None]
            decision = next_batch(
                candidates, self.cost, self.now, expected=expected if arrivals else [], load=self._load()
            )
            if isinstance(decision, Batch):
                self._run_batch(decision)
            else:
                times = [t for t in (decision.until_s, arrivals[0][0] if arrivals else None) if t is not None]
                self.now = max(self.now, min(times, default=self.now))

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
            loss = self.lanes[name].loss
            session.dropped += self.lanes[name].offer(chunk)
            if self.lanes[name].loss > loss and name in self.policies:
                self.policies[name].trouble(self.now)

    def stream_load(self, extra_rows: int = 0) -> float:
        """The load if every session's steps shared one forward per chunk."""
        rows = sum(lane.steps for lane in self.lanes.values()) + extra_rows
        shape = BatchShape("tiny", 832, 480, 4)
        period = min(chunk_frames(1) / s.frame_rate for s in self.sessions.values())
        return self.cost.seconds(shape, rows) / period

    def _decide_steps(self) -> None:
        for name, policy in self.policies.items():
            if self.lanes[name].waiting is not None:
                self.lanes[name].steps = policy.decide(self.now, load_with_one_more=self.stream_load(1))

    def _load(self) -> float:
        return min(1.0, self._busy_s / self.now) if self.now > 0 else 0.0

    def _run_batch(self, batch: Batch) -> None:
        for row in batch.rows:
            lane = self.lanes[row.session]
            if row.chunk == lane.next_chunk:
                lane.begin(lane.steps)
                self.sessions[row.session].steps_run.append((self.now, lane.steps))
        seconds = self.truth.seconds(len(batch.rows)) * max(0.1, 1 + self.random.gauss(0, self.noise))
        self.now += seconds
        self._busy_s += seconds
        self.cost.observe(batch.shape, len(batch.rows), seconds)
        self.batches.append((self.now, batch.rows))
        for row in batch.rows:
            if (in_flight := self.lanes[row.session].done(row)) is not None:
                self._finished(row.session, in_flight.index, in_flight.complete_s)

    def _finished(self, name: str, chunk: int, complete_s: float) -> None:
        session = self.sessions[name]
        session.chunks.append(chunk)
        session.latencies.append(self.now - complete_s)
        if self.now > complete_s + session.deadline_s and name in self.policies:
            self.policies[name].trouble(self.now)
        session.frames += self.pacers[name].schedule(
            complete_s=complete_s, ready_s=self.now, frames=chunk_frames(chunk)
        )


def jain(shares: list[float]) -> float:
    """Jain's fairness index: 1 if all are equal, 1/n if one has it all."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares)) if any(shares) else 0.0
