"""What a forward computes between its linear layers, token by token: norms, modulation, gates, the activation.

`Pointwise` says what is to be computed; it reads and writes whole activations and computes next to nothing, so that
memory's speed decides what it takes. `TorchPointwise` does it with PyTorch's operations on every device; an
implementation with a kernel for each step stands in `kernels`.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional


class Affine(NamedTuple):
    """What a normed token is multiplied by, and what is added then: (R, 1, D) float32 of each row, or learned, (D,)."""

    gain: Tensor
    shift: Tensor


class LayerModulation(NamedTuple):
    """What a layer does to each row at its timestep; gates are (R, 1, D) float32."""

    attention: Affine
    attention_gate: Tensor
    feed_forward: Affine
    feed_forward_gate: Tensor


class Pointwise(Protocol):
    """The steps between a block's linear layers. Tokens and updates are (R, n, D) in the model's dtype.

    Norms are LayerNorms over D, computed in float32.
    """

    def norm(self, tokens: Tensor, by: Affine, eps: float) -> Tensor:
        """`by.gain` * norm(`tokens`) + `by.shift`, in the tokens' dtype."""
        ...

    def add_norm(
        self, tokens: Tensor, update: Tensor, gate: Tensor | None, by: Affine, eps: float
    ) -> tuple[Tensor, Tensor]:
        """`tokens` + `gate` * `update`, computed in float32 (no gate: their sum), and the norm of what they become."""
        ...

    def activated(self, linear: nn.Module, tokens: Tensor) -> Tensor:
        """GELU, as its tanh approximation, of `linear(tokens)`."""
        ...


class TorchPointwise:
    """PyTorch's operations. Each reads the model's dtype as it is and rounds what it writes: nothing is only cast."""

    def norm(self, tokens: Tensor, by: Affine, eps: float) -> Tensor:
        """As `Pointwise.norm`."""
        size = tokens.shape[-1:]
        if by.gain.dim() == 1:
            return functional.layer_norm(tokens, size, by.gain, by.shift, eps)
        # LayerNorm rounds what it gives to the dtype of what it takes, and this is not the last step.
        normed = functional.layer_norm(tokens.float(), size, eps=eps)
        return torch.addcmul(by.shift, normed, by.gain, out=torch.empty_like(tokens))

    def add_norm(
        self, tokens: Tensor, update: Tensor, gate: Tensor | None, by: Affine, eps: float
    ) -> tuple[Tensor, Tensor]:
        """As `Pointwise.add_norm`."""
        updated = torch.empty_like(tokens)
        if gate is None:
            torch.add(tokens, update, out=updated)
        else:
            torch.addcmul(tokens, update, gate, out=updated)
        return updated, self.norm(updated, by, eps)

    def activated(self, linear: nn.Module, tokens: Tensor) -> Tensor:
        """As `Pointwise.activated`."""
        return functional.gelu(linear(tokens), approximate="tanh")


def layer_modulations(learned: Sequence[Tensor], time: Tensor) -> list[LayerModulation]:
    """Of all layers at once: `learned` (1, 6, D) of each layer, `time` (R, 6, D) of each row's timestep.

    The six are shift, scale and gate of self-attention, then of the feed-forward; a gain is 1 + scale.
    """
    by_layer = torch.stack(list(learned)) + time.float()  # (L, R, 6, D)
    by_layer[:, :, 1::3].add_(1.0)
    modulations = []
    for layer in by_layer.unsqueeze(3).unbind():
        shift, gain, gate, ffn_shift, ffn_gain, ffn_gate = layer.unbind(1)
        modulations.append(LayerModulation(Affine(gain, shift), gate, Affine(ffn_gain, ffn_shift), ffn_gate))
    return modulations


def head_modulation(learned: Tensor, time: Tensor) -> Affine:
    """`learned` (1, 2, D), shift and scale, to which `time` (R, D) is added."""
    shift, scale = (learned + time.float().unsqueeze(1)).unsqueeze(2).unbind(1)
    return Affine(scale + 1.0, shift)
