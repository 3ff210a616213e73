"""One open session's rows: what waits, what is in flight, its step counts, and what it goes on from after a fault.

The one owner of these facts, and pure bookkeeping: the engine loop moves it, and so does the simulation. It is bounded:
one chunk waits at most, and a newer one takes its place.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from genlock_core.approximation.levels import Level
from genlock_core.media import SourcePosition
from genlock_worker.engines.contract import BatchShape, Row, StreamSettings, chunk_frames
from genlock_worker.engines.readiness import ChunkInFlight, Needs, may_run
from genlock_worker.intake.chunks import InputChunk, join
from genlock_worker.rows.approximation import LevelPolicy
from genlock_worker.rows.playout import Playout
from genlock_worker.rows.scheduler import Arrival, Candidate

MOST_UNDECODED = 2
"""While one chunk of a session is decoded its next one may end; a third one waits."""
DECODE_GAIN = 0.2
"""Weight of the newest chunk in the time that decoding takes."""
LOSS_GAIN = 0.1
"""Weight of the newest input chunk in the share of lost ones: a memory of about ten chunks."""
RECENT_INPUT_S = 2.0
"""A session has recent input for this long after its newest chunk, and ..."""
RECENT_INPUT_CHUNKS = 2
"""... at least for as long as so many chunks take."""


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What the rows must know of a session."""

    session: str
    """Its name here. It has the epoch in it: a session that has come back is another one for the engine."""

    model: str

    settings: StreamSettings

    deadline_s: float
    """How long after its chunk was complete the chunk's first frame is due."""

    min_steps: int | None
    """Overload lowers the denoising steps to no fewer; None: nothing is ever lowered."""

    may_halve: bool = False
    """After them overload may leave out every second frame of the source."""

    granted: Level | None = None
    """The most that its claim pays for as it opens; None: no bound."""

    @property
    def period_s(self) -> float:
        return 1 / self.settings.frame_rate


@dataclass(slots=True, eq=False, kw_only=True)
class SessionChunk(ChunkInFlight):
    """A chunk in flight with its place in the session."""

    steps: int
    """The denoising steps that it was fed with: the session's `running` count."""
    complete_s: float
    """When its last source frame was there (monotonic seconds)."""
    positions: tuple[SourcePosition, ...]
    """Of its source frames; where an older release has stored the chunk, of the last one alone."""
    source: InputChunk | None = None
    """None where the chunk was restored from a snapshot."""
    started_s: float = 0.0
    """When its first row was submitted (monotonic seconds); 0 before."""

    @property
    def last(self) -> SourcePosition:
        return self.positions[-1]


class SessionRows:
    """What waits and what is in flight of one session.

    A chunk waits (`offer`), and a newer one may take its place until it is fed (`begin`): with its first row, or ahead
    of it where the engine encodes beside the rows (`ahead`). Then it is under way row by row (`submitted`,
    `collected`), and waits for its pictures (`shown`). When a row may run is the rule of `engines.readiness`. Here two
    bounds are added to it, so that a decoder that is slower than the network slows it instead of being left behind: a
    last row waits while MOST_UNDECODED chunks wait for their pictures, and no chunk begins while more chunks than one
    for each row have rows left.
    """

    def __init__(self, plan: SessionPlan, *, needs: Needs = Needs(), now_s: float = 0.0) -> None:  # noqa: B008
        settings = plan.settings
        self.plan = plan
        self.requested_steps = settings.steps
        """What the user wants, as the control stream says."""
        self.granted: Level | None = plan.granted
        """The most that the system grants; None: no bound."""
        self.ceiling = self._ceiling_now()
        """The most that the next chunk may have: what was requested, as far as it is granted."""
        self.policy: LevelPolicy | None = None
        """How far overload lowers steps and frame rate; None: never."""
        if plan.min_steps is not None:
            self.policy = LevelPolicy(
                chunk_s=self.chunk_length_s(Level(settings.steps)),
                minimum=plan.min_steps,
                may_halve=plan.may_halve,
                now_s=now_s,
            )

        self.waiting: InputChunk | None = None
        self.in_flight: list[SessionChunk] = []
        """Oldest first."""
        self.next_chunk = 0
        self.last_fed: SourcePosition | None = None
        self.loss = 0.0
        """The share of recent input chunks that were lost to the engine's slowness, 0 to 1."""
        self._needs = needs
        self._newest: SessionChunk | None = None
        """The chunk that was fed last, complete or not."""
        self._undecoded: deque[SessionChunk] = deque()
        """Chunks whose last row was submitted and whose pictures are not there."""
        self._decode_s = 0.0
        """What decoding a chunk usually takes."""
        self._last_complete_s: float | None = None
        self._playout = Playout(deadline_s=plan.deadline_s)

    # -- its level ----------------------------------------------------------------------------------------------------

    @property
    def next_running(self) -> Level:
        """What the next chunk runs with, as far as it depends on the worker's load."""
        return self.ceiling if self.policy is None else self.policy.running(self.ceiling)

    @property
    def next_steps(self) -> int:
        """The steps of the next chunk, as far as it depends on the worker: memory may cut them once more."""
        return self.next_running.steps

    @property
    def chunk_s(self) -> float:
        """How long a chunk is, played, at the frame rate that it runs at now."""
        return self.chunk_length_s(self.next_running)

    def chunk_length_s(self, running: Level) -> float:
        """How long a chunk is, played, with frames as `running` has them."""
        return self.plan.period_s * chunk_frames(1) * running.every

    @property
    def running_steps(self) -> int | None:
        """The steps that the newest chunk was fed with; None before the first."""
        return None if self._newest is None else self._newest.steps

    @property
    def is_lowest(self) -> bool:
        """It can give way no further."""
        return self.policy is None or self.policy.below(self.ceiling) is None

    def is_strained(self, now_s: float) -> bool:
        """Its chunks come late, or are lost to the engine's slowness. Of one that never gives way losses tell."""
        return self.loss > LOSS_GAIN if self.policy is None else self.policy.is_in_trouble(self.ceiling, now_s)

    def request_steps(self, steps: int, now_s: float) -> None:
        """The user wants `steps`: taken at once, overload lowers it again."""
        self.requested_steps = steps
        self.ceiling = self._ceiling_now()
        if self.policy is not None:
            self.policy.forget(now_s)

    def grant(self, level: Level, now_s: float) -> Level | None:
        """Its claim pays for this: no chunk begins above it.

        What the next chunk runs with, if that is another level than before.
        """
        before = self.next_running
        self.granted = level
        self.ceiling = self._ceiling_now()
        after = self.next_running
        if after == before:
            return None
        if self.policy is not None:
            self.policy.ceiling_changed(now_s)
        return after

    def _ceiling_now(self) -> Level:
        requested = Level(self.requested_steps)
        return requested if self.granted is None else requested.at_most(self.granted)

    # -- the way in ---------------------------------------------------------------------------------------------------

    def offer(self, chunk: InputChunk) -> int:
        """Take a complete input chunk; what was waiting gives way to it. Returns how many frames were dropped.

        Only what had to wait for the engine counts as the session's loss; a burst of input (after a move, from a bad
        network) says nothing about the engine.
        """
        last_s = self._last_complete_s
        self._last_complete_s = chunk.complete_s
        is_burst = last_s is not None and chunk.complete_s - last_s < self.chunk_s / 2

        # After a fresh start the engine's first chunk takes five frames, and the intake's next one may have four: the
        # picture that is missing may never come, as the source may stand still.
        needed = chunk_frames(self.next_chunk)
        if self.waiting is None:
            self.waiting, dropped = chunk.filled(needed).newest(needed)
            return dropped

        joined, dropped = join(self.waiting, chunk, size=needed)
        self.waiting = joined
        if dropped and not is_burst:
            self.loss += LOSS_GAIN * (1 - self.loss)
            if self.policy is not None:
                self.policy.trouble(chunk.complete_s)

        return dropped

    def expected(self) -> Arrival | None:
        """When its next input chunk should be there, judged by the last one; None if one waits or none came yet."""
        if self.waiting is not None or self._last_complete_s is None:
            return None
        return Arrival(self.plan.session, self.shape(self.next_chunk), self._last_complete_s + self.chunk_s)

    def has_recent_input(self, now_s: float) -> bool:
        """Its source goes on. One that rests costs nothing now, and what it lost before says nothing of now."""
        recent_s = max(RECENT_INPUT_S, RECENT_INPUT_CHUNKS * self.chunk_s)
        return self._last_complete_s is not None and now_s - self._last_complete_s <= recent_s

    # -- rows ---------------------------------------------------------------------------------------------------------

    def candidates(self) -> list[Candidate]:
        """The rows that may be submitted; the waiting chunk's first one included, where it is fed with that."""
        chunks = [*self.in_flight, *([] if self._needs.encoded else self._about_to_begin())]
        return [self._candidate(chunk) for place, chunk in enumerate(chunks) if self._may_run(chunk, chunks[:place])]

    def ahead(self) -> Candidate | None:
        """The first row of the chunk that may be fed ahead of it now, as if it were encoded; None for none.

        One chunk at most is on its way to its first row, as its row 0 follows that of the chunk before. So what comes
        meanwhile waits where it gives way to the next.
        """
        if not self._needs.encoded:
            return None
        begins = [chunk for chunk in self._about_to_begin() if self._may_run(chunk, self.in_flight)]
        return self._candidate(begins[0]) if begins else None

    def _may_run(self, chunk: SessionChunk, before: Sequence[SessionChunk]) -> bool:
        """Whether the next row of a chunk may be submitted."""
        step = chunk.submitted
        if step == chunk.rows - 1 and len(self._undecoded) >= MOST_UNDECODED:
            return False
        return may_run(step, chunk, before, self._needs)

    def _about_to_begin(self) -> list[SessionChunk]:
        """The waiting chunk, as it would be if it were fed now; none where frames are still missing."""
        waiting = self.waiting
        if waiting is None or len(waiting.frames) < chunk_frames(self.next_chunk):
            return []
        unfinished = [chunk for chunk in self.in_flight if chunk.submitted < chunk.rows]
        if len(unfinished) > max((chunk.rows for chunk in unfinished), default=0):
            return []
        steps = self.next_steps
        return [
            SessionChunk(
                index=self.next_chunk,
                rows=steps,
                steps=steps,
                complete_s=waiting.complete_s,
                positions=tuple(frame.position for frame in waiting.frames),
                source=waiting,
            )
        ]

    def _candidate(self, chunk: SessionChunk) -> Candidate:
        due_s = chunk.complete_s + self.plan.deadline_s
        unseen = {one.index: one for one in (*self._undecoded, *self.in_flight) if one.index < chunk.index}
        after = [(one.complete_s, self._length_s(one)) for _, one in sorted(unseen.items())]
        begins_s = self._playout.begins_s(chunk.complete_s, after=after)
        plays_until_s = due_s if begins_s is None else begins_s
        return Candidate(
            row=Row(self.plan.session, chunk.submitted, chunk.index),
            shape=self.shape(chunk.index),
            deadline_s=due_s - self._decode_s,
            plays_until_s=plays_until_s - self._decode_s,
            rows_left=chunk.rows - chunk.submitted,
            loss=self.loss,
            encoded=chunk.index < self.next_chunk,
        )

    def _length_s(self, chunk: SessionChunk) -> float:
        """How long a chunk plays. Of one that was restored nobody knows: as long as the next ones will."""
        if chunk.source is None:
            return self.chunk_s
        return self.plan.period_s * sum(frame.spans for frame in chunk.source.frames)

    def shape(self, chunk: int) -> BatchShape:
        """The batch shape of one of its chunks: the first has more frames."""
        size = self.plan.settings
        return BatchShape(self.plan.model, size.width, size.height, chunk_frames(chunk))

    def begin(self) -> SessionChunk:
        """The waiting chunk is fed. Raises ValueError if none waits."""
        begun = self._about_to_begin()
        if not begun:
            raise ValueError(f"{self.plan.session}: no chunk waits")

        chunk = begun[0]
        self.in_flight.append(chunk)
        self._newest = chunk
        self.last_fed = chunk.last
        self.waiting = None
        self.next_chunk += 1

        return chunk

    def chunk(self, index: int) -> SessionChunk:
        """The chunk of this number. Raises KeyError if it is not in flight."""
        for chunk in self.in_flight:
            if chunk.index == index:
                return chunk
        raise KeyError(f"{self.plan.session}: chunk {index} is not in flight")

    def submitted(self, row: Row, now_s: float) -> SessionChunk | None:
        """A row is under way; returns its chunk if that was the chunk's last row, which waits for its pictures now."""
        chunk = self.chunk(row.chunk)
        if chunk.submitted == 0:
            chunk.started_s = now_s
        chunk.submitted += 1
        if chunk.submitted < chunk.rows:
            return None

        self._undecoded.append(chunk)
        return chunk

    def collected(self, row: Row) -> SessionChunk:
        """A row has come back; its chunk leaves with its last one."""
        chunk = self.chunk(row.chunk)
        chunk.collected += 1
        if chunk.is_complete:
            self.in_flight.remove(chunk)
            self.loss *= 1 - LOSS_GAIN
        return chunk

    def shown(self, chunk: SessionChunk, now_s: float, *, since_s: float) -> None:
        """A chunk's pictures are there, which were decoded since `since_s`."""
        self._undecoded.remove(chunk)
        self._playout.shown(now_s, complete_s=chunk.complete_s, length_s=self._length_s(chunk))
        self._decode_s += DECODE_GAIN * (now_s - since_s - self._decode_s)
        if self.policy is not None and now_s > chunk.complete_s + self.plan.deadline_s:
            self.policy.trouble(now_s)

    @property
    def is_encoding(self) -> bool:
        """A chunk is on its way to its first row."""
        return any(chunk.encoding for chunk in self.in_flight)

    @property
    def is_idle(self) -> bool:
        """Nothing is in flight, being decoded or ready to run."""
        return not self.in_flight and not self._undecoded and not self.candidates() and self.ahead() is None

    # -- another generation -------------------------------------------------------------------------------------------

    def go_back(
        self,
        *,
        next_chunk: int = 0,
        in_flight: list[SessionChunk] | None = None,
        last_fed: SourcePosition | None = None,
    ) -> None:
        """The engine goes on from elsewhere: these are in flight, and `next_chunk` is the next to feed."""
        self.next_chunk = next_chunk
        self.in_flight = in_flight or []
        self._newest = self.in_flight[-1] if self.in_flight else None
        self.last_fed = last_fed
        self._undecoded.clear()
