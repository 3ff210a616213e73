"""A session as an EngineState and back, to the byte.

Blocks are the stored frames (`r1.f12`), written once. The head holds what is in flight: its input as JPEG and the
latents its next row is given. Attributes are JSON values; floats survive JSON exactly.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from genlock_worker.engines.algorithm.blend import PromptBlend, Weights, prompt_digest
from genlock_worker.engines.algorithm.noise import NoiseLevel
from genlock_worker.engines.contract import ChunkState, EngineState, StreamSettings
from genlock_worker.engines.mock.latents import LATENT_STRIDE, StoredFrame, stored_frame
from genlock_worker.engines.mock.session import MockSession, PaintedChunk, Ring, check_steps
from genlock_worker.engines.mock.textures import Brushes

FORMAT = 1
Arrays = Mapping[str, NDArray[np.generic]]


def to_state(session: MockSession, *, model: str) -> EngineState:
    """The state of a session now, as references to arrays that are never written to again."""
    kept: dict[str, StoredFrame] = {}
    for held in (*session.rings.values(), *(f.inherited or {} for f in session.chunks_in_flight.values())):
        kept.update((stored.name, stored) for stored in held.values())

    head: dict[str, NDArray[np.generic]] = {}
    if session.last is not None:
        head["last"] = session.last

    for painted in session.chunks_in_flight.values():
        head.update({f"c{painted.index}.frame{n}": data for n, data in enumerate(painted.coded)})
        if painted.hidden is not None:
            head[f"c{painted.index}.hidden"] = painted.hidden

    attributes: dict[str, object] = {
        "format": FORMAT,
        "identity": _identity(session.settings, model),
        "wanted": {
            "prompt": session.prompt,
            "steps": session.fed_steps or session.settings.steps,
            "noiseScale": session.noise_scale,
        },
        "prompts": dict(session.prompts),
        "blend": _blend_out(session.blend),
        "fedSteps": session.fed_steps,
        "frames": session.frames,
        "scale": session.scale,
        "rings": {str(row): _ring_out(held) for row, held in session.rings.items()},
    }
    blocks = {name: _block_out(stored) for name, stored in kept.items()}

    return EngineState(
        chunk=session.chunk,
        in_flight=tuple(map(_stored_in_flight, session.chunks_in_flight.values())),
        attributes=attributes,
        head=head,
        blocks=blocks,
        sink_digests=session.sink_digests(),
    )


def from_state(state: EngineState, settings: StreamSettings, brushes: Brushes, *, model: str) -> MockSession:
    """The session that `to_state` described; prompt, steps and noise scale are the state's, not the settings'.

    Raises ValueError, KeyError or TypeError if the state is not one of ours or not for these settings.
    """
    attributes: Any = state.attributes
    if attributes["format"] != FORMAT:
        raise ValueError(f"snapshot format {attributes['format']} is not {FORMAT}")

    identity = _identity(settings, model)
    differing = [name for name, value in identity.items() if attributes["identity"][name] != value]
    if differing:
        raise ValueError(f"the snapshot is of another session: {', '.join(differing)} differ")

    # The state comes from Redis: what does not fit together is refused before anything is made of it.
    wanted = attributes["wanted"]
    check_steps(wanted["steps"])
    prompts = {str(digest): str(text) for digest, text in attributes["prompts"].items()}
    if any(prompt_digest(text) != digest for digest, text in prompts.items()):
        raise ValueError("a stored prompt does not match its digest")

    shape = (settings.height // LATENT_STRIDE, settings.width // LATENT_STRIDE, 3)
    frames = {name: _block_in(name, arrays, shape) for name, arrays in state.blocks.items()}
    scale = attributes["scale"]
    session = MockSession(
        settings=settings,
        brushes=brushes,
        prompt=str(wanted["prompt"]),
        noise_scale=float(wanted["noiseScale"]),
        blend=_blend_in(attributes["blend"]),
        prompts=prompts,
        chunk=state.chunk,
        fed_steps=int(attributes["fedSteps"]),
        frames=int(attributes["frames"]),
        scale=None if scale is None else float(scale),
        last=_bytes(state.head["last"]) if "last" in state.head else None,
        rings={int(row): _ring_in(held, frames) for row, held in attributes["rings"].items()},
    )

    indices = [entry.index for entry in state.in_flight]
    if indices != list(range(state.chunk + 1 - len(indices), state.chunk + 1)):
        raise ValueError(f"chunks {indices} cannot be in flight where chunk {state.chunk} was the last one")
    for entry in state.in_flight:
        painted = _restored_in_flight(entry, state.head, frames)
        session.chunks_in_flight[painted.index] = painted

    return session


def _identity(settings: StreamSettings, model: str) -> dict[str, object]:
    """What must be the same on both sides of a snapshot."""
    return {
        "model": model,
        "width": settings.width,
        "height": settings.height,
        "frameRate": settings.frame_rate,
        "seed": settings.seed,
        "textOnly": settings.text_only,
    }


def _blend_out(blend: PromptBlend) -> dict[str, object]:
    return {"start": [list(pair) for pair in blend.start], "target": blend.target, "done": blend.done}


def _blend_in(entry: Any) -> PromptBlend:
    return PromptBlend(start=_weights(entry["start"]), target=str(entry["target"]), done=int(entry["done"]))


def _weights(pairs: Iterable[Any]) -> Weights:
    return tuple((str(digest), float(weight)) for digest, weight in pairs)


def _ring_out(held: Ring) -> list[object]:
    return [[slot, stored.name] for slot, stored in sorted(held.items())]


def _ring_in(entry: Any, frames: Mapping[str, StoredFrame]) -> Ring:
    missing = [name for _, name in entry if name not in frames]
    if missing:
        raise ValueError(f"stored frames are missing: {', '.join(missing)}")
    return {int(slot): frames[name] for slot, name in entry}


def _stored_in_flight(painted: PaintedChunk) -> ChunkState:
    return ChunkState(
        index=painted.index,
        steps=painted.steps,
        rows=painted.steps,
        done=painted.done,
        first_frame=painted.first_frame,
        latents=len(painted.latent),
        pictures=len(painted.working),
        attributes={
            "stepsBefore": painted.steps_before,
            "level": [painted.level.scale, painted.level.timestep],
            "blend": _blend_out(painted.blend),
            "inputs": len(painted.coded),
            "inherited": None if painted.inherited is None else _ring_out(painted.inherited),
        },
    )


def _restored_in_flight(state: ChunkState, head: Arrays, frames: Mapping[str, StoredFrame]) -> PaintedChunk:
    check_steps(state.steps)
    if state.rows != state.steps or not 0 <= state.done < state.rows:
        raise ValueError(f"chunk {state.index} has {state.done} of {state.rows} rows in {state.steps} steps")

    index, entry = state.index, cast("Any", state.attributes)
    inherited = entry["inherited"]
    painted = PaintedChunk(
        index=index,
        steps=state.steps,
        steps_before=int(entry["stepsBefore"]),
        first_frame=state.first_frame,
        level=NoiseLevel(scale=float(entry["level"][0]), timestep=int(entry["level"][1])),
        blend=_blend_in(entry["blend"]),
        coded=tuple(_bytes(head[f"c{index}.frame{n}"]) for n in range(int(entry["inputs"]))),
        done=state.done,
        hidden=_half(head[f"c{index}.hidden"]) if state.done else None,
        inherited=None if inherited is None else _ring_in(inherited, frames),
    )
    if (len(painted.latent), len(painted.working)) != (state.latents, state.pictures):
        raise ValueError(f"chunk {index} has other frames than its state says")

    return painted


def _block_out(stored: StoredFrame) -> dict[str, NDArray[np.generic]]:
    """The inputs that a stored frame is a function of."""
    return {
        "latent": stored.latent,
        "frame": np.array(stored.frame, np.int64),
        "timestep": np.array(stored.timestep, np.int64),
        "level": np.array(stored.level, np.float64),
        "prompts": np.frombuffer(b"".join(bytes.fromhex(digest) for digest, _ in stored.prompts), np.uint8),
        "weights": np.array([weight for _, weight in stored.prompts], np.float64),
    }


def _block_in(name: str, arrays: Arrays, shape: tuple[int, ...]) -> StoredFrame:
    latent = _half(arrays["latent"])
    if latent.shape != shape:
        raise ValueError(f"stored frame {name} has shape {latent.shape}, not {shape}")

    digests = np.asarray(arrays["prompts"], np.uint8).reshape(-1, 32)
    weights = np.asarray(arrays["weights"], np.float64).reshape(-1)
    stored = stored_frame(
        row=int(name[1 : name.index(".")]),
        frame=int(np.asarray(arrays["frame"]).item()),
        latent=latent,
        timestep=int(np.asarray(arrays["timestep"]).item()),
        level=float(np.asarray(arrays["level"]).item()),
        prompts=tuple((d.tobytes().hex(), float(w)) for d, w in zip(digests, weights, strict=True)),
    )
    if stored.name != name:
        raise ValueError(f"stored frame {name} says that it is {stored.name}")

    return stored


def _half(array: NDArray[np.generic]) -> NDArray[np.float16]:
    if array.dtype != np.float16:
        raise ValueError(f"latents are float16, not {array.dtype}")
    return np.asarray(array, np.float16)


def _bytes(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        raise ValueError(f"input frames are uint8, not {array.dtype}")
    return np.asarray(array, np.uint8)
