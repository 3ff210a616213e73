"""The diffusion engine: the Engine protocol over StreamDiffusionV2's transformer and VAE.

Thin: what a session is lies in `session`, what the device does in `micro_step`, who may take memory in `memory`. Here
they meet: admission, one micro-step with the pictures that come of it, snapshot and restore.
"""

import hashlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from genlock_core.clock import Clock
from genlock_worker.engines.algorithm.flow import step_list
from genlock_worker.engines.contract import (
    Change,
    Chunk,
    EngineFailure,
    EngineMemory,
    EngineState,
    Row,
    RowResult,
    StreamSettings,
)
from genlock_worker.engines.diffusion import memory
from genlock_worker.engines.diffusion.components import Components
from genlock_worker.engines.diffusion.config import StreamOptions
from genlock_worker.engines.diffusion.memory import DoesNotFit, MemoryBudget
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.engines.diffusion.streaming import state as states
from genlock_worker.engines.diffusion.streaming.device_progress import DeviceProgress
from genlock_worker.engines.diffusion.streaming.micro_step import Forward, run_rows
from genlock_worker.engines.diffusion.streaming.pictures import PictureDecoder
from genlock_worker.engines.diffusion.streaming.row_cache import OPENING_FRAMES
from genlock_worker.engines.diffusion.streaming.session import DiffusionSession, Shared, check_settings
from genlock_worker.engines.diffusion.streaming.sinks import SinkRule

logger = logging.getLogger(__name__)


class DiffusionEngine:
    """An Engine that repaints streams with a causal Wan 2.1. All calls but `prepare` come from the engine thread.

    `forward` runs a batch of rows (`forward.make_forward`). `overlap`: chunks are decoded beside the forwards that
    follow. `memory_limit_bytes` is what sessions may take together; None: what the device has free now, less what a
    forward needs to work in. Raises ValueError if the options want
    another ring than the model was built for, or one that cannot hold the first chunk.
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

        jpeg = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jpeg")
        self._forward = forward
        self._progress = DeviceProgress(components.device)
        self._pictures = PictureDecoder(components.vae, overlap=overlap)
        self._shared = Shared(
            components, options, self._count, SinkRule.of(options), jpeg, self._progress, self._pictures
        )
        self._clock = clock
        total = memory.free_for_sessions(components.device) if memory_limit_bytes is None else memory_limit_bytes
        self._budget = MemoryBudget(total)
        self._sessions: dict[str, DiffusionSession] = {}
        self._cut_short: set[str] = set()
        """Sessions that were told that their steps do not fit."""

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
        return self._shared.components.resident_bytes

    @property
    def progress(self) -> int:
        """Forwards and pieces of the VAE's work that the device has finished."""
        return self._progress.parts + self._pictures.parts

    @property
    def memory(self) -> EngineMemory:
        """How the device's memory is shared out now."""
        budget = self._budget
        return EngineMemory(self.resident_bytes, budget.total_bytes - budget.free_bytes, budget.free_bytes)

    def session_memory(self, session: str) -> int | None:
        """Bytes that are set aside for an open session."""
        return self._budget.taken[self._session(session).name]

    @property
    def budget(self) -> MemoryBudget:
        """What sessions have taken of the memory, and what is free."""
        return self._budget

    def session_bytes(self, settings: StreamSettings) -> int:
        """Bytes of one session with these settings."""
        return self._bytes(settings, len(step_list(settings.steps, text_only=settings.text_only)))

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

        Prompt, steps and noise scale are those of the snapshot; apply what was changed since. Raises EngineFailure if
        the state is damaged, does not belong to these settings or does not fit; ValueError if the session is open.
        """
        self._check_free(session)
        started_s = self._clock.monotonic()

        # Memory is set aside before anything is put on the device; whatever fails leaves nothing of the session.
        try:
            check_settings(settings)
            facts = states.read_facts(state, settings, self._shared)
            self._admit(session, settings, len(facts.rows))
            self._sessions[session] = states.from_state(session, state, facts, settings, self._shared)
        except torch.OutOfMemoryError as problem:
            self.close(session)
            raise EngineFailure(session, f"there is no memory to restore it: {problem}") from problem
        except states.DAMAGE as problem:
            self.close(session)
            raise EngineFailure(session, f"the snapshot cannot be restored: {problem}") from problem
        except EngineFailure:
            self.close(session)
            raise

        seconds = round(self._clock.monotonic() - started_s, 3)
        logger.info("session restored", extra={"session": session, "chunk": state.chunk, "seconds": seconds})

    def close(self, session: str) -> None:
        """Forget a session; unknown ones are ignored."""
        self._sessions.pop(session, None)
        self._budget.give(session)
        self._cut_short.discard(session)

    def apply(self, session: str, change: Change) -> None:
        """Change prompt, steps or noise scale from the next chunk on."""
        found = self._session(session)
        if change.prompt is not None:
            self.prepare(change.prompt)
        found.apply(change)

    @torch.no_grad()
    def feed(self, session: str, chunk: Chunk) -> int:
        """Take the next chunk, in order; returns the rows that it will run.

        They are fewer than requested where memory is short.
        """
        found = self._session(session)
        found.check_chunk(chunk)
        try:
            rows = found.feed(chunk, steps=self._affordable_steps(found))
        except torch.OutOfMemoryError as problem:
            raise EngineFailure(session, f"chunk {chunk.index} does not fit into memory: {problem}") from problem

        self._progress.queued()
        self._settle(found)
        return rows

    def steps_in_use(self, session: str) -> int:
        """The denoising steps of the last chunk fed: its rows but the clean one of a session without a camera."""
        found = self._session(session)
        return found.fed_rows - found.rows_of(1) + 1

    @torch.no_grad()
    def run(self, rows: Sequence[Row]) -> Sequence[RowResult]:
        """All rows in one forward; chunks that are finished by it begin to be decoded.

        Raises EngineFailure for the first row that cannot be run or whose answer is not finite; no session has moved on
        then, so that the others' rows can be run again with the same results.
        """
        self._check_rows(rows)
        works = [self._session(row.session).enter(row.step, row.chunk) for row in rows]
        outcomes = run_rows(works, self._shared.forward, progress=self._progress)

        # Only now do the sessions move on: every row has its answer.
        results = []
        for row, outcome in zip(rows, outcomes, strict=True):
            session = self._session(row.session)
            latents = session.leave(row.step, row.chunk, outcome)
            if latents is None:
                results.append(RowResult(row))
            else:
                results.append(RowResult(row, self._pictures.decode(row, session.stream, latents)))
                self._settle(session)

        return results

    def snapshot(self, session: str) -> EngineState:
        """The session's state now; copies from the device only what was not copied before."""
        return states.to_state(self._session(session))

    def sink_digest(self, session: str) -> str:
        """SHA-256 (hex) over the stored inputs of row 0's sinks, `""` before the first; the same after a restore."""
        sinks = self._session(session).sinks()
        digest = hashlib.sha256()
        for stored in sinks:
            latent = stored.block["latent"]
            digest.update(f"{stored.frame} {float(stored.timestep)} {latent.dtype} {latent.shape}".encode())
            digest.update(np.ascontiguousarray(latent).tobytes())
        return digest.hexdigest() if sinks else ""

    def _count(self, batch: RowBatch) -> Denoised:
        """A forward, which counts once the device has done it."""
        denoised = self._forward(batch)
        self._progress.queued()
        return denoised

    def _check_rows(self, rows: Sequence[Row]) -> None:
        for number, row in enumerate(rows):
            try:
                self._session(row.session).check_row(row.step, row.chunk)
            except ValueError as mistake:
                raise EngineFailure(row.session, str(mistake)) from mistake
            if row in rows[:number]:
                raise EngineFailure(row.session, f"row {row.step} of chunk {row.chunk} is there twice")

    def _admit(self, session: str, settings: StreamSettings, rows: int) -> None:
        try:
            self._budget.take(session, self._bytes(settings, rows))
        except DoesNotFit as refusal:
            raise EngineFailure(session, f"refused: {refusal}") from refusal

    def _affordable_steps(self, session: DiffusionSession) -> int:
        """The steps of the next chunk: as requested, or as many as there is memory for."""
        # One step always fits: its row stays set aside.
        for steps in range(session.steps, 1, -1):
            rows = max(session.rows_of(steps), len(session.rows))
            try:
                self._budget.take(session.name, self._bytes(session.settings, rows))
                session.grow(rows)
            except (DoesNotFit, torch.OutOfMemoryError) as short:
                if session.name not in self._cut_short:
                    self._cut_short.add(session.name)
                    logger.warning("%s: no memory for %d steps: %s", session.name, steps, short)
            else:
                return steps

        return 1

    def _settle(self, session: DiffusionSession) -> None:
        """Rows that were dropped are free again."""
        self._budget.take(session.name, self._bytes(session.settings, len(session.rows)))

    def _bytes(self, settings: StreamSettings, rows: int) -> int:
        parts, size = self._shared.components, settings
        return memory.session_bytes(
            parts.config.transformer,
            self._shared.options.ring,
            rows=rows,
            height=size.height,
            width=size.width,
            itemsize=parts.dtype.itemsize,
            vae_bytes=parts.vae.stream_bytes(size.height, size.width),
        )

    def _session(self, session: str) -> DiffusionSession:
        try:
            return self._sessions[session]
        except KeyError:
            raise ValueError(f"session {session} is not open") from None

    def _check_free(self, session: str) -> None:
        if session in self._sessions:
            raise ValueError(f"session {session} is open already")
