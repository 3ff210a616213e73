"""The mock engine's stand-in for VAE and transformer: small pictures, noised, attended over a row's ring, refined.

Everything later steps and the painter need of an input frame is its *working picture* (half size, through JPEG) and
the chunk's *latents* (an eighth of the size), so a snapshot of a chunk in flight is small and exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from genlock_worker.engines.algorithm import flow, noise
from genlock_worker.engines.algorithm.blend import Weights
from genlock_worker.engines.algorithm.ring import V2V_RING

Pixels = NDArray[np.uint8]
Latent = NDArray[np.float32]

WORKING_STRIDE = 2
LATENT_STRIDE = 8
_JPEG_QUALITY = 92
_NOISE_AMPLITUDE = 0.06
"""Standard deviation of unit noise in the latents' range of 0-1: enough to see its grain in a one-step picture."""
_SIMILARITY = 0.08
"""Distance in colour (0-1) at which two pixels count as half alike."""
_CLOSENESS = np.full((1, 3), -0.5 / _SIMILARITY**2, np.float32)
_MAX_LEVEL = 0.95
_OTHER_PROMPT = 0.4
"""How much a frame that was made under other prompts counts against one of the same."""


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """One latent frame in a ring: the inputs it was computed from, and what follows from them. Never mutated."""

    row: int
    frame: int
    latent: NDArray[np.float16]
    """The noised latent that the row was given, (h, w, 3)."""
    timestep: int
    level: float
    """The share of noise in `latent`."""
    prompts: Weights
    estimate: Latent
    """The picture that `latent` suggests by itself, (h, w, 3) in 0-1."""

    @property
    def name(self) -> str:
        """Its name in snapshots, for ever."""
        return f"r{self.row}.f{self.frame}"


def stored_frame(
    *, row: int, frame: int, latent: NDArray[np.float16], timestep: int, level: float, prompts: Weights
) -> StoredFrame:
    """A stored frame from its inputs alone, so that a restored one equals the one that was written."""
    clean = latent.astype(np.float32) / np.float32(1.0 - min(level, _MAX_LEVEL))
    estimate = cv2.GaussianBlur(clean, (0, 0), 0.6 + 1.4 * level).astype(np.float32, copy=False)
    return StoredFrame(row, frame, latent, timestep, level, prompts, estimate)


def halved(frames: Pixels) -> list[Pixels]:
    """Each frame (height, width, 3) at half its size."""
    size = (frames.shape[2] // WORKING_STRIDE, frames.shape[1] // WORKING_STRIDE)
    return [cv2.resize(f, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False) for f in frames]


def compress(pictures: Sequence[Pixels]) -> tuple[Pixels, ...]:
    """Half-size pictures as JPEG bytes: what a snapshot keeps of an input frame."""
    coded = []
    for picture in pictures:
        ok, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        if not ok:
            raise ValueError(f"a picture of shape {picture.shape} could not be compressed")
        coded.append(data.reshape(-1))
    return tuple(coded)


def expand(coded: Sequence[Pixels]) -> Pixels:
    """The working pictures (frames, height/2, width/2, 3) of compressed frames."""
    pictures = []
    for data in coded:
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
        if picture is None:
            raise ValueError("a stored input frame is not a readable JPEG")
        pictures.append(picture)
    return np.stack(pictures).astype(np.uint8, copy=False)


def latents_of(pictures: Pixels, latent_frames: int) -> Latent:
    """The chunk's latents (latent_frames, h, w, 3) in 0-1: the first chunk's first frame alone, then means of four."""
    height, width = (side * WORKING_STRIDE // LATENT_STRIDE for side in pictures.shape[1:3])
    small = np.stack([cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in pictures])
    groups = [small[:1], small[1:]] if latent_frames == 2 else [small]
    means = np.stack([group.mean(axis=0, dtype=np.float32) for group in groups])
    return (means / np.float32(255.0)).astype(np.float32, copy=False)


def noised(latents: Latent, *, level: float, grain: NDArray[np.float32]) -> NDArray[np.float16]:
    """Mix latents with noise; float16 is the stored form, so that what is computed with is what a snapshot holds."""
    share = np.float32(level)
    return ((np.float32(1.0) - share) * latents + share * np.float32(_NOISE_AMPLITUDE) * grain).astype(np.float16)


def attend(own: StoredFrame, frames: Mapping[int, StoredFrame]) -> Latent:
    """What the ring says about `own`: per pixel, the mean of all stored frames weighted by how alike they are.

    Where nothing moved, the window (and the sinks) average the noise away and hold the picture still; where something
    moved, the others have no say, so nothing trails behind.
    """
    query = own.estimate
    total = np.zeros_like(query)
    weights = np.zeros(query.shape[:2], np.float32)

    for stored in frames.values():
        likeness = cv2.transform(np.square(query - stored.estimate), _CLOSENESS)
        weight = np.exp(likeness)
        if stored.prompts != own.prompts:
            weight *= np.float32(_OTHER_PROMPT)
        total += stored.estimate * weight[..., None]
        weights += weight

    return total / weights[..., None]


def refine(*, attended: Latent, latent: Latent, timestep: int) -> Latent:
    """One step's answer: from what the ring says towards the input, further the less noise the step is told of."""
    trust = np.float32(0.35 + 0.5 * (1.0 - min(timestep, 1000) / 1000))
    return attended + trust * (latent - attended)


@dataclass(frozen=True, slots=True)
class Anchor:
    """What the sinks hold fast for the whole stream."""

    colour: tuple[float, float, float]
    """Mean colour (0-1) that the picture's tones are drawn to."""
    light: tuple[float, float]
    """Where the light of the sinks lies (x, y in 0-1): the centre of the vignette."""
    phases: tuple[tuple[int, int], ...]
    """Offsets in pixels of paper, strokes and wobble: one from each sink frame."""


def anchor_of(frames: Mapping[int, StoredFrame]) -> Anchor:
    """The sinks' statistics; they change only while the sinks fill (latent frames 0-2)."""
    sinks = [frames[index].estimate for index in range(V2V_RING.sinks) if index in frames]
    means = [sink.mean(axis=(0, 1), dtype=np.float64) for sink in sinks]
    colour = np.mean(means, axis=0)
    light = np.clip(np.mean(sinks, axis=0).sum(axis=2), 0.0, None).astype(np.float64)
    total = max(float(light.sum()), 1e-6)
    x = float((light.sum(axis=0) * np.linspace(0, 1, light.shape[1])).sum()) / total
    y = float((light.sum(axis=1) * np.linspace(0, 1, light.shape[0])).sum()) / total
    phases = [(int(331 * m[0] + 197 * m[1]), int(271 * m[2] + 229 * m[1])) for m in means]
    phases += [(0, 0)] * (V2V_RING.sinks - len(phases))

    return Anchor((float(colour[0]), float(colour[1]), float(colour[2])), (x, y), tuple(phases))


def flow_of(frames: Mapping[int, StoredFrame]) -> NDArray[np.float32]:
    """The direction of forms, (h, w, 2) as cosine and sine of twice the angle, averaged over the whole ring.

    Newer frames count more; the older ones keep strokes from turning with every chunk.
    """
    field: NDArray[np.float32] | None = None
    for age, stored in enumerate(sorted(frames.values(), key=lambda s: -s.frame)):
        grey = cv2.cvtColor(stored.estimate, cv2.COLOR_RGB2GRAY)
        dx, dy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
        tensor = np.dstack([dy * dy - dx * dx, -2.0 * dx * dy]) * np.float32(0.9**age)
        field = tensor if field is None else field + tensor

    if field is None:
        raise ValueError("a ring without frames has no flow")
    return cv2.GaussianBlur(field, (0, 0), 3.0).astype(np.float32, copy=False)


def step_level(step: int, level: noise.NoiseLevel) -> tuple[int, float]:
    """(timestep, share of noise) with which a row is entered."""
    timestep = flow.V2V_STEPS[step]
    return (level.timestep, level.scale) if step == 0 else (timestep, flow.sigma(timestep))
