"""Rings from stored inputs: the frames that a ring holds are run through the network once more, in the order of time.

The first frames saw nothing but each other, so their keys and values come out as they were. A sink that was replaced
later is rebuilt from its own input: in the window while it is there, too, else beside the first frames. The window's
frames once saw frames that are gone: they are rebuilt from what is left and differ until they have rolled out, one
window later.

While the window is rebuilt its frames lie behind the sinks in the order of time, because attention reads a ring from
its start up to a length; at the end the ring's table says for each slot where its frame lies.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor

from genlock_worker.engines.algorithm.blend import Weights
from genlock_worker.engines.contract import EngineFailure
from genlock_worker.engines.diffusion.config import Positions
from genlock_worker.engines.diffusion.network.text_pool import TextKv
from genlock_worker.engines.diffusion.streaming.device_queue import DeviceQueue, Reached, at_once
from genlock_worker.engines.diffusion.streaming.kept import KeptOutput
from genlock_worker.engines.diffusion.streaming.micro_step import Forward, denoise
from genlock_worker.engines.diffusion.streaming.positions import frame_index, index_to_sinks, sink_index
from genlock_worker.engines.diffusion.streaming.row_cache import OPENING_FRAMES, RowCache, StoredLatent
from genlock_worker.engines.diffusion.streaming.row_work import RowWork

Texts = Callable[[Weights], TextKv]


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """One forward of the plan: these frames into these slots."""

    frames: tuple[StoredLatent, ...]
    slots: tuple[int, ...]
    filled: int
    """Filled slots once they are written: they attend to these."""
    sink: int | None = None
    """The sink slot that the frame takes as well."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """How a row's ring is rebuilt."""

    passes: tuple[Pass, ...]
    order: tuple[int, ...]
    """At the end slot j is to hold what then lies in slot `order[j]`."""


def plan(cache: RowCache) -> Plan:
    """The passes that rebuild what `cache` says its ring holds."""
    sinks = cache.layout.sinks
    passes: list[Pass] = []
    held: list[int] = []

    def add(frames: Sequence[StoredLatent], start: int, sink: int | None = None) -> None:
        held[start:] = [stored.frame for stored in frames]
        slots = tuple(range(start, start + len(frames)))
        passes.append(Pass(tuple(frames), slots, len(held), sink))
        if sink is not None:
            held[sink] = frames[0].frame

    # The stream's first frames come first: what follows was computed after them.
    for group in _together(cache.opening):
        add(group, group[0].frame)

    # Sinks that were replaced by frames which the window no longer has: each is computed, and put among the sinks.
    window = sorted(cache.slots[sinks:], key=lambda stored: stored.frame)
    replaced = {stored.frame: sink for sink, stored in enumerate(cache.sinks) if stored.frame != sink}
    for sink, stored in sorted(enumerate(cache.sinks), key=lambda pair: pair[1].frame):
        if stored.frame in replaced and stored.frame < window[0].frame:
            add([stored], sinks, sink)

    # The window itself, in the order of time.
    place = sinks
    for group in _together(window):
        if held[place : place + len(group)] != [stored.frame for stored in group]:
            add(group, place, replaced.get(group[0].frame))
        place += len(group)

    # Each frame goes to the slot in which the running session had it.
    lies = {stored.frame: sinks + number for number, stored in enumerate(window)}
    order = (*range(len(cache.sinks)), *(lies[stored.frame] for stored in cache.slots[sinks:]))
    return Plan(tuple(passes), order)


def rebuild(
    caches: Sequence[RowCache], *, session: str, forward: Forward, texts: Texts, positions: Positions
) -> Iterator[None]:
    """Fill the rings of one session's rows with what their records say, the rows side by side; yields at each forward.

    Raises EngineFailure if it does not fit into memory.
    """
    plans = [plan(cache) for cache in caches]
    for steps in zip_longest(*(one.passes for one in plans)):
        current = [(cache, step) for cache, step in zip(caches, steps, strict=True) if step is not None]
        for frames in sorted({len(step.frames) for _, step in current}, reverse=True):
            _run([pair for pair in current if len(pair[1].frames) == frames], session, forward, texts, positions)
            yield
    for cache, one in zip(caches, plans, strict=True):
        cache.ring.arrange(one.order)


def _run(
    pairs: Sequence[tuple[RowCache, Pass]], session: str, forward: Forward, texts: Texts, positions: Positions
) -> None:
    """One pass of some rows. Rows that begin alike (the first chunk is every row's) are computed once and copied."""
    leaders: dict[object, RowCache] = {}
    followed = [leaders.setdefault(_likeness(cache, step), cache) for cache, step in pairs]
    try:
        works = [
            _work(cache, step, session, texts, positions)
            for (cache, step), leader in zip(pairs, followed, strict=True)
            if leader is cache
        ]
    except torch.OutOfMemoryError as problem:
        raise EngineFailure(session, f"its prompts do not fit into memory: {problem}") from problem
    failed = [part.reason for part in denoise(works, forward) if isinstance(part, EngineFailure)]
    if failed:
        raise EngineFailure(session, failed[0])

    for (cache, step), leader in zip(pairs, followed, strict=True):
        if leader is not cache:
            cache.ring.copy_from(leader.ring)
        if step.sink is not None:
            cache.ring.switch(step.sink)


def _likeness(cache: RowCache, step: Pass) -> object:
    """Equal for passes that give the same ring: those of the same frames into an empty one."""
    begins = step.filled == len(step.frames)
    return tuple(stored.name for stored in step.frames) if begins else id(cache)


def _work(cache: RowCache, step: Pass, session: str, texts: Texts, positions: Positions) -> RowWork:
    layout = cache.layout
    frames = [stored.frame for stored in step.frames]
    newest = frames[-1]
    return RowWork(
        session=session,
        hidden=torch.stack([stored.latent for stored in step.frames]),
        timestep=step.frames[-1].timestep,
        ring=cache.ring,
        text=texts(step.frames[-1].prompts),
        slots=step.slots,
        filled=step.filled,
        positions=tuple(frame_index(positions, layout, frame) for frame in frames),
        sink_positions=tuple(index_to_sinks(positions, layout, frame, newest) for frame in frames),
        sink=step.sink,
        sink_position=sink_index(positions, layout, step.sink or 0, newest),
    )


def _together(frames: Sequence[StoredLatent]) -> list[list[StoredLatent]]:
    """Frames in the order of time, those of the first chunk as one group if both are there."""
    if [stored.frame for stored in frames[:OPENING_FRAMES]] == list(range(OPENING_FRAMES)):
        return [list(frames[:OPENING_FRAMES]), *([stored] for stored in frames[OPENING_FRAMES:])]
    return [[stored] for stored in frames]


def one_ahead(parts: Iterator[None], queue: DeviceQueue) -> Iterator[Reached]:
    """Do the parts one by one; yields what must be reached before the next one: the part before this is finished.

    So the device has one to go on with, and does not fall behind by more. Raises what it failed with.
    """
    before = at_once()
    for _ in parts:
        now = queue.reached()
        yield before
        before.result()
        before = now
    yield before
    before.result()


def priming_latents(outputs: Sequence[KeptOutput]) -> list[Tensor]:
    """What the decoder is to be run on, chunk by chunk: the last output latents.

    Where the session's own beginning is gone, the first latent that is left stands in for it.
    """
    latents = [kept.latents for kept in outputs]
    if outputs and outputs[0].chunk > 0:
        latents[0] = torch.cat([latents[0], latents[0]])
    return latents
