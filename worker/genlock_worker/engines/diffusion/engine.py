"""The diffusion engine: the Engine protocol over StreamDiffusionV2's transformer and VAE.

Thin: what a session is lies in `session`, what the device does in `micro_step`, who may take memory in `memory`. Here
they meet: admission, a batch with the pictures that come of it, snapshot and restore.

The caller's thread queues work for the device and waits for none of it, unless a session comes for which there is room
only once another has left: up to `DEPTH` batches are under way, and a
restoration moves on by a part whenever somebody collects. On a CPU work is done when it is queued. Pictures are decoded
beside it.
"""

import logging
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from genlock_core.clock import Clock
from genlock_core.spec.session import Resolution
from genlock_worker.engines.algorithm.flow import step_list
from genlock_worker.engines.contract import (
    CapturedGraphs,
    Change,
    Chunk,
    Collected,
    EngineFailure,
    EngineMemory,
    EngineState,
    Fed,
    Row,
    StreamSettings,
)
from genlock_worker.engines.diffusion import memory, room
from genlock_worker.engines.diffusion.components import Components
from genlock_worker.engines.diffusion.config import StreamOptions
from genlock_worker.engines.diffusion.execution.capturing import capture_all
from genlock_worker.engines.diffusion.execution.graphs import GraphForward
from genlock_worker.engines.diffusion.memory import MemoryBudget
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.engines.diffusion.snapshots import state as states
from genlock_worker.engines.diffusion.snapshots.restorations import Restorations
from genlock_worker.engines.diffusion.snapshots.taken_state import StateMaker, TakenState
from genlock_worker.engines.diffusion.streaming.admission import MemoryAdmission
from genlock_worker.engines.diffusion.streaming.batches import Batches
from genlock_worker.engines.diffusion.streaming.device_queue import DeviceQueue, Reached
from genlock_worker.engines.diffusion.streaming.inputs import InputEncoder
from genlock_worker.engines.diffusion.streaming.micro_step import Forward
from genlock_worker.engines.diffusion.streaming.pictures import PictureDecoder
from genlock_worker.engines.diffusion.streaming.row_cache import OPENING_FRAMES
from genlock_worker.engines.diffusion.streaming.session import DiffusionSession, check_settings
from genlock_worker.engines.diffusion.streaming.shared import Shared
from genlock_worker.engines.diffusion.streaming.sinks import SinkRule
from genlock_worker.engines.input_check import check_chunk
from genlock_worker.engines.readiness import Needs

logger = logging.getLogger(__name__)

DEPTH = 2
"""Batches under way at once: the device has the next one while the host keeps the books of this one. A third would only
come earlier than it need be chosen."""


class DiffusionEngine:
    """An Engine that repaints streams with a causal Wan 2.1. All calls but `prepare` come from the engine thread.

    `forward` runs a batch of rows (`forward.make_forward`). `overlap`: chunks are decoded, and states made, beside the
    forwards that follow. `memory_limit_bytes` is what sessions may take together; None: what the device has free now,
    less what a forward needs to work in. `fixed_pools`: the pools have all of it from the start, so that they keep
    their addresses; else they grow with their sessions; None: on a GPU. `depth`: how many batches may be under way.
    `queue`: what is queued on the device; None: the device's own. `set_aside_bytes`: what of the device's memory is
    neither the sessions' nor what runs works in: graphs will take it. Raises ValueError if the options want another
    ring than the model was built for, or one that cannot hold the first chunk; torch.OutOfMemoryError.
    """

    def __init__(
        self,
        components: Components,
        *,
        options: StreamOptions,
        forward: Forward,
        memory_limit_bytes: int | None,
        clock: Clock,
        overlap: bool = True,
        fixed_pools: bool | None = None,
        depth: int = DEPTH,
        queue: DeviceQueue | None = None,
        set_aside_bytes: int = 0,
    ) -> None:
        # The transformer finds the sinks by the ring layout that it was built with.
        built_for = components.transformer.layout
        if built_for != options.ring:
            raise ValueError(
                f"the model was built for a ring of {built_for.slots} slots, {built_for.sinks} of them sinks; "
                f"the options want {options.ring.slots} and {options.ring.sinks}"
            )
        if options.ring.slots < OPENING_FRAMES:
            raise ValueError(f"a ring holds at least the {OPENING_FRAMES} frames of the first chunk")

        total = memory_limit_bytes
        if total is None:
            total = max(0, memory.free_for_sessions(components.device) - set_aside_bytes)
        fixed = components.device.type == "cuda" if fixed_pools is None else fixed_pools
        for_vae = memory.free_for_vae(components.device, sessions=total + set_aside_bytes)
        self._budget = room.budget(components, options, total, for_vae=for_vae, fixed=fixed)

        self._jpeg = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jpeg")
        self._forward = forward
        self._graph_bytes = 0
        """Once graphs are captured, what they have taken."""
        self._queue = queue or DeviceQueue(components.device)
        self._inputs = InputEncoder(
            components.vae, dtype=components.dtype, clock=clock, overlap=overlap, memory_bytes=for_vae // 2
        )
        self._pictures = PictureDecoder(components.vae, clock=clock, overlap=overlap, memory_bytes=for_vae // 2)
        self._shared = Shared(
            components,
            options,
            self._count,
            SinkRule.of(options),
            self._jpeg,
            self._queue,
            self._inputs,
            self._pictures,
            room.pool(components, self._budget),
        )
        self._admission = MemoryAdmission(self._shared, self._budget)
        self._states = StateMaker(components.device, overlap=overlap)
        self._overlap = overlap
        self._sessions: dict[str, DiffusionSession] = {}
        self._leaving: dict[str, DiffusionSession] = {}
        """Closed, and named by batches that are under way, or with a chunk in the encoder."""
        self._answers: deque[Collected] = deque()
        """Told with the next collection."""
        self._wake: Callable[[], None] = lambda: None
        self._restorations = Restorations(clock=clock, wake=lambda: self._wake())
        self._batches = Batches(self._shared, depth=depth, clock=clock, wake=lambda: self._wake())

    @property
    def model(self) -> str:
        """The name of the ModelProfile it runs."""
        return self._shared.components.config.name

    @property
    def devices(self) -> int:
        """One: the transformer, its rings and the VAE are all on `device`."""
        return 1

    @property
    def most_rows(self) -> int | None:
        """None: rows that do not fit together are run in halves."""
        return None

    @property
    def device(self) -> torch.device:
        """Where the transformer and the VAE are."""
        return self._shared.components.device

    @property
    def dtype(self) -> torch.dtype:
        """What the transformer computes in."""
        return self._shared.components.dtype

    @property
    def resident_bytes(self) -> int:
        """Bytes that are there without any session."""
        return self._shared.components.resident_bytes + self._graph_bytes

    @property
    def progress(self) -> int:
        """Forwards and pieces of the VAE's work that the device has finished."""
        return self._queue.parts + self._inputs.parts + self._pictures.parts

    @property
    def depth(self) -> int:
        """How many batches may be under way."""
        return self._batches.depth

    @property
    def needs(self) -> Needs:
        """The device has an order: it is enough that a row's predecessors were submitted. Chunks are encoded beside."""
        return Needs(encoded=self._overlap)

    def call_when_ready(self, wake: Callable[[], None]) -> None:
        """Call `wake` when there is something to collect, or a restoration can go on."""
        self._wake = wake

    @property
    def warms_each_size(self) -> bool:
        """Where libraries choose kernels for each shape: on a GPU. Compiled code takes sizes as they come."""
        return self.device.type == "cuda"

    def capture_graphs(self, sizes: Sequence[Resolution], tell: Callable[[str], None]) -> CapturedGraphs:
        """Capture the forwards of these sizes, where the engine was told to have graphs."""
        if not isinstance(self._forward, GraphForward):
            return CapturedGraphs()
        pool, texts = self._shared.pool, self._shared.components.prompts.texts
        captured = capture_all(self._forward, sizes, pool=pool, text_pool=texts, tell=tell)
        self._graph_bytes = captured.bytes
        return captured

    @property
    def strained(self) -> bool:
        """Never: its pictures are what the model gives."""
        return False

    @property
    def memory(self) -> EngineMemory:
        """How the device's memory is shared out now."""
        budget = self._budget
        return EngineMemory(self.resident_bytes, budget.total_bytes - budget.free_bytes, budget.free_bytes)

    def session_memory(self, session: str) -> int | None:
        """Bytes that are set aside for an open session."""
        return self._budget.taken.get(session)

    @property
    def budget(self) -> MemoryBudget:
        """What sessions have taken of the memory, and what is free."""
        return self._budget

    def session_bytes(self, settings: StreamSettings) -> int:
        """Bytes of one session with these settings."""
        return sum(self._admission.bytes(settings, len(step_list(settings.steps, text_only=settings.text_only))))

    def prepare(self, prompt: str) -> None:
        """Encode a prompt unless it is known; on any thread, may take seconds."""
        self._shared.components.prompts.prepare(prompt)

    @torch.no_grad()
    def open(self, session: str, settings: StreamSettings) -> None:
        """Start a session from nothing. Raises EngineFailure if it does not fit, ValueError for wrong settings."""
        self._check_free(session)
        check_settings(settings)
        self.prepare(settings.prompt)
        self._admit(session, settings, len(step_list(settings.steps, text_only=settings.text_only)))

        try:
            self._sessions[session] = DiffusionSession.opened(session, settings, self._shared)
        except torch.OutOfMemoryError as problem:
            self.close(session)
            raise EngineFailure(session, f"there is no memory for its rings: {problem}") from problem

    @torch.no_grad()
    def restore(self, session: str, settings: StreamSettings, state: EngineState) -> None:
        """Start a session from a snapshot: sinks as they were, the window nearly so.

        Fails if the state is damaged, does not belong to these settings or does not fit.
        """
        self._check_free(session)
        self._restorations.begin(session, self._restored(session, settings, state), chunk=state.chunk)

    def _restored(
        self, session: str, settings: StreamSettings, state: EngineState
    ) -> Generator[Reached, None, DiffusionSession]:
        # Memory is set aside before anything is put on the device.
        check_settings(settings)
        facts, chunks = states.read_facts(state, settings, self._shared)
        self._admit(session, settings, len(facts.rows))
        try:
            return (yield from states.from_state(session, state, facts, chunks, settings, self._shared))
        except BaseException:  # it failed, or was given up
            self._admission.leave(session)
            raise

    def close(self, session: str) -> None:
        """Forget a session; unknown ones are ignored."""
        self._restorations.close(session)

        # Its memory stays its own until every batch that names it is back, and the encoder is done with it.
        closed = self._sessions.pop(session, None)
        if closed is not None and self._is_under_way(closed):
            self._leaving[session] = closed
        elif session not in self._leaving:
            self._give_back(session, closed)

    def _admit(self, session: str, settings: StreamSettings, rows: int) -> None:
        # A session that begins again where memory is full waits for what its former generation has.
        try:
            self._admission.admit(session, settings, rows)
        except EngineFailure:
            if not self._leaving:
                raise
            self._wait_for_leaving()
            self._admission.admit(session, settings, rows)

    def _wait_for_leaving(self) -> None:
        self._queue.reached().exception()
        self._answers += self._batches.collect()
        for name, closed in self._leaving.items():
            closed.wait_until_encoded()
            self._give_back(name, closed)
        self._leaving.clear()

    def _is_under_way(self, session: DiffusionSession) -> bool:
        return session.is_encoding or self._batches.names(session)

    def _give_back(self, session: str, closed: DiffusionSession | None) -> None:
        if closed is not None:
            closed.close()
        self._admission.leave(session)

    def apply(self, session: str, change: Change) -> None:
        """Change prompt or noise scale from the next chunk on."""
        found = self._session(session)
        if change.prompt is not None:
            self.prepare(change.prompt)
        found.apply(change)

    @torch.no_grad()
    def feed(self, session: str, chunk: Chunk, *, steps: int) -> Fed:
        """Take the next chunk, in order; its steps are fewer than asked for where memory is short."""
        found = self._session(session)
        if found.failure is not None:
            raise EngineFailure(session, found.failure)
        check_chunk(chunk, found.settings, expected=found.chunk + 1)
        found.rows_of(steps)
        try:
            affordable = self._admission.steps(found, steps)
            in_flight = found.feed(chunk, steps=affordable)
        except torch.OutOfMemoryError as problem:
            raise EngineFailure(session, f"chunk {chunk.index} does not fit into memory: {problem}") from problem

        self._admission.settle(found)
        return Fed(affordable, in_flight.rows, in_flight.taken_in())

    @torch.no_grad()
    def submit(self, number: int, rows: Sequence[Row]) -> None:
        """Queue all rows as one forward, in halves where there is no memory for that, and the decoding of what ends.

        A row that fails is its session's failure alone.
        """
        self._batches.check(number)
        self._check_rows(rows)
        sessions = [self._session(row.session) for row in rows]
        for session in self._batches.submit(number, list(zip(rows, sessions, strict=True))):
            self._admission.settle(session)

    def collect(self) -> Sequence[Collected]:
        """What has ended; every restoration moves on by a part."""
        for result, restored in self._restorations.go_on():
            if restored is not None:
                self._sessions[result.session] = restored
            self._answers.append(result)
        self._answers += self._batches.collect()
        for name, closed in list(self._leaving.items()):
            if not self._is_under_way(closed):
                del self._leaving[name]
                self._give_back(name, closed)
        collected = list(self._answers)
        self._answers.clear()
        return collected

    def snapshot(self, session: str) -> Future[EngineState]:
        """The session's state now, made beside the engine's thread; only what was not copied before is copied.

        It waits for a chunk that is being encoded, and fails if that does.
        """
        found = self._session(session)
        if found.failure is None:
            return self._states.make(TakenState.of(found), self._queue.reached())
        state: Future[EngineState] = Future()
        state.set_exception(EngineFailure(session, f"its state cannot be taken: {found.failure}"))
        return state

    def stop(self) -> None:
        """End the threads beside the engine's: they code, make states, watch the device, compress input frames."""
        self._inputs.stop()
        self._pictures.stop()
        self._states.stop()
        self._queue.stop()
        self._jpeg.shutdown(cancel_futures=True)

    def _count(self, batch: RowBatch) -> Denoised:
        """A forward, which counts once the device has done it."""
        denoised = self._forward(batch)
        self._queue.queued()
        return denoised

    def _check_rows(self, rows: Sequence[Row]) -> None:
        for number, row in enumerate(rows):
            try:
                session = self._session(row.session)
                if session.failure is None:
                    session.check_row(row.step, row.chunk)
            except ValueError as mistake:
                raise EngineFailure(row.session, str(mistake)) from mistake
            if row in rows[:number]:
                raise EngineFailure(row.session, f"row {row.step} of chunk {row.chunk} is there twice")

    def _session(self, session: str) -> DiffusionSession:
        try:
            return self._sessions[session]
        except KeyError:
            raise ValueError(f"session {session} is not open") from None

    def _check_free(self, session: str) -> None:
        if session in self._sessions or session in self._restorations or session in self._leaving:
            raise ValueError(f"session {session} is open already")
