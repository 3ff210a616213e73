"""The text encoder against the reference's recording (golden/umt5_tiny.npz, see its README for its provenance)."""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import UMT5Config, UMT5EncoderModel

from genlock_worker.engines.diffusion.network.text_encoder import TextModel, Umt5Encoder
from genlock_worker.engines.diffusion.weights.key_names import TIED_EMBEDDING, text_names

GOLDEN = Path(__file__).parent / "golden" / "umt5_tiny.npz"


class RecordedIds:
    """A tokenizer that knows one prompt."""

    def __init__(self, ids: torch.Tensor) -> None:
        self.ids = ids

    def __call__(self, prompt: str, **options: object) -> dict[str, torch.Tensor]:
        return {"input_ids": self.ids}


def test_embeddings_are_those_of_the_reference() -> None:
    with np.load(GOLDEN, allow_pickle=False) as arrays:
        recorded = dict(arrays)
    config = json.loads(str(recorded["config_json"]))
    encoder = UMT5EncoderModel(
        UMT5Config(
            vocab_size=config["vocab"],
            d_model=config["dim"],
            d_kv=config["dim_attn"] // config["num_heads"],
            d_ff=config["dim_ffn"],
            num_layers=config["num_layers"],
            num_heads=config["num_heads"],
            relative_attention_num_buckets=config["num_buckets"],
            relative_attention_max_distance=config["max_dist"],
            feed_forward_proj="gated-gelu",
        )
    ).train(False)
    weights = {key[2:]: torch.from_numpy(value) for key, value in recorded.items() if key.startswith("w/")}
    state = {name: weights[old] for name, old in text_names(weights).items()}
    encoder.load_state_dict({**state, TIED_EMBEDDING: state["shared.weight"]}, strict=True)

    length = int(recorded["mask"].sum())
    tokenizer = RecordedIds(torch.from_numpy(recorded["ids"])[:, :length])
    rows = Umt5Encoder(lambda: TextModel(encoder, tokenizer), text_length=8, keep=True).encode("a prompt")  # type: ignore[arg-type]
    assert rows.shape == (length, config["dim"])
    assert float((rows - torch.from_numpy(recorded["out"])[0, :length]).abs().max()) < 1e-4
