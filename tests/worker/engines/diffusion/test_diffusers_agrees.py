"""The library's Wan transformer with the same weights: an implementation that shares nothing with ours."""

from typing import Any

import torch
from diffusers import WanTransformer3DModel
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

from tests.worker.engines.diffusion import recorded
from tests.worker.engines.diffusion.rows import RowInput, batch_of, empty_ring, text_pool

TIMESTEP = 700


def test_one_forward_on_an_empty_ring_is_the_librarys() -> None:
    config, text = recorded.CONFIG, recorded.tensor("tiny_model", "prompt/A")
    library: Any = WanTransformer3DModel(  # type: ignore[no-untyped-call]
        patch_size=(1, config.patch, config.patch),
        num_attention_heads=config.heads,
        attention_head_dim=config.head_dim,
        in_channels=config.channels,
        out_channels=config.channels,
        text_dim=config.text_dim,
        freq_dim=config.freq_dim,
        ffn_dim=config.ffn_dim,
        num_layers=config.layers,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        eps=config.eps,
    )
    renamed = convert_wan_transformer_to_diffusers(recorded.weights())  # type: ignore[no-untyped-call]
    library.load_state_dict(renamed)
    x = recorded.tensor("batch_1step", "prepare/noise")
    with torch.no_grad():
        theirs = library.eval()(
            hidden_states=x.transpose(1, 2), timestep=torch.tensor([TIMESTEP]), encoder_hidden_states=text
        ).sample.transpose(1, 2)

    model = recorded.network()
    row = RowInput(
        empty_ring(config, recorded.LAYOUT), text_pool(config).put(*model.text_kv(text[0])), x[0], 0, TIMESTEP
    )
    assert recorded.worst(model(batch_of([row], layout=recorded.LAYOUT)).flow, theirs) < recorded.TOLERANCE
