"""One run: the production's decisions over a card of simulated time, from event to event.

Chunk former, the sessions' rows, readiness, scheduler, cost model, pacer and meters are the real ones. Nothing sleeps.
"""

import heapq
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from prometheus_client import CollectorRegistry

from bench.slo.card import SimulatedCard
from bench.slo.policies import Policy
from bench.slo.workload import Coming
from genlock_core.media import SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.slo.continuity import PictureAge, PlayMeter
from genlock_core.slo.deadlines import is_miss
from genlock_worker.engines.contract import CHUNK_FRAMES, DeviceSeconds, StreamSettings, chunk_frames
from genlock_worker.intake.chunks import ChunkFormer, SourceFrame
from genlock_worker.output.pacing import Pacer, spans_of
from genlock_worker.rows.load import EngineLoad
from genlock_worker.rows.scheduler import Batch, Wait, next_batch
from genlock_worker.rows.session_rows import SessionChunk, SessionPlan, SessionRows
from genlock_worker.rows.under_way import BatchUnderWay, UnderWay

DEADLINE_S = 0.5
"""Of a session like most: `frameDeadline` of the balanced mode."""
JITTER_S = 0.005
"""Standard deviation of what a camera's frames are late."""
NOISE = 0.05
"""Standard deviation of what a forward takes, as a share of it."""
HOST_S = 0.002
"""From choosing rows to the card's first kernel."""


@dataclass(slots=True)
class SimulatedSession:
    """A session of the run, and what its viewers had of it."""

    name: str
    coming: Coming
    rows: SessionRows
    former: ChunkFormer
    pacer: Pacer
    play: PlayMeter
    age: PictureAge
    first_frame_s: float
    ages_s: list[float] = field(default_factory=list)
    frames: int = 0
    sent: int = 0
    late: int = 0
    offered: int = 0
    dropped: int = 0
    engine_s: float = 0.0
    """The whole of each forward in which it had rows, as `slo.continuity` counts it."""


@dataclass(slots=True)
class _Event:
    """Something that happens to a session: a frame of its camera, or its pictures."""

    session: str
    shown: tuple[SessionChunk, float] | None = None
    """A chunk whose pictures are there, and since when they were decoded."""


class SloSimulation:
    """Sessions that come to one card, which takes them while they are `load` of it at most."""

    def __init__(
        self,
        card: SimulatedCard,
        policy: Policy,
        comings: Iterable[Coming],
        *,
        load: float,
        depth: int,
        seed: int,
    ) -> None:
        self.ended: list[SimulatedSession] = []
        """Sessions that were served, once they left or the run was over."""
        self.turned_away = 0
        self.busy_s = 0.0
        self.batches = 0
        self.batch_rows = 0
        self._card = card
        self._order = policy.order()
        self._cost = policy.cost(card.step_time)
        self._most_load = load
        self._depth = depth
        self._chance = random.Random(f"camera {seed}")
        self._comings = list(comings)[::-1]
        self._sessions: dict[str, SimulatedSession] = {}
        self._events: list[tuple[float, int, _Event]] = []
        self._sequence = count()
        self._under_way = UnderWay(self._cost)
        self._running: list[tuple[float, float, int, int]] = []
        """(when its rows are done, their seconds, what was encoded first, number) of each batch under way."""
        self._device_free_s = 0.0
        self._load = EngineLoad(cost=self._cost, metrics=WorkerMetrics(CollectorRegistry()), now_s=0.0)
        self._now_s = 0.0

    def run(self, seconds: float) -> None:
        while self._now_s < seconds:
            self._happen()
            decision = self._choose()
            if isinstance(decision, Batch):
                self._submit(decision)
                continue
            self._now_s = min(seconds, self._next_s(decision.until_s))
        for name in list(self._sessions):
            self._leave(name)

    def _next_s(self, until_s: float | None) -> float:
        """When the next thing happens."""
        times = [one[0] for one in self._running[:1]]
        times += [self._comings[-1].at_s] if self._comings else []
        times += [self._events[0][0]] if self._events else []
        times += [session.coming.at_s + session.coming.stays_s for session in self._sessions.values()]
        times += [] if until_s is None else [until_s]
        return max(self._now_s, min(times, default=float("inf")))

    def _happen(self) -> None:
        """All that has happened by now."""
        for name, session in list(self._sessions.items()):
            if session.coming.at_s + session.coming.stays_s <= self._now_s:
                self._leave(name)
        while self._comings and self._comings[-1].at_s <= self._now_s:
            self._come(self._comings.pop())
        while self._events and self._events[0][0] <= self._now_s:
            _, _, event = heapq.heappop(self._events)
            if (found := self._sessions.get(event.session)) is not None:
                self._frame(found) if event.shown is None else self._shown(found, *event.shown)
        while self._running and self._running[0][0] <= self._now_s:
            self._collect(*self._running.pop(0))

    # -- sessions -----------------------------------------------------------------------------------------------------

    def _come(self, coming: Coming) -> None:
        taken = sum(self._share(session.coming) for session in self._sessions.values())
        if taken + self._share(coming) > self._most_load + 1e-9:
            self.turned_away += 1
            return

        name = f"s{next(self._sequence)}"
        settings = StreamSettings("", coming.steps, 512, 512, coming.frame_rate, seed=0, noise_scale=0.7)
        plan = SessionPlan(name, "wan2.1-1.3b", settings, DEADLINE_S, min_steps=None)
        session = SimulatedSession(
            name,
            coming,
            SessionRows(plan, now_s=self._now_s),
            ChunkFormer(frame_rate=coming.frame_rate),
            Pacer(frame_rate=coming.frame_rate, deadline_s=DEADLINE_S),
            PlayMeter(coming.frame_rate),
            PictureAge(coming.frame_rate),
            first_frame_s=self._now_s + self._chance.random() / coming.frame_rate,
        )
        self._sessions[name] = session
        self._await_frame(session)

    def _share(self, coming: Coming) -> float:
        return self._card.load(steps=coming.steps, frame_rate=coming.frame_rate)

    def _leave(self, name: str) -> None:
        session = self._sessions.pop(name)
        session.play.look(self._now_s)
        session.ages_s += session.age.look(self._now_s)
        self.ended.append(session)

    def _await_frame(self, session: SimulatedSession) -> None:
        captured_s = session.first_frame_s + session.frames / session.coming.frame_rate
        arrives_s = captured_s + abs(self._chance.gauss(0, JITTER_S))
        heapq.heappush(self._events, (arrives_s, next(self._sequence), _Event(session.name)))

    def _frame(self, session: SimulatedSession) -> None:
        captured_s = session.first_frame_s + session.frames / session.coming.frame_rate
        session.frames += 1
        frame = SourceFrame(SourcePosition(1, round(captured_s * 1e6)), None, self._now_s)
        for chunk in session.former.add(frame):
            session.offered += len(chunk.frames)
            session.dropped += session.rows.offer(chunk)
        self._await_frame(session)

    def _shown(self, session: SimulatedSession, chunk: SessionChunk, since_s: float) -> None:
        session.rows.shown(chunk, self._now_s, since_s=since_s)
        spans = spans_of(chunk, frames=chunk_frames(chunk.index))
        paced = session.pacer.schedule(complete_s=chunk.complete_s, ready_s=self._now_s, spans=spans)
        for frame, position in zip(paced, chunk.positions, strict=True):
            session.sent += 1
            session.late += is_miss(frame.send_s, frame.due_s)
            session.play.frame(frame.send_s)
            session.ages_s += session.age.shown(frame.send_s, age_s=frame.send_s - position.capture_us / 1e6)

    # -- the card -----------------------------------------------------------------------------------------------------

    def _choose(self) -> Batch | Wait:
        if len(self._under_way) >= self._depth:
            return Wait(None)
        self._load.measure(self._under_way.busy_s, self._now_s)
        rows = [session.rows for session in self._sessions.values()]
        return next_batch(
            [candidate for one in rows for candidate in one.candidates()],
            self._cost,
            self._now_s,
            expected=[arrival for one in rows if (arrival := one.expected()) is not None],
            load=self._load.share,
            free_s=self._under_way.free_s,
            order=self._order.key,
        )

    def _submit(self, batch: Batch) -> None:
        begun = 0
        ended: list[tuple[str, SessionChunk]] = []
        for row in batch.rows:
            rows = self._sessions[row.session].rows
            if row.chunk == rows.next_chunk:
                rows.begin()
                begun += 1
            if (chunk := rows.submitted(row, self._now_s)) is not None:
                ended.append((row.session, chunk))

        frames = batch.shape.frames / CHUNK_FRAMES
        noise = max(0.5, 1 + self._chance.gauss(0, NOISE))
        rows_s = self._card.forward_s(len(batch.rows)) * frames * noise
        encode_s = begun * self._card.encode_s * frames
        starts_s = max(self._now_s + HOST_S, self._device_free_s)
        done_s = starts_s + encode_s + rows_s
        self._device_free_s = done_s
        for name, chunk in ended:
            since_s = self._device_free_s
            self._device_free_s += self._card.decode_s * frames
            event = _Event(name, shown=(chunk, since_s))
            heapq.heappush(self._events, (self._device_free_s, next(self._sequence), event))

        number = self._under_way.next_number()
        self._under_way.add(BatchUnderWay(number, batch.rows, {}, batch.shape, begun), self._now_s)
        self._running.append((done_s, rows_s, begun, number))
        self.busy_s += self._device_free_s - starts_s
        self.batches += 1
        self.batch_rows += len(batch.rows)

    def _collect(self, _: float, rows_s: float, begun: int, number: int) -> None:
        batch = self._under_way.take(number, self._now_s)
        assert batch is not None
        frames = batch.shape.frames / CHUNK_FRAMES
        seconds = DeviceSeconds(rows=rows_s, encode=begun * self._card.encode_s * frames)
        self._under_way.learn(batch, seconds, encoded=begun, decoded=0)
        self._order.ran(batch.rows, seconds.total)
        for name in batch.sessions & self._sessions.keys():
            self._sessions[name].engine_s += seconds.total
        for row in batch.rows:
            if (session := self._sessions.get(row.session)) is not None:
                session.rows.collected(row)
