"""What of a model is fetched from the Hugging Face Hub, and where it is put. The downloads themselves are injected.

Nothing here runs when a worker starts: `genlock models fetch` is run once, by a person or a job.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from genlock_core.errors import GenlockError
from genlock_worker.engines.diffusion.weights.model_files import (
    TRANSFORMER_FILE,
    model_config,
    model_folder,
    size_words,
)

Download = Callable[[str, str, Path], Path]
"""(repository, file in it, folder) -> the file, below the folder under its name in the repository."""

UNKNOWN_LICENCE = ("jerryfeng/StreamDiffusionV2", "daydreamlive/StreamDiffusionV2")
"""The published StreamDiffusionV2 weights and a mirror; neither states a licence."""

TRANSFORMERS = {
    "wan2.1-1.3b": "jerryfeng/StreamDiffusionV2:wan_causal_dmd_v2v/model.pt",
    "wan2.1-14b": "jerryfeng/StreamDiffusionV2:wan_causal_dmd_v2v_14b/model.pt",
}
"""REPOSITORY:FILE of each model's transformer."""
BASES = {"wan2.1-1.3b": "Wan-AI/Wan2.1-T2V-1.3B", "wan2.1-14b": "Wan-AI/Wan2.1-T2V-14B"}
"""Repository of each model's VAE, text encoder and tokenizer."""
BASE_FILES = (
    "Wan2.1_VAE.pth",
    "models_t5_umt5-xxl-enc-bf16.pth",
    "google/umt5-xxl/special_tokens_map.json",
    "google/umt5-xxl/spiece.model",
    "google/umt5-xxl/tokenizer.json",
    "google/umt5-xxl/tokenizer_config.json",
)

_PUBLISHED_FILE = "model.pt"


class FetchRefused(GenlockError):
    """Not fetched: the model has no files, a licence was not accepted, or the hub does not give a file."""


@dataclass(frozen=True, slots=True)
class WantedFile:
    """One file of a repository, and where it goes, below the model's folder."""

    repo: str
    file: str
    path: str


def wanted_files(
    model: str, *, transformer_repo: str | None, base_repo: str | None, accept_unknown_licence: bool
) -> list[WantedFile]:
    """What makes up a model. `transformer_repo`: REPOSITORY or REPOSITORY:FILE, None for the published one.

    Raises UnknownModel, FetchRefused.
    """
    if not model_config(model).needs_weights:
        raise FetchRefused(f"{model} needs no weights: without files it is made of random numbers")
    repo, _, file = (transformer_repo or TRANSFORMERS[model]).partition(":")
    if repo in UNKNOWN_LICENCE and not accept_unknown_licence:
        raise FetchRefused(
            f"the licence of the weights in {repo} is not stated: find out whether you may use them for what you "
            "want to do, then say so with --accept-unknown-licence; or name other weights with --transformer-repo"
        )
    file = file or TRANSFORMERS[model].partition(":")[2]
    path = TRANSFORMER_FILE if file.endswith(".safetensors") else _PUBLISHED_FILE
    base = base_repo or BASES[model]
    return [WantedFile(repo, file, path), *(WantedFile(base, name, name) for name in BASE_FILES)]


def fetch(
    wanted: Sequence[WantedFile], weights: Path, model: str, *, download: Download, say: Callable[[str], None]
) -> None:
    """Have these files below `<weights>/<model>/`; those that are there stay. Raises FetchRefused, naming the file."""
    folder = model_folder(weights, model)
    for number, one in enumerate(wanted, start=1):
        target = folder / one.path
        head = f"[{number}/{len(wanted)}] {one.path}"
        if target.is_file():
            say(f"{head}: is there, {size_words(target.stat().st_size)}")
        elif one.path == _PUBLISHED_FILE and (folder / TRANSFORMER_FILE).is_file():
            say(f"{head}: not needed, {TRANSFORMER_FILE} is there")
        else:
            say(f"{head}: from {one.repo}")
            _fetch(one, folder, download)
            say(f"{head}: done, {size_words(target.stat().st_size)}")


def hub_download(repo: str, file: str, folder: Path) -> Path:
    """A file of the Hugging Face Hub; goes on where it broke off, honours HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE.

    On a terminal it shows a bar. Raises what the library raises, which is not one family.
    """
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(repo, file, local_dir=folder))


def _fetch(one: WantedFile, folder: Path, download: Download) -> None:
    target = folder / one.path
    try:
        came = download(one.repo, one.file, folder)
        if came != target:
            target.parent.mkdir(parents=True, exist_ok=True)
            came.replace(target)
    except Exception as error:
        raise FetchRefused(
            f"{one.repo}/{one.file} cannot be fetched: {error}\nwhat came stays; run it again to go on"
        ) from error


@contextmanager
def ticking(folder: Path, say: Callable[[str], None], *, every_s: float = 10.0) -> Iterator[None]:
    """Say now and then how much lies below `folder`, parts of files included: for where no terminal shows a bar."""
    over = threading.Event()

    def tick() -> None:
        while not over.wait(every_s):
            with suppress(FileNotFoundError):  # a part got its name between the listing and the look
                size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                say(f"{size_words(size)} are there")

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
