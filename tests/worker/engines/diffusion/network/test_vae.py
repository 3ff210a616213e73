"""The streaming VAE with the tiny model's weights: streams, shapes, bytes, and the picture that it keeps."""

import copy

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from torch import Tensor

from genlock_worker.engines.diffusion.config import MODELS, VaeConfig
from genlock_worker.engines.diffusion.network.vae import StreamingVae, VaeStream
from genlock_worker.engines.diffusion.weights.random_vae import random_vae

CPU = torch.device("cpu")
SIDE = 48


@pytest.fixture(scope="module")
def model() -> AutoencoderKLWan:
    torch.set_num_threads(1)
    return random_vae(MODELS["tiny"].vae, seed=1)


@pytest.fixture(scope="module")
def vae(model: AutoencoderKLWan) -> StreamingVae:
    return StreamingVae(copy.deepcopy(model), device=CPU, dtype=torch.float32)


def clip(frames: int, seed: int = 0, side: int = SIDE) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (frames, side, side, 3), generator=generator, dtype=torch.uint8)


def moving_square(frames: int, side: int = 64) -> Tensor:
    pictures = torch.full((frames, side, side, 3), 40, dtype=torch.uint8)
    for number, picture in enumerate(pictures):
        picture[16:40, 2 * number : 2 * number + 24] = torch.tensor([240, 220, 60], dtype=torch.uint8)
    return pictures


def streamed(vae: StreamingVae, video: Tensor, calls: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Latents and frames of a video coded and decoded in these calls."""
    stream = vae.open()
    latents = [vae.encode(stream, part) for part in torch.split(video, list(calls))]
    return torch.cat(latents), torch.cat([vae.decode(stream, part) for part in latents])


def test_a_stream_is_the_librarys_clip(model: AutoencoderKLWan, vae: StreamingVae) -> None:
    video = clip(13)
    latents, frames = streamed(vae, video, (5, 4, 4))
    with torch.no_grad():
        theirs = model.encode(video.permute(3, 0, 1, 2)[None] / 127.5 - 1.0).latent_dist.mode()
        decoded = model.decode(latents.transpose(0, 1)[None]).sample
    torch.testing.assert_close(latents, theirs[0].transpose(0, 1), atol=1e-4, rtol=1e-5)
    expected = ((decoded[0].permute(1, 2, 3, 0) * 0.5 + 0.5) * 255.0).round()
    assert float((frames.float() - expected).abs().max()) <= 1.0


@pytest.mark.parametrize("calls", [(5, 8), (9, 4), (13,), (1, 4, 4, 4)])
def test_how_a_stream_is_cut_into_calls_changes_nothing(vae: StreamingVae, calls: tuple[int, ...]) -> None:
    video = clip(13)
    latents, frames = streamed(vae, video, (5, 4, 4))
    other_latents, other_frames = streamed(vae, video, calls)
    assert torch.equal(latents, other_latents)
    assert torch.equal(frames, other_frames)


def test_two_streams_between_each_other_are_each_as_if_alone(vae: StreamingVae) -> None:
    videos = [clip(13, seed) for seed in (1, 2)]
    alone = [streamed(vae, video, (5, 4, 4)) for video in videos]
    streams = [vae.open() for _ in videos]
    together: list[list[Tensor]] = [[], []]
    for parts in zip(*(torch.split(video, [5, 4, 4]) for video in videos), strict=True):
        latents = [vae.encode(stream, part) for stream, part in zip(streams, parts, strict=True)]
        for pictures, stream, latent in zip(together, streams, latents, strict=True):
            pictures.append(vae.decode(stream, latent))
    for (_, frames), pictures in zip(alone, together, strict=True):
        assert torch.equal(frames, torch.cat(pictures))


def test_the_layout_of_the_kernels_changes_nothing_but_rounding(model: AutoencoderKLWan, vae: StreamingVae) -> None:
    plain = StreamingVae(copy.deepcopy(model), device=CPU, dtype=torch.float32, channels_last=False)
    ours, theirs = (streamed(one, clip(9), (5, 4))[0] for one in (vae, plain))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


def test_the_first_call_gives_one_latent_more(vae: StreamingVae) -> None:
    stream = vae.open()
    first, later = vae.encode(stream, clip(5)), vae.encode(stream, clip(4))
    assert (first.shape, later.shape) == ((2, 16, 6, 6), (1, 16, 6, 6))
    assert first.dtype is torch.float32
    pictures = vae.decode(stream, first), vae.decode(stream, later)
    assert [tuple(p.shape) for p in pictures] == [(5, SIDE, SIDE, 3), (4, SIDE, SIDE, 3)]
    assert pictures[0].dtype is torch.uint8
    assert pictures[0].is_contiguous()


def test_the_bytes_of_a_stream_are_those_of_its_caches(vae: StreamingVae) -> None:
    stream: VaeStream = vae.open()
    for part in (clip(5), clip(4), clip(4)):
        vae.decode(stream, vae.encode(stream, part))
    assert stream.bytes == vae.stream_bytes(SIDE, SIDE)
    assert vae.stream_bytes(96, 48) == 2 * stream.bytes


def test_half_precision_streams_too(model: AutoencoderKLWan) -> None:
    half = StreamingVae(copy.deepcopy(model), device=CPU, dtype=torch.bfloat16)
    latents, frames = streamed(half, clip(9, side=16), (5, 4))
    assert latents.dtype is torch.float32
    assert frames.shape == (9, 16, 16, 3)
    stream = half.open()
    half.decode(stream, latents)
    assert all(cache is None or cache.dtype is torch.bfloat16 for cache in stream.decoder)


def test_normalised_latents_are_the_plain_ones_less_the_mean_over_the_deviation() -> None:
    config = VaeConfig(
        base_dim=8, dim_mult=(1, 1, 1, 1), res_blocks=1, latents_mean=(0.5,) * 16, latents_std=(2.0,) * 16
    )
    plain, normal = (
        StreamingVae(random_vae(config, 1), device=CPU, dtype=torch.float32, normalise=normalise)
        for normalise in (False, True)
    )
    torch.testing.assert_close(normal.encode(normal.open(), clip(5)), (plain.encode(plain.open(), clip(5)) - 0.5) / 2)


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (clip(4), "4 frames cannot be coded: 1 \\+ 4k"),
        (clip(0), "0 frames"),
        (clip(5)[:, :20], "multiples of 8, not 48x20"),
        (clip(5).float(), "uint8"),
        (clip(5)[..., :2], r"\(T, H, W, 3\)"),
        (clip(5)[0], r"\(T, H, W, 3\)"),
    ],
)
def test_what_cannot_be_coded_is_refused(vae: StreamingVae, frames: Tensor, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        vae.encode(vae.open(), frames)


def test_a_refused_call_leaves_the_stream_where_it_was(vae: StreamingVae) -> None:
    video = clip(9)
    expected, _ = streamed(vae, video, (5, 4))
    stream = vae.open()
    first = vae.encode(stream, video[:5])
    for wrong in (clip(5), clip(4, side=64)):
        with pytest.raises(ValueError, match=r"cannot be coded|another resolution"):
            vae.encode(stream, wrong)
    assert torch.equal(torch.cat([first, vae.encode(stream, video[5:])]), expected)


@pytest.mark.parametrize("shape", [(2, 4, 6, 6), (16, 6, 6), (0, 16, 6, 6)])
def test_latents_of_another_shape_are_refused(vae: StreamingVae, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="latents are"):
        vae.decode(vae.open(), torch.zeros(shape))


def test_a_picture_that_is_not_finite_is_said_to_be_none(vae: StreamingVae) -> None:
    stream = vae.open()
    vae.decode(stream, torch.full((2, 16, 6, 6), float("nan")))
    assert stream.finite is not None
    assert not bool(stream.finite)


def test_the_tiny_model_keeps_what_moves_in_the_picture(vae: StreamingVae) -> None:
    video = moving_square(13)
    _, frames = streamed(vae, video, (5, 4, 4))
    for ours, theirs in zip(frames.float().mean(-1), video.float().mean(-1), strict=True):
        likeness = torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten()]))[0, 1]
        assert float(likeness) > 0.8


def test_weights_are_those_of_their_seed_and_leave_torchs_generator_alone() -> None:
    before = torch.random.get_rng_state()
    states = [random_vae(MODELS["tiny"].vae, seed).state_dict() for seed in (1, 1, 2)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert any(not torch.equal(value, states[2][key]) for key, value in states[0].items())


def test_widths_without_a_laid_picture_are_random_alone() -> None:
    config = VaeConfig(base_dim=4, z_dim=4, dim_mult=(1, 2), res_blocks=1, temporal_downsample=(True,))
    assert random_vae(config, seed=1).config["z_dim"] == 4
