"""The streaming VAE with the tiny model's weights: streams, shapes, bytes, and the picture that it keeps."""

import copy
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from genlock_worker.engines.diffusion.config import MODELS, VaeConfig
from genlock_worker.engines.diffusion.network.coding.live_bytes import LiveBytes
from genlock_worker.engines.diffusion.network.vae import SETTLED, StreamingVae, VaeStream
from genlock_worker.engines.diffusion.weights.random_vae import random_vae

CPU = torch.device("cpu")
SIDE = 48
CALLS = [5, 4, 4, 4]
"""Pictures of each call of a stream of 17."""


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


def many_streams(vae: StreamingVae, count: int) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """Latents and frames of several videos, call by call, each alone: by stream."""
    latents: list[list[Tensor]] = []
    frames: list[list[Tensor]] = []
    for seed in range(count):
        stream = vae.open()
        latents.append([vae.encode(stream, part) for part in torch.split(clip(17, seed), CALLS)])
        frames.append([vae.decode(stream, part) for part in latents[-1]])
    return latents, frames


def test_streams_in_one_call_are_each_as_if_alone(vae: StreamingVae) -> None:
    alone, shown = many_streams(vae, 3)
    streams = [vae.open() for _ in range(3)]
    parts = list(zip(*(torch.split(clip(17, seed), CALLS) for seed in range(3)), strict=True))
    for call, frames in enumerate(parts):
        # In the third call one of them is coded apart from the others.
        groups = [[0, 2], [1]] if call == 2 else [[0, 1, 2]]
        for group in groups:
            latents = vae.encode_together([streams[row] for row in group], [frames[row] for row in group])
            pixels = vae.decode_together([streams[row] for row in group], latents)
            for row, z, pictures in zip(group, latents, pixels, strict=True):
                torch.testing.assert_close(z, alone[row][call], atol=1e-5, rtol=1e-5)
                assert int((pictures.int() - shown[row][call].int()).abs().max()) <= 1
                assert pictures.is_contiguous()


def test_the_same_batch_gives_the_same_to_the_bit(vae: StreamingVae) -> None:
    def run() -> list[Tensor]:
        streams = [vae.open() for _ in range(2)]
        given = []
        for frames in zip(*(torch.split(clip(13, seed), [5, 4, 4]) for seed in (3, 4)), strict=True):
            latents = vae.encode_together(streams, frames)
            given += [*latents, *vae.decode_together(streams, latents)]
        return given

    assert all(torch.equal(one, other) for one, other in zip(run(), run(), strict=True))


def test_rows_that_were_mixed_up_would_be_seen(vae: StreamingVae) -> None:
    """The mutation beside the two tests above: another row's caches give another picture."""
    _, shown = many_streams(vae, 2)
    streams = [vae.open() for _ in range(2)]
    for call, frames in enumerate(zip(*(torch.split(clip(17, seed), CALLS) for seed in range(2)), strict=True)):
        if call == 2:
            streams[0].decoder, streams[1].decoder = streams[1].decoder, streams[0].decoder
        pixels = vae.decode_together(streams, vae.encode_together(streams, frames))
    assert all(int((one.int() - rows[3].int()).abs().max()) > 1 for one, rows in zip(pixels, shown, strict=True))


def test_what_is_not_finite_stays_in_its_own_row(vae: StreamingVae) -> None:
    alone = vae.open()
    streams = [vae.open() for _ in range(3)]
    for call in range(3):
        good = torch.randn(2 if call == 0 else 1, 16, 6, 6, generator=torch.Generator().manual_seed(call))
        bad = torch.full_like(good, float("nan")) if call == 1 else good
        pixels = vae.decode_together(streams, [good, bad, good])
        finite = [stream.finite is not None and bool(stream.finite) for stream in streams]
        assert finite == [True, call == 0, True]
        expected = vae.decode(alone, good)
        assert all(int((pixels[row].int() - expected.int()).abs().max()) <= 1 for row in (0, 2))


class _OneTooMany(TorchDispatchMode):  # type: ignore[no-untyped-call]  # the library has no types
    """Memory runs out at the operator of this number."""

    def __init__(self, number: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left = number

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.left -= 1
        if not self.left:
            raise torch.OutOfMemoryError("no room")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("began", [False, True])
def test_a_call_that_raises_moves_nothing_on(vae: StreamingVae, rows: int, *, began: bool) -> None:
    """Wherever it raises: between two layers, and while the new caches are handed over."""

    def prepared() -> list[VaeStream]:
        streams = [vae.open() for _ in range(rows)]
        if began:
            vae.decode_together(streams, [latents(2, row) for row in range(rows)])
        return streams

    def latents(count: int, seed: int) -> Tensor:
        return torch.randn(count, 16, 2, 2, generator=torch.Generator().manual_seed(seed))

    count = 1 if began else 2
    streams = prepared()
    counter = _OneTooMany(-1)
    with counter:
        expected = vae.decode_together(streams, [latents(count, 9 + row) for row in range(rows)])
    operators = -1 - counter.left

    for number in (*range(1, operators, operators // 6), operators):
        streams = prepared()
        with _OneTooMany(number), pytest.raises(torch.OutOfMemoryError):
            vae.decode_together(streams, [latents(count, 9 + row) for row in range(rows)])
        again = vae.decode_together(streams, [latents(count, 9 + row) for row in range(rows)])
        assert all(torch.equal(one, other) for one, other in zip(again, expected, strict=True)), number


def test_rows_that_are_not_alike_are_refused(vae: StreamingVae) -> None:
    new, old = vae.open(), vae.open()
    vae.encode(old, clip(5))
    with pytest.raises(ValueError, match="alike"):
        vae.encode_together([vae.open(), vae.open()], [clip(5), clip(9)])
    with pytest.raises(ValueError, match="there twice"):
        vae.encode_together([new, new], [clip(5), clip(5)])
    with pytest.raises(ValueError, match="none"):
        vae.encode_together([], [])
    assert new.encoded == 0
    assert vae.encoding_kind(new, clip(5)) != vae.encoding_kind(old, clip(5))


def test_caches_keep_their_shapes_after_two_latents(vae: StreamingVae) -> None:
    def shapes(stream: VaeStream) -> list[object]:
        return [c.shape if isinstance(c, Tensor) else c for c in (*stream.encoder, *stream.decoder)]

    stream = vae.open()
    seen = []
    for frames in torch.split(clip(17), [1, 4, 4, 8]):
        vae.decode(stream, vae.encode(stream, frames))
        seen.append(shapes(stream))
    assert seen[0] != seen[SETTLED - 1] == seen[SETTLED] == seen[SETTLED + 1]


def test_a_stream_keeps_no_others_caches_alive(vae: StreamingVae) -> None:
    streams = [vae.open() for _ in range(2)]
    for frames in zip(*(torch.split(clip(13, seed), [5, 4, 4]) for seed in (3, 4)), strict=True):
        vae.decode_together(streams, vae.encode_together(streams, frames))
    for stream in streams:
        caches = [cache for cache in (*stream.encoder, *stream.decoder) if isinstance(cache, Tensor)]
        assert sum(cache.untyped_storage().nbytes() for cache in caches) == stream.bytes == vae.stream_bytes(SIDE, SIDE)


def test_a_call_needs_its_new_caches_and_more(vae: StreamingVae) -> None:
    stream = vae.open()
    vae.decode(stream, vae.encode(stream, clip(5)))
    frames = clip(4)
    needed = vae.call_bytes(SIDE, SIDE)
    with LiveBytes() as live:
        latents = vae.encode(stream, frames)
    assert live.peak == needed.encode
    with LiveBytes() as live:
        vae.decode(stream, latents)
    assert live.peak == needed.decode
    assert needed.encode + needed.decode > vae.stream_bytes(SIDE, SIDE)
    assert vae.call_bytes(2 * SIDE, SIDE).decode == 2 * needed.decode


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
    assert all(cache.dtype is torch.bfloat16 for cache in stream.decoder if isinstance(cache, Tensor))


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
