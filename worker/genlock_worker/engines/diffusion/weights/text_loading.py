"""The text encoder from files, or from random numbers."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch

from genlock_worker.engines.diffusion.config import DiffusionConfig, TextConfig
from genlock_worker.engines.diffusion.network.text_encoder import TextModel, Umt5Encoder, byte_tokenizer, read_tokenizer
from genlock_worker.engines.diffusion.weights import random_weights, skeletons
from genlock_worker.engines.diffusion.weights.checkpoints import fit, load_into, open_checkpoint
from genlock_worker.engines.diffusion.weights.key_names import TIED_EMBEDDING, text_names
from genlock_worker.engines.diffusion.weights.model_files import ModelPart, PartFiles, size_words

STAND_IN = {"head_dim": 64, "ffn_dim": 128, "heads": 2, "layers": 1, "vocab": 384}
"""Sizes of the encoder that stands in for a large one on a CPU, where there are no files: its embeddings are random
numbers either way, and 11 GB of them would take a minute to draw. On a GPU the memory that it takes is what counts, so
there it has its true size."""


def text_encoder(
    config: DiffusionConfig,
    files: Mapping[ModelPart, PartFiles],
    *,
    device: torch.device,
    dtype: torch.dtype,
    keep: bool,
    progress: Callable[[str], None],
) -> Umt5Encoder:
    """The encoder of a model; `files` empty: of random numbers, with a token for each byte.

    One that is kept is loaded here, any other for each prompt; its files are looked at now in any case.
    Raises WrongCheckpoint.
    """
    # As published; float32 would be 23 GB, and a prompt is encoded once.
    kind = torch.bfloat16 if config.needs_weights else dtype
    load: Callable[[], TextModel]
    if files:
        check(config, files)
        load = partial(_load, config.text, files, device, kind)
    else:
        load = partial(_random, _random_sizes(config, device), device, kind)

    encoder = Umt5Encoder(load, text_length=config.transformer.text_length, keep=keep)
    if keep:
        encoder.encode("a picture")  # loads it
        progress(f"text encoder: {size_words(encoder.resident_bytes)} on {device}")
    else:
        progress(f"text encoder: loaded for each prompt, on {device}")

    return encoder


def check(config: DiffusionConfig, files: Mapping[ModelPart, PartFiles]) -> None:
    """Look at tokenizer and table of the encoder's files. Raises WrongCheckpoint."""
    read_tokenizer(files[ModelPart.TOKENIZER].folder)
    expected = skeletons.expected(ModelPart.TEXT_ENCODER, config)
    fit(open_checkpoint(files[ModelPart.TEXT_ENCODER].files), expected.rename, expected.shapes)


def _load(
    config: TextConfig, files: Mapping[ModelPart, PartFiles], device: torch.device, dtype: torch.dtype
) -> TextModel:
    model = skeletons.text_encoder(config)
    checkpoint = open_checkpoint(files[ModelPart.TEXT_ENCODER].files)
    load_into(model, checkpoint, text_names, device=device, dtype=dtype, without={TIED_EMBEDDING})
    model.set_input_embeddings(model.shared)  # type: ignore[no-untyped-call]  # the library has no types
    return TextModel(model, read_tokenizer(files[ModelPart.TOKENIZER].folder))


def _random(config: TextConfig, device: torch.device, dtype: torch.dtype) -> TextModel:
    model = skeletons.text_encoder(config)
    factors = random_weights.text_factors(config.head_dim)
    random_weights.fill(model, device=device, dtype=dtype, factors=factors, without={TIED_EMBEDDING})
    model.set_input_embeddings(model.shared)  # type: ignore[no-untyped-call]  # the library has no types
    return TextModel(model, byte_tokenizer())


def _random_sizes(config: DiffusionConfig, device: torch.device) -> TextConfig:
    large = config.needs_weights and device.type == "cpu"
    return replace(config.text, **STAND_IN) if large else config.text
