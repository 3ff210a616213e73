"""The libraries that a machine with PyTorch usually lacks. Standard library alone.

Such a machine is expected to have torch, transformers, tokenizers, safetensors, numpy and OpenCV: what is large, or
built for its driver, is not carried. How their wheels are got: `download`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Bundle:
    """Distributions that belong together: all of them are unpacked where `module` is missing."""

    module: str
    distributions: tuple[str, ...]


BUNDLES = (
    Bundle("diffusers", ("diffusers",)),
    Bundle("ftfy", ("ftfy", "wcwidth")),
    Bundle("pydantic", ("pydantic", "pydantic-core", "annotated-types", "typing-inspection", "typing-extensions")),
)
ENCODER = Bundle("av", ("av",))
"""For the encoder's line of the stage `machine` alone; 36 MB."""


def wheels_of(folder: Path, distributions: Iterable[str]) -> list[Path]:
    """The wheels of these distributions that lie in a folder."""
    names = {name.replace("-", "_").lower() for name in distributions}
    return sorted(wheel for wheel in folder.glob("*.whl") if wheel.name.split("-")[0].lower() in names)
