"""What a snapshot of a session holds, and the session that it describes (`taken_state` writes it, here it is read).

Blocks are written once: stored frames (`r1.f12`), the last input frames (`i.c9`) and output latents (`o.c8`), the
embeddings of the prompts in use (`p.` and the digest's beginning). The head holds the next input of each chunk in
flight. The rings themselves are not stored: they are computed again from what is. Whatever comes in is taken for
damaged until it has been shown to be a session that can go on.
"""

import re
from collections import deque
from collections.abc import Generator, Mapping, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genlock_worker.engines.algorithm.blend import Weights
from genlock_worker.engines.algorithm.noise import NoiseLevel
from genlock_worker.engines.contract import EngineState, StreamSettings, chunk_frames
from genlock_worker.engines.diffusion.prompt_book import Embedding
from genlock_worker.engines.diffusion.snapshots import state_facts
from genlock_worker.engines.diffusion.snapshots.state_facts import InFlightFacts, RowFacts, StateFacts
from genlock_worker.engines.diffusion.snapshots.taken_state import hidden_name, identity
from genlock_worker.engines.diffusion.streaming import restore
from genlock_worker.engines.diffusion.streaming.device_queue import Reached
from genlock_worker.engines.diffusion.streaming.in_flight import DenoisedChunk, at_hand
from genlock_worker.engines.diffusion.streaming.kept import KeptInput, KeptOutput, KeptPrompt
from genlock_worker.engines.diffusion.streaming.row_cache import RowCache, StoredLatent, chunk_of, latent_frames
from genlock_worker.engines.diffusion.streaming.session import LATENT_STRIDE, DiffusionSession
from genlock_worker.engines.diffusion.streaming.shared import Shared
from genlock_worker.engines.diffusion.streaming.sinks import PendingSink
from genlock_worker.engines.diffusion.streaming.transfers import download, from_host, typed

DAMAGE = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
    MemoryError,
    cv2.error,
)
"""What a damaged state raises while it is read."""
_FRAME_NAME = re.compile(r"r(\d{1,2})\.f(\d{1,12})(\.p[0-9a-f]{16})?")
Arrays = Mapping[str, NDArray[np.generic]]


def read_facts(state: EngineState, settings: StreamSettings, shared: Shared) -> tuple[StateFacts, list[InFlightFacts]]:
    """The facts of a state that belongs to these settings, and of its chunks in flight. Raises one of DAMAGE."""
    facts = StateFacts.model_validate(dict(state.attributes))
    if len(state.in_flight) > state_facts.MAX_IN_FLIGHT:
        raise ValueError(f"{len(state.in_flight)} chunks in flight, at most {state_facts.MAX_IN_FLIGHT} can be")
    chunks = [state_facts.InFlightFacts.of(one) for one in state.in_flight]
    differing = [name for name, value in identity(settings, shared).items() if facts.identity.get(name) != value]
    if differing:
        raise ValueError(f"the snapshot is of another session: {', '.join(differing)} differ")
    state_facts.check(facts, chunks, chunk=state.chunk, text_only=settings.text_only)
    return facts, chunks


def from_state(
    name: str,
    state: EngineState,
    facts: StateFacts,
    chunks: Sequence[InFlightFacts],
    settings: StreamSettings,
    shared: Shared,
) -> Generator[Reached, None, DiffusionSession]:
    """The session that a state describes, its rings computed anew and the VAE brought near to where it was.

    Goes on part by part, yields what must be done before the next one, and returns the session. Prompt and noise scale
    are the state's, not the settings'.
    Raises one of DAMAGE, EngineFailure and torch.OutOfMemoryError.
    """
    # Everything is read and checked before there is a session.
    counters = [[_frame_named(name)[1] for name in row.slots] for row in facts.rows]
    state_facts.check_rows(facts, chunks, counters, chunk=state.chunk, layout=shared.options.ring)
    pending_sink = _restored_sink(state, counters, chunks, shared)
    reader = _Reader(state, settings, shared)
    stored = [reader.row(row) for row in facts.rows]
    prompts = {digest: reader.prompt(digest) for digest in facts.embeddings}
    hidden = {in_flight.index: reader.hidden(in_flight.index) for in_flight in chunks}
    primed = max(1, shared.options.primed_chunks)
    inputs = [reader.input(chunk) for chunk in facts.inputs[-primed:]]
    outputs = [reader.output(chunk) for chunk in facts.outputs[-primed:]]

    session = DiffusionSession(
        name=name,
        settings=settings,
        shared=shared,
        stream=shared.components.vae.open(),
        prompt=facts.wanted.prompt,
        noise_scale=facts.wanted.noise_scale,
        blend=facts.blend.value(),
        kept_prompts=prompts,
        chunk=state.chunk,
        fed_rows=facts.fed_rows,
        prompts=state_facts.weights(facts.prompts),
        scale=facts.scale,
        pending_sink=pending_sink,
        last=inputs[-1][1][-1] if inputs else None,
        inputs=deque(kept for kept, _ in inputs),
        outputs=deque(outputs),
    )
    _check_prompts(session, stored, chunks)

    # The VAE is primed beside the rings: all of it takes long, and nothing waits for another.
    encoder_primed = shared.inputs.prime(session.stream, [frames for _, frames in inputs])
    decoder_primed = shared.pictures.prime(session.stream, restore.priming_latents(outputs))
    try:
        session.grow(len(facts.rows))
        for cache, (slots, opening), row in zip(session.rows, stored, facts.rows, strict=True):
            cache.slots = slots
            cache.opening = opening
            cache.replaced_in = row.replaced_in

        yield from restore.one_ahead(session.rebuild(session.rows), shared.queue)
        # What is stored was finite, what is computed from it need not be.
        are_finite = [_are_finite(cache) for cache in session.rows]
        yield (reached := shared.queue.reached())
        reached.result()
        if not all(bool(told) for told in are_finite):
            raise ValueError("the rings that are computed from it hold numbers that are not finite")

        for primed_half in (encoder_primed, decoder_primed):
            yield primed_half
            primed_half.result()

        # Only now: while the rings were computed there were the prompts of what is stored, and no room for more.
        session.chunks_in_flight = {
            in_flight.index: _restored_in_flight(in_flight, hidden[in_flight.index], session) for in_flight in chunks
        }
        session.text = session.keys_values(session.prompts) if session.prompts else None
    except BaseException:
        # Now, and not when nobody refers to the session any more: what was raised refers to it.
        session.close()
        raise

    return session


def _restored_in_flight(facts: InFlightFacts, hidden: Tensor, session: DiffusionSession) -> DenoisedChunk:
    prompts = state_facts.weights(facts.prompts)
    return DenoisedChunk(
        index=facts.index,
        rows=facts.rows,
        submitted=facts.done,
        timesteps=tuple(facts.timesteps),
        steps_before=facts.steps_before,
        level=NoiseLevel(*facts.level),
        prompts=prompts,
        text=session.keys_values(prompts),
        refreshes=facts.refreshes,
        given=at_hand(hidden),
    )


def _restored_sink(
    state: EngineState, rows: Sequence[Sequence[int]], chunks: Sequence[InFlightFacts], shared: Shared
) -> PendingSink | None:
    """What was decided about sinks; None also of a state that is older than such decisions. Raises ValueError."""
    replacement = state.sink_replacement
    if replacement is None:
        return None
    leaves = chunks[0].index if chunks else state.chunk + 1
    state_facts.check_sink_replacement(replacement, rows, layout=shared.options.ring, leaves=leaves)
    return PendingSink(replacement.sink, chunk_of(replacement.frame))


def _check_prompts(
    session: DiffusionSession,
    stored: Sequence[tuple[tuple[StoredLatent, ...], tuple[StoredLatent, ...]]],
    chunks: Sequence[InFlightFacts],
) -> None:
    """Raise ValueError if a prompt that is named has no embedding."""
    mixtures = [frame.prompts for row in stored for frames in row for frame in frames]
    mixtures += [state_facts.weights(in_flight.prompts) for in_flight in chunks]
    mixtures += [session.prompts, session.blend.start]
    named = {digest for mixture in mixtures for digest, _ in mixture} | {session.prompt, session.blend.target}
    missing = named - session.kept_prompts.keys()
    if missing:
        raise ValueError(f"prompts without an embedding: {', '.join(sorted(missing))}")


def _are_finite(cache: RowCache) -> Tensor:
    """Whether a row's ring is finite (a tensor on the host, to be read once the device has come to here).

    A mean is not finite where one of its numbers is.
    """
    ring = cache.ring
    return download(torch.stack([ring.pool.means[:, slot[0]] for slot in ring.slots]).isfinite().all())


def _frame_named(name: str) -> tuple[int, int, bool]:
    """Row, frame and whether it was refreshed, of a stored frame by its name. Raises ValueError for another name."""
    found = _FRAME_NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"{name!r} is no name of a stored frame")
    return int(found[1]), int(found[2]), found[3] is not None


class _Reader:
    """Takes a state's arrays for what their names say; every method raises one of DAMAGE for what is not."""

    def __init__(self, state: EngineState, settings: StreamSettings, shared: Shared) -> None:
        self._state = state
        self._settings = settings
        self._parts = shared.components
        self._frames: dict[str, StoredLatent] = {}
        area = settings.height // LATENT_STRIDE, settings.width // LATENT_STRIDE
        self._latent_shape = (shared.components.config.transformer.channels, *area)

    def row(self, facts: RowFacts) -> tuple[tuple[StoredLatent, ...], tuple[StoredLatent, ...]]:
        """A row's stored frames: by slot, and the first ones."""
        opening = tuple(map(self._frame, facts.opening))
        if [stored.frame for stored in opening] != list(range(len(opening))):
            raise ValueError(f"these are not the first frames: {', '.join(facts.opening)}")
        return tuple(map(self._frame, facts.slots)), opening

    def prompt(self, digest: str) -> KeptPrompt:
        arrays = self._block(f"p.{digest[:16]}")
        config = self._parts.config.transformer
        if typed(arrays["digest"], np.uint8, ndim=1).tobytes().hex() != digest:
            raise ValueError(f"the embedding of prompt {digest} is another one's")
        stored = arrays["embedding"]
        if stored.ndim != 2 or stored.shape[1] != config.text_dim or not 1 <= len(stored) <= config.text_length:
            raise ValueError(f"an embedding is (1 to {config.text_length}, {config.text_dim}), not {stored.shape}")
        rows = from_host(stored, self._parts.dtype).to(torch.float32)
        return KeptPrompt(digest, Embedding(rows), self._parts.dtype)

    def hidden(self, chunk: int) -> Tensor:
        return self._latents(self._state.head[hidden_name(chunk)], (len(latent_frames(chunk)), *self._latent_shape))

    def input(self, chunk: int) -> tuple[KeptInput, NDArray[np.uint8]]:
        shape = (chunk_frames(chunk), self._settings.height, self._settings.width, 3)
        return KeptInput.known(chunk, self._block(f"i.c{chunk}"), shape=shape)

    def output(self, chunk: int) -> KeptOutput:
        shape = (len(latent_frames(chunk)), *self._latent_shape)
        return KeptOutput(chunk, self._latents(self._block(f"o.c{chunk}")["latents"], shape))

    def _frame(self, name: str) -> StoredLatent:
        """A stored frame; rows that share one get the same."""
        if name in self._frames:
            return self._frames[name]

        (row, frame, refreshed), arrays = _frame_named(name), self._block(name)
        stored = StoredLatent(
            row=row,
            frame=frame,
            latent=self._latents(arrays["latent"], self._latent_shape),
            timestep=float(typed(arrays["timestep"], np.float64, ndim=0)),
            prompts=_mixture(arrays),
            refreshed=refreshed,
        )
        if stored.name != name or int(typed(arrays["frame"], np.int64, ndim=0)) != stored.frame:
            raise ValueError(f"stored frame {name} says that it is another one")
        if not 0 <= stored.timestep <= 1000:
            raise ValueError(f"stored frame {name} has timestep {stored.timestep}")

        self._frames[name] = stored
        return stored

    def _latents(self, array: NDArray[np.generic], shape: tuple[int, ...]) -> Tensor:
        if array.shape != shape:
            raise ValueError(f"latents of {shape} expected, not {array.shape}")
        return from_host(array, self._parts.dtype).to(self._parts.device)

    def _block(self, name: str) -> Arrays:
        try:
            return self._state.blocks[name]
        except KeyError:
            raise ValueError(f"block {name} is missing") from None


def _mixture(arrays: Arrays) -> Weights:
    """The prompts of a stored frame: 32 bytes of digest and a weight each."""
    digests = typed(arrays["prompts"], np.uint8, ndim=1).reshape(-1, 32)
    shares = typed(arrays["weights"], np.float64, ndim=1)
    if len(digests) > state_facts.MAX_MIXED:
        raise ValueError(f"a stored frame has {len(digests)} prompts, at most {state_facts.MAX_MIXED} are mixed")
    pairs = [(digest.tobytes().hex(), float(share)) for digest, share in zip(digests, shares, strict=True)]
    return state_facts.weights(state_facts.check_mixture(pairs))
