"""The recorded streams through the whole engine: how far it is from the recordings on this device, in this dtype.

Everything goes through the engine's contract (open, feed, submit, collect): its rings, the stream batch, re-noising and
the order of rows are the engine's own. What is recorded is injected: noise, time steps, weights and the embedding of
the prompt. The VAE is a stand-in that notes the latents it is given. The network is watched from outside, where a batch
shows what each row was given, what it answered and what its ring holds.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.gpu.recording import RECORDINGS, SIDE, NotingVae, RecordedPrompts, Recording, injected
from genlock_core.clock import SystemClock
from genlock_worker.engines.contract import Chunk, Row, RowResult, StreamSettings, chunk_frames
from genlock_worker.engines.diffusion.components import Components
from genlock_worker.engines.diffusion.config import DiffusionConfig, Positions, StreamOptions, TextConfig, VaeConfig
from genlock_worker.engines.diffusion.engine import DiffusionEngine
from genlock_worker.engines.diffusion.network.pointwise import Pointwise
from genlock_worker.engines.diffusion.network.ring_ops import RingOps
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.engines.diffusion.network.text_pool import TextPool
from genlock_worker.engines.diffusion.network.transformer import CausalWan
from genlock_worker.engines.diffusion.prompt_book import PromptBook
from genlock_worker.engines.stepwise import Stepwise
from tests.worker.engines.diffusion import recorded

LIMIT_BYTES = 2**34

Deviations = dict[str, float]
"""The largest absolute difference, by the recording's name of the array."""


def deviations(
    device: torch.device, dtype: torch.dtype, *, ops: RingOps | None = None, pointwise: Pointwise | None = None
) -> dict[str, Deviations]:
    """Each recording alone, each after the others on one engine, and all of them in shared forwards.

    `ops`, `pointwise`: other operations than PyTorch's on rings and prompts, and between the linear layers.
    """

    def played() -> AbstractContextManager[Bench]:
        network = recorded.network(ops=ops, pointwise=pointwise)
        return _bench(network.to(device, dtype), device, dtype)

    known = {number: Recording(name, number) for number, name in enumerate(RECORDINGS)}
    found: dict[str, Deviations] = {}
    with injected(known):
        for recording in known.values():
            with played() as bench:
                (found[recording.name],) = bench.play([recording])

        with played() as bench:
            for recording in known.values():
                (found[f"{recording.name} after others"],) = bench.play([recording])

        with played() as bench:
            together = bench.play(list(known.values()))
            names = (f"{recording.name} together with others" for recording in known.values())
            found.update(zip(names, together, strict=True))
    return found


@dataclass(slots=True, eq=False)
class Watched:
    """A forward that keeps the batch that it ran last, and its answer."""

    model: CausalWan
    batch: RowBatch | None = None
    flow: Tensor | None = None

    def __call__(self, batch: RowBatch) -> Denoised:
        answer: Denoised = self.model(batch)
        self.batch = batch
        self.flow = answer.flow
        return answer


@dataclass(slots=True, eq=False)
class Playing:
    """One recording on its way."""

    recording: Recording
    worst: Deviations = field(default_factory=dict)

    @property
    def session(self) -> str:
        return self.recording.name

    @property
    def settings(self) -> StreamSettings:
        one = self.recording
        return StreamSettings(
            prompt=one.prompt,
            steps=one.steps,
            width=SIDE,
            height=SIDE,
            frame_rate=16,
            seed=one.number,
            noise_scale=0.8,
        )

    def gap(self, key: str, ours: Tensor, theirs: NDArray[np.generic]) -> None:
        """Note a difference; what is not finite is infinitely far."""
        gap = recorded.worst(ours.detach().float().cpu(), theirs)
        self.worst[key] = max(self.worst.get(key, 0.0), gap if np.isfinite(gap) else float("inf"))


@dataclass(slots=True, eq=False)
class Bench:
    """An engine whose forwards are watched."""

    forward: Watched
    vae: NotingVae
    driven: Stepwise

    def play(self, recordings: Sequence[Recording]) -> list[Deviations]:
        """Play these to their end, all their rows in shared forwards; what each is off by."""
        players = [Playing(recording) for recording in recordings]
        for one in players:
            self.driven.open(one.session, one.settings)
            self._feed(one, 0)
        for step in range(max(one.recording.steps for one in players)):
            self._first_chunk([one for one in players if step < one.recording.steps], step)

        for call in range(max(one.recording.calls for one in players)):
            self._call([one for one in players if call < one.recording.calls], call)
        for one in players:
            self.driven.close(one.session)
        return [one.worst for one in players]

    def _feed(self, one: Playing, chunk: int) -> None:
        pictures = np.zeros((chunk_frames(chunk), SIDE, SIDE, 3), np.uint8)
        self.driven.feed(one.session, Chunk(chunk, pictures))

    def _first_chunk(self, players: Sequence[Playing], step: int) -> None:
        """One step of the first chunk of all; after the last one the ring and the output are compared."""

        def compare(one: Playing, row: Row, number: int, latents: Tensor | None) -> None:
            arrays = one.recording.arrays
            one.gap("prepare/flow", self._flow(number), arrays["prepare/flow"][row.step, 0])
            if latents is not None:
                one.gap("prepare/out", latents, arrays["prepare/out"][0])
                # All steps share this ring, which every other row's begins as a copy of.
                self._ring(one, number, "prepare", arrays["prepare/k"][:, 0], arrays["prepare/v"][:, 0])

        self._run([(one, Row(one.session, step, 0)) for one in players], compare)

    def _call(self, players: Sequence[Playing], call: int) -> None:
        """A new chunk of each, and a row of each chunk in flight."""

        def compare(one: Playing, row: Row, number: int, latents: Tensor | None) -> None:
            arrays = one.recording.arrays
            one.gap("calls/flow", self._flow(number), arrays["calls/flow"][call, row.step])
            if row.step > 0:  # what the row before it has made of its answer
                one.gap("calls/out[:-1]", self._given(number), arrays["calls/out"][call - 1, row.step - 1])
            if latents is not None:
                one.gap("calls/out[-1]", latents, arrays["calls/out"][call, row.step])
            valid = torch.tensor(self._batch.lengths[number] * recorded.FRAME_TOKENS).expand(recorded.CONFIG.layers)
            one.gap("calls/local_end", valid, arrays["calls/local_end"][call, :, row.step])
            if call in one.recording.kept_rings:
                kept = one.recording.kept_rings.index(call)
                keys, values = (arrays[f"kv/{part}"][kept][:, row.step] for part in ("k", "v"))
                self._ring(one, number, "kv", keys, values)

        for one in players:
            self._feed(one, call + 1)
        rows = [
            (one, Row(one.session, step, call + 1 - step))
            for one in players
            for step in range(one.recording.steps)
            if call + 1 - step >= 1
        ]
        self._run(rows, compare)

    def _run(
        self,
        rows: Sequence[tuple[Playing, Row]],
        compare: Callable[[Playing, Row, int, Tensor | None], None],
    ) -> None:
        """One forward; `compare` is told each row's place in it, and its latents after its chunk's last step."""
        decoded = len(self.vae.decoded)
        results: Sequence[RowResult] = self.driven.run([row for _, row in rows])
        for number, ((one, row), result) in enumerate(zip(rows, results, strict=True)):
            latents = None
            if result.pictures is not None:
                result.pictures.result()
                latents = self.vae.decoded[decoded]
                decoded += 1
            compare(one, row, number, latents)

    def _ring(
        self, one: Playing, number: int, prefix: str, keys: NDArray[np.generic], values: NDArray[np.generic]
    ) -> None:
        """What lies in the filled slots of a row's table; keys are stored rotated, by the reference, too.

        Behind them the table names the scratch page, which is anybody's.
        """
        batch = self._batch
        slots = torch.unflatten(batch.table[number].long(), 0, (recorded.LAYOUT.slots, -1))
        for name, ours, theirs in (("k", batch.pool.keys, keys), ("v", batch.pool.values, values)):
            tokens = ours[:, slots].flatten(2, 3)[:, :, : recorded.FRAME_TOKENS].flatten(1, 2)
            count = batch.lengths[number] * recorded.FRAME_TOKENS
            one.gap(f"{prefix}/{name}", tokens[:, :count], theirs[:, :count])

    @property
    def _batch(self) -> RowBatch:
        assert self.forward.batch is not None
        return self.forward.batch

    def _given(self, number: int) -> Tensor:
        return self._batch.hidden[number]

    def _flow(self, number: int) -> Tensor:
        assert self.forward.flow is not None
        return self.forward.flow[number]


@contextmanager
def _bench(model: CausalWan, device: torch.device, dtype: torch.dtype) -> Iterator[Bench]:
    """The recorded network in an engine of its own, where sinks stay and frames are counted as in the recording."""
    vae = NotingVae(device)
    config = DiffusionConfig("recorded", recorded.CONFIG, VaeConfig(), TextConfig(), needs_weights=False)
    length, dim = recorded.CONFIG.text_length, recorded.CONFIG.text_dim
    texts = TextPool(recorded.CONFIG, device=device, dtype=dtype)
    book = PromptBook(RecordedPrompts(), model.text_kv, texts, text_length=length, text_dim=dim, dtype=dtype)
    watched = Watched(model)
    engine = DiffusionEngine(
        Components(config, model, vae, book, device, dtype, resident_bytes=0),
        options=StreamOptions(ring=recorded.LAYOUT, positions=Positions.ABSOLUTE, sink_threshold=None),
        forward=watched,
        memory_limit_bytes=LIMIT_BYTES,
        clock=SystemClock(),
        overlap=False,
    )
    try:
        yield Bench(watched, vae, Stepwise(engine))
    finally:
        engine.stop()
