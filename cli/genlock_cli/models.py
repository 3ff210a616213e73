"""`genlock models ...`: bring a model's weights to this machine, look whether they are right, convert them."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated

import av
import numpy as np
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from genlock_core.errors import BadInput
from genlock_core.spec.session import Resolution
from genlock_worker.engines import EngineNotInstalled
from genlock_worker.engines.contract import Frames
from genlock_worker.engines.diffusion.config import MODELS
from genlock_worker.engines.diffusion.weights.model_files import model_config, model_folder
from genlock_worker.intake.pattern import draw
from genlock_worker.profiling.plan import parse_resolution

app = typer.Typer(help="The models' weights: fetch, verify, convert.", no_args_is_help=True)

Into = Annotated[
    Path, typer.Option(help="The folder of all models' weights: what workers get as --weights.", file_okay=False)
]

PSNR_PICTURES = 33
"""Two seconds of a stream: its first chunk and seven later ones."""

_SAY_EVERY_SHARE = 0.1
"""How often a conversion says where it is, where no terminal shows a bar."""


class FileDtype(StrEnum):
    """What numbers a converted file holds."""

    BF16 = "bf16"
    FP16 = "fp16"
    FP32 = "fp32"


class NothingToVerify(BadInput):
    """No folder of a known model."""


@app.command()
def fetch(
    model: Annotated[str, typer.Argument(help="The model, such as wan2.1-1.3b.")],
    into: Into,
    transformer_repo: Annotated[
        str | None, typer.Option(help="REPOSITORY or REPOSITORY:FILE on the Hugging Face Hub, for other weights.")
    ] = None,
    base_repo: Annotated[
        str | None, typer.Option(help="Repository of VAE, text encoder and tokenizer, if it is another one.")
    ] = None,
    accept_unknown_licence: Annotated[
        bool, typer.Option("--accept-unknown-licence", help="You have found out that you may use the weights.")
    ] = False,
) -> None:
    """Fetch a model from the Hugging Face Hub (HF_TOKEN, HF_ENDPOINT); goes on where it broke off."""
    with _diffusion_installed():
        import huggingface_hub  # noqa: F401 - whether it is there

        from genlock_worker.engines.diffusion.weights import fetching
    wanted = fetching.wanted_files(
        model,
        transformer_repo=transformer_repo,
        base_repo=base_repo,
        accept_unknown_licence=accept_unknown_licence,
    )
    folder = model_folder(into, model)
    watching: AbstractContextManager[None] = (
        nullcontext() if sys.stderr.isatty() else fetching.ticking(folder, typer.echo)
    )
    with watching:
        fetching.fetch(wanted, into, model, download=fetching.hub_download, say=typer.echo)
    typer.echo(f"{folder}: fetched; `genlock models verify {into} {model}` looks whether all is right")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="The folder of all models' weights.", exists=True, file_okay=False)],
    model: Annotated[str | None, typer.Argument(help="The model; left out: all there are.")] = None,
    sha256: Annotated[
        Path | None,
        typer.Option(help="A list as sha256sum writes it, of paths below the folder.", exists=True, dir_okay=False),
    ] = None,
) -> None:
    """Look whether a model is whole: every part, every tensor's name and shape. Exit status 1 with all problems."""
    names = [model_config(model).name] if model else [name for name in MODELS if (folder / name).is_dir()]
    if not names:
        raise NothingToVerify(f"{folder} has no folder of a model; the models are: {', '.join(MODELS)}")
    with _diffusion_installed():
        from genlock_worker.engines.diffusion.weights import verification
    problems = [problem for name in names for problem in verification.verify_model(folder, name, say=typer.echo)]
    if sha256 is not None:
        problems += verification.verify_digests(folder, sha256.read_text(encoding="utf-8"), say=typer.echo)
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(1)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A model.pt, a safetensors file, or the index of its shards.")],
    into: Into,
    model: Annotated[str, typer.Option(help="The model that it is, such as wan2.1-1.3b.")],
    dtype: Annotated[FileDtype, typer.Option(help="What numbers to store.")] = FileDtype.BF16,
) -> None:
    """Convert a transformer to transformer.safetensors: it loads faster, in less memory, and can hold no code."""
    with _diffusion_installed():
        from genlock_worker.engines.diffusion.weights import conversion
    folder = model_folder(into, model)
    with _moving() as moved:
        conversion.convert_transformer(source, folder, model=model, dtype=dtype, say=typer.echo, moved=moved)


@app.command()
def psnr(
    folder: Annotated[Path, typer.Argument(help="The folder of all models' weights.", exists=True, file_okay=False)],
    model: Annotated[str, typer.Argument(help="The model, such as wan2.1-1.3b.")],
    resolution: Annotated[str, typer.Option(help="Size of the pictures.")] = "832x480",
    video: Annotated[
        Path | None,
        typer.Option(help="A video whose first pictures are coded; left out: the test card.", exists=True),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Say how near pictures come back through the VAE, and through the tiny encoder and decoder (PSNR in dB)."""
    with _diffusion_installed():
        from genlock_worker.engines.diffusion.components import choose_device, choose_dtype
        from genlock_worker.engines.diffusion.reconstruction import reconstructions
    size = parse_resolution(resolution)
    pictures = _pictures_of(video, size)
    found = choose_device(device)
    dtype = choose_dtype("auto", found)
    typer.echo(f"{model}: {len(pictures)} pictures of {size}, on {found} in {str(dtype).removeprefix('torch.')}")
    for one in reconstructions(folder, model, pictures, device=found, dtype=dtype):
        off = "" if one.latents_off is None else f"; its latents are {one.latents_off:.3f} deviations off the VAE's"
        figure = f"not measured: {one.reason}" if one.psnr_db is None else f"{one.psnr_db:.2f} dB{off}"
        typer.echo(f"{one.encoder} encoder, {one.decoder} decoder: {figure}")


def _pictures_of(video: Path | None, size: Resolution) -> Frames:
    """The first PSNR_PICTURES pictures. Raises BadInput for a file that has not so many."""
    if video is None:
        return np.stack([draw(number, width=size.width, height=size.height) for number in range(PSNR_PICTURES)])
    try:
        with av.open(str(video)) as container:
            read = [
                frame.reformat(width=size.width, height=size.height, format="rgb24").to_ndarray()
                for frame in islice(container.decode(video=0), PSNR_PICTURES)
            ]
    except (av.error.FFmpegError, IndexError) as error:
        raise BadInput(f"{video} is no video ({error})") from error
    if len(read) < PSNR_PICTURES:
        raise BadInput(f"{video} has {len(read)} pictures; {PSNR_PICTURES} are coded")
    return np.stack(read)


@contextmanager
def _diffusion_installed() -> Iterator[None]:
    """Around an import of what needs torch. Raises EngineNotInstalled, which says how to get it."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("genlock"):
            raise
        raise EngineNotInstalled(
            f"this needs {missing.name}, which is not installed; type: pip install 'genlock[diffusion]' "
            "(in a checkout: make diffusion)"
        ) from missing


@contextmanager
def _moving() -> Iterator[Callable[[int, int], None]]:
    """Takes (bytes done, bytes in all): a bar on a terminal, else a line for every tenth."""
    if not sys.stdout.isatty():
        yield _lines()
        return
    with Progress("converting", BarColumn(), DownloadColumn(), TimeRemainingColumn()) as progress:
        task = progress.add_task("converting")
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _lines() -> Callable[[int, int], None]:
    said = 0.0

    def moved(done: int, total: int) -> None:
        nonlocal said
        if done / total >= said + _SAY_EVERY_SHARE:
            said = done / total
            typer.echo(f"converting: {done / 1e6:.0f} of {total / 1e6:.0f} MB")

    return moved
