"""From the names that tensors have in files to those of Genlock's modules: pure, names alone.

The transformer has the published names (StreamDiffusionV2, CausVid, Wan 2.1); VAE and text encoder are diffusers' and
transformers' modules and have theirs.
"""

import re
from collections.abc import Callable, Iterable, Mapping

Rename = Callable[[Iterable[str]], Mapping[str, str]]
"""File's names -> {the module's name: the file's name}."""

SHARED_EMBEDDING = "shared.weight"
TIED_EMBEDDING = "encoder.embed_tokens.weight"
"""The same tensor under its second name."""

_TRANSFORMER_FROM_DIFFUSERS = (
    (r"^condition_embedder\.text_embedder\.linear_1\.", "text_embedding.0."),
    (r"^condition_embedder\.text_embedder\.linear_2\.", "text_embedding.2."),
    (r"^condition_embedder\.time_embedder\.linear_1\.", "time_embedding.0."),
    (r"^condition_embedder\.time_embedder\.linear_2\.", "time_embedding.2."),
    (r"^condition_embedder\.time_proj\.", "time_projection.1."),
    (r"^scale_shift_table$", "head.modulation"),
    (r"^proj_out\.", "head.head."),
    (r"^(blocks\.\d+)\.scale_shift_table$", r"\1.modulation"),
    (r"^(blocks\.\d+)\.attn1\.", r"\1.self_attn."),
    (r"^(blocks\.\d+)\.attn2\.", r"\1.cross_attn."),
    (r"^(blocks\.\d+\.(?:self|cross)_attn)\.to_([qkv])\.", r"\1.\2."),
    (r"^(blocks\.\d+\.(?:self|cross)_attn)\.to_out\.0\.", r"\1.o."),
    (r"^(blocks\.\d+)\.norm2\.", r"\1.norm3."),
    (r"^(blocks\.\d+)\.ffn\.net\.0\.proj\.", r"\1.ffn.0."),
    (r"^(blocks\.\d+)\.ffn\.net\.2\.", r"\1.ffn.2."),
)

_TEXT_FROM_WAN = (
    (r"^token_embedding\.", "shared."),
    (r"^norm\.", "encoder.final_layer_norm."),
    (r"^blocks\.(\d+)\.norm1\.", r"encoder.block.\1.layer.0.layer_norm."),
    (r"^blocks\.(\d+)\.attn\.([qkvo])\.", r"encoder.block.\1.layer.0.SelfAttention.\2."),
    (
        r"^blocks\.(\d+)\.pos_embedding\.embedding\.",
        r"encoder.block.\1.layer.0.SelfAttention.relative_attention_bias.",
    ),
    (r"^blocks\.(\d+)\.norm2\.", r"encoder.block.\1.layer.1.layer_norm."),
    (r"^blocks\.(\d+)\.ffn\.gate\.0\.", r"encoder.block.\1.layer.1.DenseReluDense.wi_0."),
    (r"^blocks\.(\d+)\.ffn\.fc1\.", r"encoder.block.\1.layer.1.DenseReluDense.wi_1."),
    (r"^blocks\.(\d+)\.ffn\.fc2\.", r"encoder.block.\1.layer.1.DenseReluDense.wo."),
)


def transformer_names(names: Iterable[str]) -> dict[str, str]:
    """Published names stay as they are; those of diffusers' `WanTransformer3DModel` become the published ones."""
    there = list(names)
    if not any(name.startswith("condition_embedder.") for name in there):
        return {name: name for name in there}
    return {_replaced(name, _TRANSFORMER_FROM_DIFFUSERS): name for name in there}


def vae_names(names: Iterable[str]) -> dict[str, str]:
    """Those of `AutoencoderKLWan` stay; those in `Wan2.1_VAE.pth` become them, by diffusers' own converter."""
    there = {name: name for name in names}
    if "encoder.conv1.weight" not in there:
        return there
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

    # It moves values without a look at them, so names may stand in the tensors' place.
    return dict(convert_wan_vae_to_diffusers(there))  # type: ignore[no-untyped-call]  # the library has no types


def text_names(names: Iterable[str]) -> dict[str, str]:
    """Those of `UMT5EncoderModel` stay, its tied embedding once; those in Wan's `models_t5_*.pth` become them."""
    there = list(names)
    if "token_embedding.weight" in there:
        return {_replaced(name, _TEXT_FROM_WAN): name for name in there}
    if SHARED_EMBEDDING in there:
        return {name: name for name in there if name != TIED_EMBEDDING}
    return {SHARED_EMBEDDING if name == TIED_EMBEDDING else name: name for name in there}


def _replaced(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
