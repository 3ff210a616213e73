"""The dimensions of the models and the numbers of the streaming algorithm: data alone, no torch.

Figures are those of the published configurations (Wan 2.1 model cards; StreamDiffusionV2, appendix and configurations).
"""

from dataclasses import dataclass
from enum import StrEnum

from genlock_core.process import values
from genlock_core.process.options import option, section
from genlock_worker.engines.algorithm.ring import RingLayout


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """A causal Wan 2.1 DiT. Latents have `channels`; a token is `patch` x `patch` latent pixels of one frame."""

    layers: int
    heads: int
    dim: int
    ffn_dim: int
    freq_dim: int = 256
    text_dim: int = 4096
    text_length: int = 512
    channels: int = 16
    patch: int = 2
    eps: float = 1e-6

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads

    def frame_tokens(self, height: int, width: int) -> int:
        """Tokens of one latent frame of a picture of height x width pixels (VAE stride 8)."""
        return (height // (8 * self.patch)) * (width // (8 * self.patch))


@dataclass(frozen=True, slots=True)
class VaeConfig:
    """A Wan 2.1 VAE (diffusers' `AutoencoderKLWan`)."""

    base_dim: int = 96
    z_dim: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    res_blocks: int = 2
    temporal_downsample: tuple[bool, ...] = (False, True, True)
    latents_mean: tuple[float, ...] | None = None
    """None: the library's, which are Wan's."""
    latents_std: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class TextConfig:
    """A UMT5 encoder (transformers' `UMT5EncoderModel`)."""

    vocab: int = 256_384
    dim: int = 4096
    head_dim: int = 64
    ffn_dim: int = 10_240
    heads: int = 64
    layers: int = 24


@dataclass(frozen=True, slots=True)
class DiffusionConfig:
    """One model: what `--model` names."""

    name: str
    transformer: TransformerConfig
    vae: VaeConfig
    text: TextConfig
    needs_weights: bool = True
    """False: made of random numbers of a fixed seed where there are no files (`tiny`)."""


class Positions(StrEnum):
    """Where a latent frame stands in time for the rotary embedding of queries and keys."""

    ABSOLUTE = "absolute"  # its number since the session began: exact to the reference, distances to the sinks grow
    REFRESHED = "refreshed"  # the same, taken back to the end of the ring every 45 frames: the reference's online demo
    RELATIVE = "relative"  # its place in the ring: sinks first, then the window: the same for ever


SINK_DELAY = 10
"""How many chunks after chunk c the frame comes that takes a sink's place, as chunk c has decided (K).

By then no row of chunk c + K has been handed over, however far the rows of a session are apart: while the last row of
chunk c is under way, up to three more batches may be (four is the most that a placement keeps), each with the last row
of one more chunk; and behind them at most six chunks have rows left (`rows.session_rows`: one more than a chunk has
rows, and these are five at most). So chunk c + 9 is the newest that any row may have written.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """The streaming algorithm's options; the defaults are what Genlock runs."""

    ring: RingLayout = section(RingLayout)
    positions: Positions = option(
        values.member_of(Positions), Positions.RELATIVE.value, "where cached frames stand in time"
    )
    sink_threshold: float | None = option(
        values.word_or(values.number(0.0), "off"),
        "0.2",
        "a sink less similar than this to the newest frame is replaced by it; off: sinks stay",
    )
    sink_cooldown_chunks: int = 8
    """After a sink was replaced none is for this many chunks."""
    sink_delay_chunks: int = SINK_DELAY
    """The frame that takes a sink's place is of so many chunks after the one that decided it."""
    normalise_latents: bool = option(
        values.switch(), "no", "feed the network latents of mean 0 and deviation 1; published models were run without"
    )
    refresh_on_prompt: bool = option(
        values.switch(), "no", "compute what a row remembers anew, once another prompt has taken over"
    )
    primed_chunks: int = option(
        values.whole(1), "4", "input chunks and output latents that a snapshot keeps, to prime the VAE with"
    )


TINY = TransformerConfig(
    layers=2, heads=2, dim=64, ffn_dim=128, freq_dim=32, text_dim=24, text_length=64, channels=16, patch=2
)
"""Small enough for a CPU; the architecture is that of the large ones."""

MODELS: dict[str, DiffusionConfig] = {
    config.name: config
    for config in (
        DiffusionConfig(
            "wan2.1-1.3b", TransformerConfig(layers=30, heads=12, dim=1536, ffn_dim=8960), VaeConfig(), TextConfig()
        ),
        DiffusionConfig(
            "wan2.1-14b", TransformerConfig(layers=40, heads=40, dim=5120, ffn_dim=13_824), VaeConfig(), TextConfig()
        ),
        DiffusionConfig(
            "tiny",
            TINY,
            VaeConfig(
                base_dim=8, dim_mult=(1, 1, 1, 1), res_blocks=1, latents_mean=(0.0,) * 16, latents_std=(1.0,) * 16
            ),
            TextConfig(vocab=384, dim=24, head_dim=12, ffn_dim=48, heads=2, layers=2),
            needs_weights=False,
        ),
    )
}
"""Every model that the diffusion engine can run."""
