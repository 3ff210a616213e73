"""TAEHV's encoder as a stream, with random weights; its scale, and what its checkpoint must hold."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from genlock_worker.engines.diffusion.config import VaeConfig
from genlock_worker.engines.diffusion.errors import WrongCheckpoint
from genlock_worker.engines.diffusion.network.coding import tiny_decoder, tiny_encoder
from genlock_worker.engines.diffusion.network.coding.tiny_block import MemBlock
from genlock_worker.engines.diffusion.network.coding.tiny_encoder import TinyEncoder, TPool
from genlock_worker.engines.diffusion.network.vae import StreamingVae
from genlock_worker.engines.diffusion.weights.checkpoints import open_checkpoint
from genlock_worker.engines.diffusion.weights.random_vae import random_vae
from tests.worker.engines.diffusion.model_folders import tiny_vae_weights

CPU = torch.device("cpu")
MEAN, DEVIATION = 0.5, 2.0
CONFIG = VaeConfig(
    base_dim=8, dim_mult=(1, 1, 1, 1), res_blocks=1, latents_mean=(MEAN,) * 16, latents_std=(DEVIATION,) * 16
)


def encoder() -> TinyEncoder:
    """The same each time, with weights large enough for every layer to count."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        made = TinyEncoder().train(False).requires_grad_(requires_grad=False)
    for parameter in made.parameters():
        parameter.mul_(1.6)
    return made


def vae(*, normalise: bool = True) -> StreamingVae:
    return StreamingVae(random_vae(CONFIG, 1), device=CPU, dtype=torch.float32, normalise=normalise, encoder=encoder())


def clip(frames: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (frames, 32, 48, 3), generator=generator, dtype=torch.uint8)


def whole_clip(layers: TinyEncoder, video: Tensor, *, memory: int = 1) -> Tensor:
    """The published rule, all frames of a layer at once: memory is the layer's input, one frame later."""
    x = torch.cat([video[:1].expand(3, -1, -1, -1), video]).permute(0, 3, 1, 2) / 255.0
    for layer in layers.encoder:
        if isinstance(layer, MemBlock):
            past = functional.pad(x, (0, 0, 0, 0, 0, 0, memory, 0))[: len(x)]
            x = torch.relu(layer.conv(torch.cat([x, past], 1)) + x)
        elif isinstance(layer, TPool):
            times = layer.conv.in_channels // x.shape[1]
            x = layer.conv(x.reshape(-1, times * x.shape[1], *x.shape[2:]))
        else:
            x = layer(x)
    return x


def streamed(one: StreamingVae, video: Tensor, *calls: int) -> Tensor:
    stream = one.open()
    return torch.cat([one.encode(stream, part) for part in torch.split(video, list(calls))])


def test_a_stream_is_the_whole_clip_with_its_first_frame_for_four() -> None:
    video = clip(13)
    latents = streamed(vae(), video, 5, 4, 4)
    assert latents.shape == (4, 16, 4, 6)
    torch.testing.assert_close(latents, whole_clip(encoder(), video), atol=1e-5, rtol=1e-5)
    # The mutation: a memory of two frames ago is another network.
    assert float((latents - whole_clip(encoder(), video, memory=2)).abs().max()) > 1e-2


@pytest.mark.parametrize("calls", [(13,), (1, 4, 8), (9, 4)])
def test_how_a_stream_is_cut_into_calls_changes_nothing(calls: tuple[int, ...]) -> None:
    one = vae()
    assert torch.equal(streamed(one, clip(13), 5, 4, 4), streamed(one, clip(13), *calls))


def test_streams_in_one_call_are_each_as_if_alone() -> None:
    one = vae()
    videos = [clip(13, seed) for seed in (1, 2, 3)]
    alone = [streamed(one, video, 5, 4, 4) for video in videos]
    streams = [one.open() for _ in videos]
    parts = zip(*(torch.split(video, [5, 4, 4]) for video in videos), strict=True)
    together = [one.encode_together(streams, frames) for frames in parts]
    for row, expected in enumerate(alone):
        torch.testing.assert_close(torch.cat([call[row] for call in together]), expected, atol=1e-5, rtol=1e-5)
    assert float((alone[0] - alone[1]).abs().max()) > 1e-2, "rows that were mixed up would be seen"


def test_its_latents_are_brought_to_the_scale_that_the_network_is_fed() -> None:
    """It makes latents of mean 0 and deviation 1; the network is fed those of the VAE, unless it was told otherwise."""
    plain = streamed(vae(normalise=False), clip(5), 5)
    torch.testing.assert_close(plain, streamed(vae(normalise=True), clip(5), 5) * DEVIATION + MEAN)


def test_its_caches_are_counted_and_smaller_than_the_vaes() -> None:
    one = vae()
    stream = one.open()
    for frames in torch.split(clip(9), [5, 4]):
        one.decode(stream, one.encode(stream, frames))
    assert stream.bytes == one.stream_bytes(32, 48)
    assert sum(isinstance(cache, Tensor) for cache in stream.encoder) == 9


def test_half_precision_streams_too() -> None:
    one = StreamingVae(random_vae(CONFIG, 1), device=CPU, dtype=torch.bfloat16, encoder=encoder())
    assert streamed(one, clip(9), 5, 4).dtype is torch.float32


def test_its_parameters_have_the_published_names_and_shapes() -> None:
    named = {name: tuple(value.shape) for name, value in encoder().state_dict().items()}
    assert named["encoder.0.weight"] == (64, 3, 3, 3)
    assert named["encoder.2.conv.weight"] == (64, 128, 1, 1)
    assert named["encoder.3.weight"] == (64, 64, 3, 3)
    assert "encoder.3.bias" not in named
    assert named["encoder.4.conv.0.weight"] == (64, 128, 3, 3)
    assert named["encoder.7.conv.weight"] == (64, 128, 1, 1)
    assert named["encoder.12.conv.weight"] == (64, 64, 1, 1)
    assert named["encoder.17.bias"] == (16,)
    assert len(named) == 64


def test_both_halves_are_read_from_one_file(tmp_path: Path) -> None:
    path = tmp_path / "taew2_1.pth"
    weights = tiny_vae_weights()
    torch.save(weights, path)
    checkpoint = open_checkpoint([path])
    assert tiny_encoder.check(checkpoint) + tiny_decoder.check(checkpoint) == len(weights)
    read = tiny_encoder.read(checkpoint, device=CPU, dtype=torch.float32)
    assert all(torch.equal(value, weights[name]) for name, value in read.state_dict().items())


def test_a_file_that_lacks_a_tensor_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "taew2_1.pth"
    weights = tiny_vae_weights()
    del weights["encoder.12.conv.weight"]
    torch.save(weights, path)
    with pytest.raises(WrongCheckpoint, match=r"missing: encoder\.12\.conv\.weight"):
        tiny_encoder.check(open_checkpoint([path]))
