"""Whether a model's files are all there and are what they should be, without loading them: tables alone are read."""

from collections.abc import Callable
from pathlib import Path

from genlock_core.errors import GenlockError
from genlock_worker.engines.diffusion.config import DiffusionConfig
from genlock_worker.engines.diffusion.errors import WrongCheckpoint
from genlock_worker.engines.diffusion.network.coding import tiny_decoder, tiny_encoder
from genlock_worker.engines.diffusion.weights import skeletons
from genlock_worker.engines.diffusion.weights.checkpoints import fit, open_checkpoint
from genlock_worker.engines.diffusion.weights.model_files import (
    REQUIRED,
    ModelPart,
    PartFiles,
    find_part,
    missing_part,
    model_config,
    model_folder,
    size_words,
)
from genlock_worker.engines.diffusion.weights.volume import digest


def verify_model(weights: Path, model: str, *, say: Callable[[str], None]) -> list[str]:
    """Everything that is wrong with a model's files; `say` gets a line for each part that is right.

    Raises UnknownModel.
    """
    config, folder = model_config(model), model_folder(weights, model)
    if not folder.is_dir():
        get = f"`genlock models fetch {model} --into {weights}` gets it"
        none = "none is needed, as without files it is made of random numbers"
        return [f"{model}: there is no folder {folder}; {get if config.needs_weights else none}"]

    problems = []
    for part in ModelPart:
        try:
            found = find_part(folder, part)
            if found is not None:
                say(f"{model}: {part}: {_described(found, config)}")
            elif part in REQUIRED:
                problems.append(f"{model}: {missing_part(folder, part)}")
        except GenlockError as error:
            problems.append(f"{model}: {part}: {error}")

    return problems


def verify_digests(weights: Path, listed: str, *, say: Callable[[str], None]) -> list[str]:
    """Everything in which files differ from a list as `sha256sum` writes it; paths are below `weights`."""
    problems = []
    for number, line in enumerate(listed.splitlines(), start=1):
        if not line.strip():
            continue
        wanted, _, name = line.strip().partition(" ")
        name = name.lstrip(" *")
        path = weights / name
        if len(wanted) != 64 or not name or not path.resolve().is_relative_to(weights.resolve()):
            problems.append(f"line {number}: not a sha256 and a path below {weights}: {line.strip()!r}")
        elif not path.is_file():
            problems.append(f"{path}: is not there")
        elif digest(path) != wanted.lower():
            problems.append(f"{path}: is another file than its sha256 says; fetch it again")
        else:
            say(f"{name}: sha256 is right")
    return problems


def _described(found: PartFiles, config: DiffusionConfig) -> str:
    """A part that is right, in words. Raises WrongCheckpoint."""
    where = f"{found.files[0]}, {size_words(found.bytes)}"
    if found.part is ModelPart.TOKENIZER:
        if not found.files[0].stat().st_size:
            raise WrongCheckpoint(found.files[0], "is empty; fetch it again")
        return where
    checkpoint = open_checkpoint(found.files)
    if found.part is ModelPart.TINY_VAE:
        return f"{where}, {tiny_encoder.check(checkpoint) + tiny_decoder.check(checkpoint)} tensors"
    expected = skeletons.expected(found.part, config)
    stored = fit(checkpoint, expected.rename, expected.shapes)
    return f"{where}, {len(stored)} tensors"
