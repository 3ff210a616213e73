"""The recorded arrays in `golden/`, and the tiny network that they were recorded with.

Provenance: tensors recorded from the StreamDiffusionV2 reference (Apache-2.0) run in float32 on CPU with random tiny
weights. Every random draw is recorded and is injected here. An implementation agrees if it is within 1e-4 everywhere.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import TransformerConfig
from genlock_worker.engines.diffusion.network.pointwise import Pointwise
from genlock_worker.engines.diffusion.network.ring_ops import RingOps
from genlock_worker.engines.diffusion.network.transformer import CausalWan

TOLERANCE = 1e-4
FOLDER = Path(__file__).parent / "golden"

CONFIG = TransformerConfig(
    layers=2, heads=2, dim=64, ffn_dim=128, freq_dim=32, text_dim=24, text_length=12, channels=16, patch=2
)
"""The recorded network. Its latents are 8 x 8, so a frame has 16 tokens."""
LAYOUT = RingLayout(slots=6, sinks=3)
GRID = (4, 4)
FRAME_TOKENS = 16


@cache
def arrays(name: str) -> Mapping[str, NDArray[Any]]:
    """Every array of `golden/<name>.npz`."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def json_of(name: str, key: str) -> Any:
    """What a JSON string among the arrays says."""
    return json.loads(str(arrays(name)[key]))


def tensor(name: str, key: str) -> Tensor:
    """An array as a tensor of its own."""
    return torch.from_numpy(arrays(name)[key].copy())


def weights() -> dict[str, Tensor]:
    """The network's weights under the published names, without `model.`."""
    return {key[2:]: tensor("tiny_model", key) for key in arrays("tiny_model") if key.startswith("w/")}


def network(*, ops: RingOps | None = None, pointwise: Pointwise | None = None) -> CausalWan:
    """The recorded network, made as the worker makes one: without memory, then given the weights."""
    with torch.device("meta"):
        model = CausalWan(CONFIG, layout=LAYOUT, ops=ops, pointwise=pointwise)
    model.load_state_dict(weights(), assign=True)
    return model.eval()


def worst(ours: Tensor, recorded: Tensor | NDArray[Any]) -> float:
    """The largest absolute difference. Raises AssertionError if the shapes differ."""
    theirs = torch.as_tensor(recorded)
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max())
