"""A model put together: transformer, VAE and prompts on their devices, each loaded once and shared by all sessions.

Modules are built without weights and given the tensors of the files one by one on the device that they are for, so that
nothing is held twice.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from genlock_worker.engines.diffusion.config import DiffusionConfig, StreamOptions
from genlock_worker.engines.diffusion.errors import DeviceMissing, MissingWeights
from genlock_worker.engines.diffusion.execution import fp8
from genlock_worker.engines.diffusion.network.kernels import choice
from genlock_worker.engines.diffusion.network.text_pool import TextPool
from genlock_worker.engines.diffusion.network.transformer import CausalWan
from genlock_worker.engines.diffusion.network.vae import StreamingVae
from genlock_worker.engines.diffusion.options import LoadOptions
from genlock_worker.engines.diffusion.prompt_book import PromptBook
from genlock_worker.engines.diffusion.weights import random_weights, skeletons, text_loading, vae_loading
from genlock_worker.engines.diffusion.weights.checkpoints import load_into, open_checkpoint
from genlock_worker.engines.diffusion.weights.key_names import transformer_names
from genlock_worker.engines.diffusion.weights.model_files import REQUIRED, ModelPart, PartFiles, find_parts, size_words

Progress = Callable[[str], None]
"""Takes a line now and then."""

Files = dict[ModelPart, PartFiles]
"""The parts that have files; empty where all is made of random numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """A model that is ready; its parts hold no state of any session."""

    config: DiffusionConfig
    transformer: CausalWan
    vae: StreamingVae
    prompts: PromptBook
    device: torch.device
    dtype: torch.dtype
    resident_bytes: int
    """What the parts take of the device's memory."""


def choose_device(name: str) -> torch.device:
    """`auto`: the first GPU, the CPU where there is none; else what torch calls it. Raises DeviceMissing."""
    there = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda", 0) if there else torch.device("cpu")

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceMissing(f"{name!r} is no device; use auto, cpu, cuda or cuda:N") from error

    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceMissing(
            f"there is no device {name}: PyTorch sees {torch.cuda.device_count()} CUDA devices"
            + ("" if there else "; is the driver there, and PyTorch built for CUDA? Use auto or cpu")
        )

    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto`: bfloat16 on a GPU, float32 on a CPU; or `bfloat16`, `float16`, `float32`. Raises ValueError."""
    known = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name not in known:
        raise ValueError(f"{name!r} is no type of numbers; use auto, {', '.join(known)}")
    return known[name]


def load_components(
    config: DiffusionConfig,
    *,
    weights: Path | None,
    device: torch.device,
    dtype: torch.dtype,
    options: LoadOptions,
    stream: StreamOptions,
    progress: Progress,
) -> Components:
    """Load a model from `<weights>/<model>/`, or make it of random numbers. Takes seconds to minutes. `stream`: what
    it will be used with, as the attention's kernel and the VAE depend on it.

    Random numbers stand in where they are asked for, and for a model that needs no weights (`tiny`) where it has no
    folder. Raises MissingWeights, WrongCheckpoint, DeviceMissing, Fp8Unsupported, AttentionMissing,
    KernelsMissing; torch.OutOfMemoryError.
    """
    if options.fp8:
        fp8.require_fp8(device)

    files = _find_files(config, weights, options)
    if not files:
        progress(f"{config.name}: random weights")

    # What is resident is measured where the device can say it, and counted where it cannot.
    before = _allocated_bytes(device)
    transformer = _transformer(config, files, device, dtype, options, stream, progress)
    vae = _vae(config, files, device, dtype, options, stream, progress)
    text_device = device if options.text_device == "auto" else choose_device(options.text_device)
    encoder = text_loading.text_encoder(
        config, files, device=text_device, dtype=dtype, keep=options.keep_text_encoder, progress=progress
    )

    sizes = config.transformer
    prompts = PromptBook(
        encoder,
        transformer.text_kv,
        TextPool(sizes, device=device, dtype=dtype),
        text_length=sizes.text_length,
        text_dim=sizes.text_dim,
        dtype=dtype,
    )

    if device.type == "cuda":
        resident = _allocated_bytes(device) - before
    else:
        resident = tensor_bytes(transformer) + vae.resident_bytes + encoder.resident_bytes

    progress(f"{config.name}: ready on {device}, {size_words(resident)} resident")
    return Components(config, transformer, vae, prompts, device, dtype, resident)


def tensor_bytes(module: nn.Module) -> int:
    """Bytes of a module's parameters and buffers, what two names share counted once."""
    tensors: Iterable[torch.Tensor] = (*module.parameters(), *module.buffers())
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


def _find_files(config: DiffusionConfig, weights: Path | None, options: LoadOptions) -> Files:
    """Empty where random numbers shall stand in. Raises MissingWeights, WrongCheckpoint."""
    folder = weights / config.name if weights is not None else None
    if options.random_weights or not (config.needs_weights or (folder is not None and folder.is_dir())):
        return {}
    if folder is None:
        raise MissingWeights(config.name, ["no folder of weights was named (--weights FOLDER)"])
    others = [part for part in REQUIRED if part is not ModelPart.VAE]
    return find_parts(folder, *others, *vae_loading.parts_of(options.encoder, options.decoder))


def _transformer(
    config: DiffusionConfig,
    files: Files,
    device: torch.device,
    dtype: torch.dtype,
    options: LoadOptions,
    stream: StreamOptions,
    progress: Progress,
) -> CausalWan:
    started_s = time.monotonic()
    sizes, kernels = config.transformer, options.kernels
    model = skeletons.transformer(
        sizes,
        layout=stream.ring,
        ops=choice.ring_ops(kernels, options.attention, sizes, device=device, dtype=dtype),
        pointwise=choice.pointwise(kernels, sizes, device=device),
    )

    if files:
        checkpoint = open_checkpoint(files[ModelPart.TRANSFORMER].files)
        load_into(model, checkpoint, transformer_names, device=device, dtype=dtype)
    else:
        random_weights.fill(model, device=device, dtype=dtype, factors=random_weights.TRANSFORMER_FACTORS)

    count = sum(parameter.numel() for parameter in model.parameters())
    many = f"{count / 1e9:.2f} B" if count >= 1e8 else f"{count / 1e6:.2f} M"
    seconds = time.monotonic() - started_s
    size = size_words(tensor_bytes(model))
    progress(f"transformer: {many} parameters, {_name(dtype)}, {size}, {kernels} kernels, {seconds:.1f} s")

    # Weights become 8 bits wide only once they are on the device.
    if options.fp8:
        saved = fp8.use_fp8(model)
        progress(f"transformer: 8-bit weights, {size_words(saved)} less")

    return model


def _vae(
    config: DiffusionConfig,
    files: Files,
    device: torch.device,
    dtype: torch.dtype,
    options: LoadOptions,
    stream: StreamOptions,
    progress: Progress,
) -> StreamingVae:
    started_s = time.monotonic()
    vae = vae_loading.load_vae(
        config.vae,
        files,
        encoder=options.encoder,
        decoder=options.decoder,
        device=device,
        dtype=dtype,
        normalise=stream.normalise_latents,
        channels_last=options.channels_last,
    )
    seconds = time.monotonic() - started_s
    halves = f"the {options.encoder} encoder, the {options.decoder} decoder"
    progress(f"VAE: {_name(dtype)}, {size_words(vae.resident_bytes)}, {halves}, {seconds:.1f} s")

    return vae


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _allocated_bytes(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
