"""Which files a model consists of, below `<weights>/<model>/`, and the layouts in which they may lie. No torch.

Three layouts are known and may be mixed, part by part: Genlock's own (`genlock models convert`), the one of the
published checkpoints (StreamDiffusionV2's `model.pt` beside a Wan 2.1 base folder), and that of diffusers.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from genlock_worker.engines.diffusion.config import MODELS, DiffusionConfig
from genlock_worker.engines.diffusion.errors import MissingWeights, UnknownModel, WrongCheckpoint


class ModelPart(StrEnum):
    """What a model is made of; the value is what messages call it."""

    TRANSFORMER = "transformer"
    VAE = "VAE"
    TEXT_ENCODER = "text encoder"
    TOKENIZER = "tokenizer"
    TINY_VAE = "tiny encoder and decoder"


def _sharded(folder: str, stem: str) -> tuple[PurePosixPath, ...]:
    return tuple(PurePosixPath(folder, f"{stem}.safetensors{end}") for end in ("", ".index.json"))


TRANSFORMER_FILE = "transformer.safetensors"
"""What `genlock models convert` writes, and what is looked for first."""

LAYOUTS: dict[ModelPart, tuple[PurePosixPath, ...]] = {
    ModelPart.TRANSFORMER: (
        PurePosixPath(TRANSFORMER_FILE),
        PurePosixPath("model.pt"),
        *_sharded("transformer", "diffusion_pytorch_model"),
    ),
    ModelPart.VAE: (PurePosixPath("Wan2.1_VAE.pth"), *_sharded("vae", "diffusion_pytorch_model")),
    ModelPart.TEXT_ENCODER: (PurePosixPath("models_t5_umt5-xxl-enc-bf16.pth"), *_sharded("text_encoder", "model")),
    ModelPart.TOKENIZER: tuple(
        PurePosixPath(folder, name)
        for folder in ("google/umt5-xxl", "tokenizer")
        for name in ("tokenizer.json", "spiece.model")
    ),
    ModelPart.TINY_VAE: (PurePosixPath("taew2_1.safetensors"), PurePosixPath("taew2_1.pth")),
}
"""Where each part is looked for, the first that is there wins. A tokenizer is the folder of the file named here."""

REQUIRED = (ModelPart.TRANSFORMER, ModelPart.VAE, ModelPart.TEXT_ENCODER, ModelPart.TOKENIZER)
"""What a model cannot do without, unless small networks stand in the place of the whole VAE."""


@dataclass(frozen=True, slots=True)
class PartFiles:
    """One part as it lies on the disk: one file, or the shards of an index; for the tokenizer the folder's files."""

    part: ModelPart
    files: tuple[Path, ...]

    @property
    def folder(self) -> Path:
        return self.files[0].parent

    @property
    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self.files)


def model_config(name: str) -> DiffusionConfig:
    """The configuration of a model. Raises UnknownModel, which lists those there are."""
    if name not in MODELS:
        raise UnknownModel(name, tuple(MODELS))
    return MODELS[name]


def model_folder(weights: Path, model: str) -> Path:
    """Where a model's files lie. Raises UnknownModel."""
    return weights / model_config(model).name


def find_part(folder: Path, part: ModelPart) -> PartFiles | None:
    """The part's files, None if there are none. Raises WrongCheckpoint: a folder in a file's place, a bad index."""
    for below in LAYOUTS[part]:
        path = folder / below
        if path.is_dir():
            raise WrongCheckpoint(path, "is a folder, and should be a file")
        if path.exists():
            return PartFiles(part, _files(path, part))
    return None


def find_parts(folder: Path, *parts: ModelPart) -> dict[ModelPart, PartFiles]:
    """The files of all these parts. Raises MissingWeights, naming every path that was looked at; WrongCheckpoint."""
    if not folder.is_dir():
        raise MissingWeights(folder.name, [f"there is no folder {folder}"])
    found = {part: find_part(folder, part) for part in parts}
    missing = [missing_part(folder, part) for part, files in found.items() if files is None]
    if missing:
        raise MissingWeights(folder.name, missing)
    return {part: files for part, files in found.items() if files is not None}


def missing_part(folder: Path, part: ModelPart) -> str:
    """The sentence that says where a part was looked for."""
    return f"no {part}: looked in {folder} for {', '.join(str(path) for path in LAYOUTS[part])}"


def size_words(size: int) -> str:
    """Bytes as people write them: `2.84 GB`, `0.15 MB`."""
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.2f} MB"


def _files(path: Path, part: ModelPart) -> tuple[Path, ...]:
    if part is ModelPart.TOKENIZER:
        return (path, *sorted(other for other in path.parent.iterdir() if other.is_file() and other != path))
    if path.name.endswith(".index.json"):
        return shards(path)
    return (path,)


def shards(index: Path) -> tuple[Path, ...]:
    """The files that an index of shards names. Raises WrongCheckpoint: each must lie beside it."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise WrongCheckpoint(index, f"is no index of shards ({error!r})") from error
    if not names:
        raise WrongCheckpoint(index, "names no shards")
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise WrongCheckpoint(index, f"names the shard {name!r}, which does not lie beside it")
        if not index.with_name(name).is_file():
            raise WrongCheckpoint(index, f"names the shard {name}, which is not there")
    return tuple(index.with_name(name) for name in names)
