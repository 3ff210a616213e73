"""A VAE without a checkpoint: random weights, over which the `tiny` model's picture is laid by hand.

Nothing here is trained. Every weight is a small random number of a fixed seed; a few are set so that a picture passes
through the true network's every layer: the encoder averages 8 x 8 pixels and keeps the brightness of each of a latent's
four frames and two colour differences of them all, turned into the latent channels by a random orthogonal matrix; the
decoder turns them back and smooths them up. What comes out is soft, but it moves as what went in did, frame by frame.
"""

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from torch import Tensor, nn

from genlock_worker.engines.diffusion.config import VaeConfig

_RANDOM_SHARE = 0.02
"""Factor on the library's random initialisation beneath the picture's path."""
_LATENT_GAIN = 16.0
"""Latents then deviate by 1-5 per channel (Wan's: 1.1-3.3): enough to be seen in noise that no network has removed."""
_LEVEL = 4.0
"""Two channels carry this constant, so that the norms over channels leave the six others nearly as they are."""
_SMALL = 0.2
"""Gain before the encoder's last SiLU: so small that it acts as a factor of one half."""
_DECODED_LEVEL = 0.7
"""The constant beside brightness and colour in the decoder's last norm: faint pictures gain contrast there."""
_CONTRAST = 0.55
_SMOOTH = ((0.0625, 0.125, 0.0625), (0.125, 0.25, 0.125), (0.0625, 0.125, 0.0625))
"""On pixels that were doubled: linear interpolation."""
_TO_OPPONENT = ((1 / 3, 1 / 3, 1 / 3), (0.5, 0.0, -0.5), (-0.25, 0.5, -0.25))
"""RGB to brightness and two colour differences."""

Wires = dict[int, int]
"""Output channel -> input channel."""
Parameters = dict[str, nn.Parameter]


def random_vae(config: VaeConfig, seed: int) -> AutoencoderKLWan:
    """The VAE of `config` with random weights on the CPU in float32, the same for the same seed.

    Where the widths are the `tiny` model's, a picture survives it; else its output is noise.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = empty_vae(config)
        mixing = torch.linalg.qr(torch.randn(config.z_dim, config.z_dim))[0][:, :6]
    if (config.base_dim, config.dim_mult, config.res_blocks) == (8, (1, 1, 1, 1), 1) and config.z_dim >= 6:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if not name.endswith("gamma"):
                    parameter.mul_(_RANDOM_SHARE)
            _lay_encoder(dict(model.named_parameters()), mixing)
            _lay_decoder(dict(model.named_parameters()), mixing)
    return model


def empty_vae(config: VaeConfig) -> AutoencoderKLWan:
    """The library's model of these dimensions, with its own random initialisation from torch's generator."""
    statistics = {"latents_mean": config.latents_mean, "latents_std": config.latents_std}
    model: AutoencoderKLWan = AutoencoderKLWan(
        base_dim=config.base_dim,
        z_dim=config.z_dim,
        dim_mult=list(config.dim_mult),
        num_res_blocks=config.res_blocks,
        attn_scales=[],
        temperal_downsample=list(config.temporal_downsample),
        **{name: list(values) for name, values in statistics.items() if values is not None},
    )
    return model


def _lay_encoder(weights: Parameters, mixing: Tensor) -> None:
    """Channels: brightness (one per frame seen so far, repeated to the width), two colours, the level twice."""
    weights["encoder.conv_in.weight"][:3, :, -1, 1, 1] += torch.tensor(_TO_OPPONENT)
    weights["encoder.conv_in.bias"][6:] += _LEVEL
    wires: tuple[Wires, ...] = (
        {0: 0, 1: 1, 2: 2},
        {0: 0, 1: 0, 2: 1, 3: 2},
        {0: 0, 1: 1, 2: 0, 3: 1, 4: 2, 5: 3},
    )

    for layer, wiring in zip((1, 3, 5), wires, strict=True):
        weight = weights[f"encoder.down_blocks.{layer}.resample.1.weight"]
        for target, source in (wiring | {6: 6, 7: 7}).items():
            weight[target, source, :2, :2] += 0.25

    # The taps of a convolution in time: the frame before, the first, the second of a pair.
    for layer, first, second in ((3, (0,), (1,)), (5, (0, 1), (2, 3))):
        weight = weights[f"encoder.down_blocks.{layer}.time_conv.weight"]
        colours = range(2 * len(first), 2 * len(first) + 2)
        for channel, tap in (*((c, 1) for c in first), *((c, 2) for c in (*second, 6, 7))):
            weight[channel, channel, tap] += 1.0
        for channel in colours:
            weight[channel, channel, 1:] += 0.5

    weights["encoder.norm_out.gamma"].fill_(_SMALL)
    weights["encoder.norm_out.gamma"][6:] = 0.0
    # Before the last convolution a signal s is about SiLU(SMALL * s * sqrt(8) / (sqrt(2) * LEVEL)) = SMALL * s / LEVEL.
    weights["encoder.conv_out.weight"][: len(mixing), :6, -1, 1, 1] += mixing * (_LATENT_GAIN * _LEVEL / _SMALL)
    _pass_on(weights["quant_conv.weight"])


def _lay_decoder(weights: Parameters, mixing: Tensor) -> None:
    """The encoder's way back; each doubling in time parts the brightness of the first half from that of the second."""
    _pass_on(weights["post_quant_conv.weight"])
    weights["decoder.conv_in.weight"][:6, :, -1, 1, 1] += mixing.T / _LATENT_GAIN
    weights["decoder.conv_in.bias"][6:] += _LEVEL
    smooth = torch.tensor(_SMOOTH)
    ups: tuple[Wires, ...] = ({0: 0, 1: 1, 2: 4, 3: 5}, {0: 0, 1: 2, 2: 3}, {0: 0, 1: 1, 2: 2})

    for block, wiring in enumerate(ups):
        weight = weights[f"decoder.up_blocks.{block}.upsamplers.0.resample.1.weight"]
        for target, source in wiring.items():
            weight[target, source] += smooth

    halves: tuple[tuple[Wires, Wires], ...] = (({0: 0, 1: 1}, {0: 2, 1: 3}), ({0: 0}, {0: 1}))
    colours: tuple[Wires, ...] = ({4: 4, 5: 5}, {2: 2, 3: 3})
    for block, (parts, carried) in enumerate(zip(halves, colours, strict=True)):
        weight = weights[f"decoder.up_blocks.{block}.upsamplers.0.time_conv.weight"]
        for half, wiring in enumerate(parts):
            for target, source in (wiring | carried | {6: 6, 7: 7}).items():
                weight[8 * half + target, source, -1] += 1.0

    for block, wiring in ((1, {0: 0, 1: 1, 2: 2, 3: 3}), (2, {0: 0, 1: 1, 2: 2})):
        shortcut = f"decoder.up_blocks.{block}.resnets.0.conv_shortcut"
        for target, source in wiring.items():
            weights[f"{shortcut}.weight"][target, source] += 1.0
        weights[f"{shortcut}.bias"][6:] += _LEVEL

    # SiLU(a) - SiLU(-a) = a: the last block carries every signal and its negative.
    last = "decoder.up_blocks.3.resnets.0.conv_shortcut"
    to_rgb = torch.linalg.inv(torch.tensor(_TO_OPPONENT)) * _CONTRAST
    for signal in range(3):
        for channel, sign in ((2 * signal, 1.0), (2 * signal + 1, -1.0)):
            weights[f"{last}.weight"][channel, signal] += sign
            weights["decoder.conv_out.weight"][:, channel, -1, 1, 1] += to_rgb[:, signal] * sign

    weights[f"{last}.bias"][6] += _DECODED_LEVEL


def _pass_on(weight: Tensor) -> None:
    """A convolution of one tap gives what it is given."""
    weight[:, :, 0, 0, 0] += torch.eye(len(weight))
