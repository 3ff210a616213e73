"""The causal Wan 2.1 transformer: rows of latent frames in, flow out, each row attending to its own ring.

The names of the parameters are those of the published checkpoints (without their prefix `model.`). Linear layers run
over all rows at once; what reads and writes the pools is `ring_ops`'s, what lies between the linear layers is
`pointwise`'s. Norms, modulation and rotation are computed in float32, all else in the dtype of the weights. Nothing is
read back from the device and no branch depends on a value there, so that a forward can be captured in a CUDA graph.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import TransformerConfig
from genlock_worker.engines.diffusion.network.pointwise import (
    Affine,
    LayerModulation,
    Pointwise,
    TorchPointwise,
    head_modulation,
    layer_modulations,
)
from genlock_worker.engines.diffusion.network.projections import Attention
from genlock_worker.engines.diffusion.network.ring_ops import RingForward, RingOps, TorchRingOps
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch


class CausalWan(nn.Module):
    """The network; holds no state of any session."""

    def __init__(
        self,
        config: TransformerConfig,
        *,
        layout: RingLayout,
        ops: RingOps | None = None,
        pointwise: Pointwise | None = None,
    ) -> None:
        """`ops`: how the pools are read and written; `pointwise`: what computes between the linear layers."""
        super().__init__()
        self.config = config
        self.layout = layout
        self.ops: RingOps = ops or TorchRingOps()
        self.pointwise: Pointwise = pointwise or TorchPointwise()
        dim = config.dim
        window = (1, config.patch, config.patch)
        self.patch_embedding = nn.Conv3d(config.channels, dim, kernel_size=window, stride=window)
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(Block(config, self.pointwise) for _ in range(config.layers))
        self.head = Head(config)

    @torch.no_grad()
    def text_kv(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-attention keys and values of a prompt: `embedding` is (text_length, text_dim), padded with zeros.

        Both are (L, text_length, H, head_dim); the keys are normed and not rotated.
        The padding is attended to, as in training: there is no mask. Raises ValueError for another shape.
        """
        wanted = (self.config.text_length, self.config.text_dim)
        if embedding.shape != wanted:
            raise ValueError(f"a prompt's embedding must be {wanted}, padded with zeros, not {tuple(embedding.shape)}")
        weight = self.patch_embedding.weight
        text = self.text_embedding(embedding.to(weight.device, weight.dtype))
        keys, values = zip(*(block.cross_attn.keys_values(text) for block in self._blocks()), strict=True)
        return torch.stack(keys), torch.stack(values)

    @torch.no_grad()
    def forward(self, batch: RowBatch) -> Denoised:
        """One denoising step of every row; writes the keys, values and means of the new frames into the pool."""
        height, width = batch.hidden.shape[-2:]
        grid = height // self.config.patch, width // self.config.patch
        # What the sinks are before anything is written: a new frame is never compared with itself.
        sinks = self._sink_means(batch)
        ring = self.ops.enter(batch, grid=grid, sinks=self.layout.sinks)

        tokens = self._patchify(batch.hidden)
        time = self.time_embedding(_sinusoid(batch.timesteps, self.config.freq_dim).to(tokens.dtype))
        by_time = torch.unflatten(self.time_projection(time), 1, (6, -1))
        modulations = layer_modulations([block.modulation for block in self._blocks()], by_time)
        # A block ends with the norm that the next one begins with, and the last one with the head's.
        following = [by.attention for by in modulations[1:]] + [head_modulation(self.head.modulation, time)]

        normed = self.pointwise.norm(tokens, modulations[0].attention, self.config.eps)
        for layer, (block, by, then) in enumerate(zip(self._blocks(), modulations, following, strict=True)):
            tokens, normed = block(tokens, normed, by, then, ring, layer)

        flow = self._unpatchify(self.head(normed), grid)
        new = batch.pool.means[:, batch.written[:, -1, 0]]
        return Denoised(flow.float(), _similarity(sinks, new))

    def _sink_means(self, batch: RowBatch) -> Tensor:
        """(L, R, S, 2, D) float32, zeros for sinks that were never written."""
        count = self.layout.sinks
        first_pages = batch.table[:, :: batch.written.shape[2]][:, :count]
        never = torch.arange(count, device=batch.filled.device) >= batch.filled[:, None]
        return batch.pool.means[:, first_pages].masked_fill(never[:, :, None, None], 0.0)

    def _blocks(self) -> list["Block"]:
        return cast("list[Block]", list(self.blocks))

    def _patchify(self, hidden: Tensor) -> Tensor:
        """(R, F, C, h, w) -> (R, n, D): the convolution's kernel is its stride, so it is a linear layer on patches."""
        size = self.config.patch
        patches = torch.unflatten(
            torch.unflatten(hidden, -1, (-1, size)), -3, (-1, size)
        )  # R, F, C, high, size, wide, size
        patches = patches.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(1, 3)
        return functional.linear(patches, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)

    def _unpatchify(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """(R, n, size * size * C) -> (R, F, C, h, w)."""
        size = self.config.patch
        cells = torch.unflatten(
            torch.unflatten(patches, 1, (-1, *grid)), -1, (size, size, -1)
        )  # R, F, high, wide, size, size, C
        return cells.permute(0, 1, 6, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)


class Block(nn.Module):
    """Self-attention over the ring, cross-attention to the prompt, feed-forward.

    What lies between two attentions is a method without side effects, fit to be compiled by itself.
    """

    def __init__(self, config: TransformerConfig, pointwise: Pointwise) -> None:
        super().__init__()
        dim = config.dim
        self.eps = config.eps
        self.pointwise = pointwise
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)
        self.self_attn = Attention(config)
        self.cross_attn = Attention(config)
        self.norm3 = nn.LayerNorm(dim, eps=config.eps)
        self.ffn = nn.Sequential(
            nn.Linear(dim, config.ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(config.ffn_dim, dim)
        )

    def forward(
        self, tokens: Tensor, normed: Tensor, by: LayerModulation, then: Affine, ring: RingForward, layer: int
    ) -> tuple[Tensor, Tensor]:
        """`tokens` (R, n, D) and their norm, modulated by `by.attention` -> both as the next layer takes them.

        `then`: what that one's norm is modulated by.
        """
        queries = ring.write(layer, *self.before_ring(normed), self.self_attn)
        tokens, to_prompt = self.between(tokens, ring.attend(layer, queries), by)
        return self.after_prompt(tokens, ring.attend_to_prompt(layer, to_prompt, self.cross_attn), by, then)

    def before_ring(self, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The projections to queries, keys and values, (R, n, D) each, not normed."""
        return self.self_attn.q(normed), self.self_attn.k(normed), self.self_attn.v(normed)

    def between(self, tokens: Tensor, attended: Tensor, by: LayerModulation) -> tuple[Tensor, Tensor]:
        """(tokens, projection to the queries to the prompt), from what the ring answered, (R, n, D)."""
        learned = Affine(self.norm3.weight, self.norm3.bias)
        update = self.self_attn.o(attended)
        tokens, normed = self.pointwise.add_norm(tokens, update, by.attention_gate, learned, self.eps)
        return tokens, self.cross_attn.q(normed)

    def after_prompt(
        self, tokens: Tensor, attended: Tensor, by: LayerModulation, then: Affine
    ) -> tuple[Tensor, Tensor]:
        """The block's output and its norm, from what the prompt answered, (R, n, D)."""
        update = self.cross_attn.o(attended)
        tokens, normed = self.pointwise.add_norm(tokens, update, None, by.feed_forward, self.eps)
        update = self.ffn[2](self.pointwise.activated(self.ffn[0], normed))
        return self.pointwise.add_norm(tokens, update, by.feed_forward_gate, then, self.eps)


class Head(nn.Module):
    """The projection of each token to its patch, and what modulates the norm before it."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.modulation = nn.Parameter(torch.randn(1, 2, config.dim) / config.dim**0.5)
        self.head = nn.Linear(config.dim, config.patch**2 * config.channels)

    def forward(self, normed: Tensor) -> Tensor:
        """(R, n, D) -> (R, n, patch * patch * C)."""
        patches: Tensor = self.head(normed)
        return patches


def _sinusoid(timesteps: Tensor, width: int) -> Tensor:
    """(R,) -> (R, width) float64: cosines, then sines, of falling frequencies."""
    half = width // 2
    ladder = 10_000.0 ** (-torch.arange(half, dtype=torch.float64, device=timesteps.device) / half)
    angles = timesteps.double()[:, None] * ladder
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def _similarity(sinks: Tensor, new: Tensor) -> Tensor:
    """Cosines of mean keys and mean values, averaged over both and over the layers: (R, S) float32.

    `sinks` (L, R, S, 2, D) and `new` (L, R, 2, D). The keys are not rotated, so that how long ago a sink was written
    does not count (StreamDiffusionV2, section 3.2, compares what the frames show). A slot of zeros is like nothing: 0.
    """
    return functional.cosine_similarity(sinks, new.unsqueeze(2), dim=-1).mean(dim=(0, 3))
