"""What a checkpoint is, by the names and shapes of its tensors: for messages about one that is in the wrong place."""

import re
from collections.abc import Mapping, Sequence

from genlock_worker.engines.diffusion.config import MODELS


def looks_like(shapes: Mapping[str, Sequence[int]]) -> str:
    """In words, `the transformer of wan2.1-14b`; empty if it looks like nothing known. `shapes`: name -> shape."""
    if any("lora_" in name for name in shapes):
        return "a LoRA, which is no model by itself"
    if len(shapes.get("patch_embedding.weight", ())) == 5:
        return _transformer(shapes)
    if "decoder.conv1.weight" in shapes or "decoder.conv_in.weight" in shapes:
        return "a VAE"
    if "token_embedding.weight" in shapes or "shared.weight" in shapes:
        return "a text encoder"
    return ""


def _transformer(shapes: Mapping[str, Sequence[int]]) -> str:
    """A Wan transformer, published or diffusers names: both call these tensors alike."""
    dim, channels = shapes["patch_embedding.weight"][:2]
    layers = len({found[1] for name in shapes if (found := re.match(r"blocks\.(\d+)\.", name))})
    for model in MODELS.values():
        sizes = model.transformer
        if (sizes.dim, sizes.channels, sizes.layers) == (dim, channels, layers):
            return f"the transformer of {model.name}"
    kind = "an image-to-video transformer" if channels > 16 else "a Wan transformer"
    return f"{kind} of {layers} layers, width {dim} and {channels} input channels"
