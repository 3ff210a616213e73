"""The streaming VAE against the reference's recordings (`recorded_vae`)."""

import pytest
import torch

from genlock_worker.engines.diffusion.network.vae import StreamingVae
from tests.worker.engines.diffusion import recorded, recorded_vae

CPU = torch.device("cpu")


def test_latents_are_those_of_the_reference() -> None:
    assert recorded_vae.latent_deviation(CPU, torch.float32) < recorded.TOLERANCE


def test_frames_are_those_of_the_reference() -> None:
    assert recorded_vae.frame_deviation(CPU, torch.float32) < recorded.TOLERANCE


@pytest.mark.parametrize("channels_last", [False, True])
def test_pixels_are_those_of_the_reference_to_one_level(*, channels_last: bool) -> None:
    arrays = recorded.arrays(recorded_vae.NAME)
    model = recorded_vae.recorded_model()
    vae = StreamingVae(model, device=CPU, dtype=torch.float32, channels_last=channels_last)
    stream = vae.open()
    for call in range(4):
        latents = torch.from_numpy(arrays[f"enc_chunks/{call}"])[0].transpose(0, 1)
        pixels = vae.decode(stream, latents)
        theirs = ((arrays[f"dec_chunks/{call}"][0].clip(-1, 1) * 0.5 + 0.5) * 255).round().transpose(1, 2, 3, 0)
        assert recorded.worst(pixels.float(), theirs) <= 1.0
        assert stream.finite is not None
        assert bool(stream.finite)
