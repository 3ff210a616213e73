"""A published checkpoint made into `transformer.safetensors`, tensor by tensor: no more than one is held in memory.

safetensors' own writer wants all tensors at once, which a model of 57 GB does not allow; the format is a table and the
numbers behind it (https://github.com/huggingface/safetensors, "Format").
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from genlock_core.errors import GenlockError
from genlock_worker.engines.diffusion.weights import skeletons
from genlock_worker.engines.diffusion.weights.checkpoints import (
    Stored,
    WeightsCheckpoint,
    fit,
    open_checkpoint,
    read_tensor,
    shapes,
)
from genlock_worker.engines.diffusion.weights.key_names import transformer_names
from genlock_worker.engines.diffusion.weights.model_files import TRANSFORMER_FILE, model_config, shards, size_words
from genlock_worker.engines.diffusion.weights.volume import digest

DTYPES = {
    "bf16": (torch.bfloat16, "BF16"),
    "fp16": (torch.float16, "F16"),
    "fp32": (torch.float32, "F32"),
}
"""What `--dtype` may be: torch's name and safetensors'."""

_ALIGNMENT = 8
"""The numbers begin at a multiple of this."""


class ConversionFailed(GenlockError):
    """The converted file could not be written."""


def convert_transformer(
    source: Path,
    folder: Path,
    *,
    model: str,
    dtype: str,
    say: Callable[[str], None],
    moved: Callable[[int, int], None],
) -> Path:
    """Write `source` as `folder/transformer.safetensors` in `dtype` (of DTYPES); it gets its name when it is whole.

    `source`: a `model.pt`, a safetensors file or an index of shards, in published or diffusers names. `say` gets lines,
    `moved` (bytes written, bytes in all) after every tensor. Raises WrongCheckpoint, UnknownModel, ConversionFailed.
    """
    files = shards(source) if source.name.endswith(".index.json") else (source,)
    checkpoint = open_checkpoint(files)
    stored = fit(checkpoint, transformer_names, shapes(skeletons.transformer(model_config(model).transformer)))
    say(f"{source}: {len(stored)} tensors, the transformer of {model}; taking its sha256")
    metadata = {
        "model": model,
        "source": source.name,
        "source_sha256": " ".join(digest(file) for file in files),
        "converted_by": "genlock models convert",
        "format": "pt",
    }
    target = folder / TRANSFORMER_FILE
    part = target.with_name(f"{target.name}.part")

    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _write(part, checkpoint, stored, dtype, metadata, moved)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ConversionFailed(f"{target} cannot be written: {error}; is there room for it?") from error

    say(f"{target}: {size_words(target.stat().st_size)}, {dtype}")
    return target


def _write(
    path: Path,
    checkpoint: WeightsCheckpoint,
    stored: Mapping[str, Stored],
    dtype: str,
    metadata: Mapping[str, str],
    moved: Callable[[int, int], None],
) -> None:
    kind, name_of_kind = DTYPES[dtype]
    table: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, one in stored.items():
        begin, end = end, end + torch.Size(one.shape).numel() * kind.itemsize
        table[name] = {"dtype": name_of_kind, "shape": list(one.shape), "data_offsets": [begin, end]}

    header = json.dumps(table).encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    done = 0

    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        for name, one in stored.items():
            numbers = read_tensor(checkpoint, name, one).to(kind).contiguous().reshape(-1)
            done += file.write(numbers.view(torch.uint8).numpy().data)
            moved(done, end)
        file.flush()
        os.fsync(file.fileno())
