"""TAEHV's decoder as a stream, with random weights; what its checkpoint must hold."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from genlock_worker.engines.diffusion.config import MODELS
from genlock_worker.engines.diffusion.errors import WrongCheckpoint
from genlock_worker.engines.diffusion.network.coding import tiny_decoder
from genlock_worker.engines.diffusion.network.coding.caches import Caches, StagedCaches
from genlock_worker.engines.diffusion.network.coding.tiny_block import MemBlock
from genlock_worker.engines.diffusion.network.coding.tiny_decoder import TGrow, TinyDecoder
from genlock_worker.engines.diffusion.network.vae import StreamingVae
from genlock_worker.engines.diffusion.weights.checkpoints import open_checkpoint
from genlock_worker.engines.diffusion.weights.random_vae import random_vae

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def decoder() -> TinyDecoder:
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return TinyDecoder().train(False).requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def vae(decoder: TinyDecoder) -> StreamingVae:
    return StreamingVae(random_vae(MODELS["tiny"].vae, 1), device=CPU, dtype=torch.float32, decoder=decoder)


def latents(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 16, 4, 6, generator=torch.Generator().manual_seed(seed))


def whole_clip(decoder: TinyDecoder, clip: Tensor) -> Tensor:
    """The published rule, all frames of a layer at once: memory is the layer's input, one frame later."""
    x = clip
    for layer in decoder.decoder:
        if isinstance(layer, MemBlock):
            past = functional.pad(x, (0, 0, 0, 0, 0, 0, 1, 0))[: len(x)]
            x = torch.relu(layer.conv(torch.cat([x, past], 1)) + x)
        elif isinstance(layer, TGrow):
            x = layer.conv(x).reshape(-1, *x.shape[1:])
        else:
            x = layer(x)
    return x[3:]


def test_a_stream_is_the_whole_clip(decoder: TinyDecoder) -> None:
    clip = latents(4)
    slot: Caches = [None] * decoder.cache_count
    streamed = []
    for call, part in enumerate(torch.split(clip, [2, 1, 1])):
        caches = StagedCaches([slot])
        streamed.append(decoder.frames(part[None], caches, first=call == 0)[0])
        caches.take_over()
    assert [len(part) for part in streamed] == [5, 4, 4]
    torch.testing.assert_close(torch.cat(streamed), whole_clip(decoder, clip), atol=1e-5, rtol=1e-5)


def test_how_a_stream_is_cut_into_calls_changes_nothing(vae: StreamingVae) -> None:
    def streamed(*calls: int) -> Tensor:
        stream = vae.open()
        return torch.cat([vae.decode(stream, part) for part in torch.split(latents(4), list(calls))])

    assert torch.equal(streamed(2, 1, 1), streamed(4))
    assert torch.equal(streamed(2, 1, 1), streamed(1, 1, 2))


def test_two_streams_between_each_other_are_each_as_if_alone(vae: StreamingVae) -> None:
    def step(one: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        mine, theirs = [], []
        for a, b in zip(torch.split(latents(4, 1), [2, 1, 1]), torch.split(latents(4, 2), [2, 1, 1]), strict=True):
            mine.append(one(a))
            theirs.append(other(b))
        return torch.cat(mine), torch.cat(theirs)

    first, second, third, fourth = (vae.open() for _ in range(4))
    together = step(lambda z: vae.decode(first, z), lambda z: vae.decode(second, z))
    alone = step(lambda z: vae.decode(third, z), lambda z: z)[0], step(lambda z: z, lambda z: vae.decode(fourth, z))[1]
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))


def test_it_stands_in_for_the_decoder_of_a_vae(vae: StreamingVae) -> None:
    stream = vae.open()
    coded = vae.encode(stream, torch.zeros(5, 32, 48, 3, dtype=torch.uint8))
    pixels = vae.decode(stream, coded)
    assert pixels.shape == (5, 32, 48, 3)
    assert pixels.dtype is torch.uint8
    vae.decode(stream, vae.encode(stream, torch.zeros(4, 32, 48, 3, dtype=torch.uint8)))
    assert stream.bytes == vae.stream_bytes(32, 48)


def test_a_published_file_is_read_without_its_encoder(decoder: TinyDecoder, tmp_path: Path) -> None:
    path = tmp_path / "taew2_1.pth"
    torch.save({**decoder.state_dict(), "encoder.0.weight": torch.zeros(64, 3, 3, 3)}, path)
    checkpoint = open_checkpoint([path])
    assert tiny_decoder.check(checkpoint) == len(decoder.state_dict()) == 64
    read = tiny_decoder.read(checkpoint, device=CPU, dtype=torch.float32)
    assert all(torch.equal(value, decoder.state_dict()[name]) for name, value in read.state_dict().items())


def test_its_parameters_have_the_published_names_and_shapes(decoder: TinyDecoder) -> None:
    named = {name: tuple(value.shape) for name, value in decoder.state_dict().items()}
    assert named["decoder.1.weight"] == (256, 16, 3, 3)
    assert named["decoder.3.conv.0.weight"] == (256, 512, 3, 3)
    assert named["decoder.7.conv.weight"] == (256, 256, 1, 1)
    assert named["decoder.8.weight"] == (128, 256, 3, 3)
    assert named["decoder.13.conv.weight"] == (256, 128, 1, 1)
    assert named["decoder.19.conv.weight"] == (128, 64, 1, 1)
    assert named["decoder.22.bias"] == (3,)


def test_a_file_that_lacks_a_tensor_or_holds_another_is_refused_by_name(decoder: TinyDecoder, tmp_path: Path) -> None:
    path = tmp_path / "taew2_1.pth"
    state = decoder.state_dict()
    del state["decoder.13.conv.weight"]
    torch.save({**state, "decoder.23.weight": torch.zeros(1)}, path)
    with pytest.raises(WrongCheckpoint, match=r"missing: decoder\.13\.conv\.weight.*unexpected: decoder\.23\.weight"):
        tiny_decoder.check(open_checkpoint([path]))
