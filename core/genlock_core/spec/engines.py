"""On how many GPUs each engine computes: the one table of it, for those who must know before an engine is there.

The engine says it of itself (`Engine.devices` of the worker), but only once it is loaded, and nobody but the worker can
ask it. A pool is checked and sized, and a worker refused, by this table; a test holds it against the engines.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

EngineKind = Literal["mock", "diffusion"]

MOST_GPUS: Final[Mapping[EngineKind, int | None]] = {"mock": None, "diffusion": 1}
"""None: any number, as the mock only stands for GPUs. Until the diffusion engine computes on several cards, it takes
one; more that a worker has lie idle, however fast the model was measured on them elsewhere."""

CoderKind = Literal["vae", "tiny"]
"""What turns pictures into latents or back: the model's VAE, or a small network in its place."""
ENCODER_VARIABLE: Final = "GENLOCK_WORKER_ENCODER"
DECODER_VARIABLE: Final = "GENLOCK_WORKER_DECODER"
"""How a worker is told of them (its options `--encoder` and `--decoder`)."""


@dataclass(frozen=True, slots=True)
class Coders:
    """What a worker codes pictures with: it decides how fast and how exact they are."""

    encoder: CoderKind = "vae"
    decoder: CoderKind = "vae"


def coders_of(environment: Mapping[str, str]) -> Coders:
    """Those of a worker with this environment. A word that is none stands for the VAE: the worker refuses it itself."""
    return Coders(_coder(environment.get(ENCODER_VARIABLE)), _coder(environment.get(DECODER_VARIABLE)))


def _coder(word: str | None) -> CoderKind:
    return "tiny" if word == "tiny" else "vae"


def engine_kind(name: str) -> EngineKind | None:
    """The engine that a worker names; None for a worker that does not, or names one of a later release."""
    return next((engine for engine in MOST_GPUS if engine == name), None)


def gpus_mistake(engine: EngineKind, gpus: int) -> str:
    """Why a worker of this engine cannot have so many GPUs; "" if it can."""
    most = MOST_GPUS[engine]
    if most is None or gpus <= most:
        return ""
    return f"the {engine} engine computes on {most} GPU{'s' if most > 1 else ''}, not on {gpus}"


def computed_on(engine: EngineKind, gpus: int) -> int:
    """How many of a worker's GPUs its engine computes on."""
    return min(gpus, MOST_GPUS[engine] or gpus)
