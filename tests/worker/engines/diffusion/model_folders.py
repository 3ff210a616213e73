"""Folders with the `tiny` model as the published checkpoints lie there, and as diffusers lays them."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from genlock_worker.engines.diffusion.config import MODELS
from genlock_worker.engines.diffusion.weights import skeletons
from genlock_worker.engines.diffusion.weights.checkpoints import shapes
from genlock_worker.engines.diffusion.weights.model_files import ModelPart
from genlock_worker.engines.diffusion.weights.random_vae import random_vae

TINY = MODELS["tiny"]


def transformer_weights(seed: int = 1) -> dict[str, Tensor]:
    """Under the published names."""
    return _drawn(skeletons.expected(ModelPart.TRANSFORMER, TINY).shapes, seed)


def text_weights() -> dict[str, Tensor]:
    """Under transformers' names, the tied embedding once."""
    return _drawn(skeletons.expected(ModelPart.TEXT_ENCODER, TINY).shapes, 2)


def vae_weights() -> dict[str, Tensor]:
    """Under diffusers' names."""
    return {name: tensor.detach().clone() for name, tensor in random_vae(TINY.vae, 3).state_dict().items()}


def tiny_vae_weights() -> dict[str, Tensor]:
    """As in `taew2_1`: encoder and decoder in one file."""
    halves = (skeletons.tiny_encoder(TINY.vae), skeletons.tiny_decoder(TINY.vae))
    return _drawn({name: shape for half in halves for name, shape in shapes(half).items()}, 4)


def wan_text_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As in Wan's `models_t5_*.pth`."""
    rules = (
        (r"^shared\.", "token_embedding."),
        (r"^encoder\.final_layer_norm\.", "norm."),
        (r"^encoder\.block\.", "blocks."),
        (r"\.layer\.0\.layer_norm\.", ".norm1."),
        (r"\.layer\.1\.layer_norm\.", ".norm2."),
        (r"\.layer\.0\.SelfAttention\.relative_attention_bias\.", ".pos_embedding.embedding."),
        (r"\.layer\.0\.SelfAttention\.", ".attn."),
        (r"\.layer\.1\.DenseReluDense\.wi_0\.", ".ffn.gate.0."),
        (r"\.layer\.1\.DenseReluDense\.wi_1\.", ".ffn.fc1."),
        (r"\.layer\.1\.DenseReluDense\.wo\.", ".ffn.fc2."),
    )
    return {_replaced(name, rules): tensor for name, tensor in weights.items()}


def published_folder(weights: Path) -> Path:
    """`<weights>/tiny` with Wan's names, but for the VAE: diffusers' converter knows the large one alone."""
    folder = weights / "tiny"
    folder.mkdir(parents=True)
    torch.save({"generator": {f"model.{k}": v for k, v in transformer_weights().items()}}, folder / "model.pt")
    torch.save(wan_text_names(text_weights()), folder / "models_t5_umt5-xxl-enc-bf16.pth")
    _save(vae_weights(), folder / "vae/diffusion_pytorch_model.safetensors")
    write_tokenizer(folder / "google/umt5-xxl")
    return folder


def diffusers_folder(weights: Path) -> Path:
    """`<weights>/tiny` as `save_pretrained` of diffusers' pipelines lays it; the text encoder in two shards."""
    folder = weights / "tiny"
    renamed = convert_wan_transformer_to_diffusers(dict(transformer_weights()))  # type: ignore[no-untyped-call]
    _save(renamed, folder / "transformer/diffusion_pytorch_model.safetensors")
    _save(vae_weights(), folder / "vae/diffusion_pytorch_model.safetensors")
    text = text_weights()
    shards = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(text)}
    for shard in set(shards.values()):
        _save({name: text[name] for name in text if shards[name] == shard}, folder / "text_encoder" / shard)
    index = folder / "text_encoder/model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": shards}))
    write_tokenizer(folder / "tokenizer")
    return folder


def write_tokenizer(folder: Path) -> None:
    """Two words, and whatever else."""
    words = Tokenizer(WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2, "neon": 3}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


def _drawn(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * 0.2 for name, shape in shapes.items()}


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def _replaced(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
