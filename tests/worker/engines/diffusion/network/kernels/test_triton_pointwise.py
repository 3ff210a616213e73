"""The steps between linear layers are one launch each, on tensors without memory.

What they compute is in `interpreted`.
"""

import pytest
import torch
from torch import Tensor, nn

from bench.counted.cost import Tally
from bench.counted.counter import counted
from genlock_worker.engines.diffusion.network.kernels.triton_pointwise import TritonPointwise
from genlock_worker.engines.diffusion.network.pointwise import Affine

KERNELS = TritonPointwise()
DIM, EPS = 1536, 1e-6


def meta(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.bfloat16, device="meta")


def by(rows: int) -> Affine:
    return Affine(torch.empty(rows, 1, DIM, device="meta"), torch.empty(rows, 1, DIM, device="meta"))


def launched(tally: Tally) -> list[str]:
    return [entry.name.partition(".")[0] for entry in tally.entries if entry.cost.kernels]


@pytest.mark.parametrize("rows", [1, 16])
def test_each_step_is_one_launch_however_many_rows_there_are(rows: int) -> None:
    tokens, gate = meta(rows, 1024, DIM), torch.empty(rows, 1, DIM, device="meta")
    with counted() as tally:
        KERNELS.norm(tokens, by(rows), EPS)
        KERNELS.add_norm(tokens, tokens, gate, by(rows), EPS)
        KERNELS.add_norm(tokens, tokens, None, Affine(meta(DIM), meta(DIM)), EPS)
    assert launched(tally) == ["genlock::pointwise_norm", *["genlock::pointwise_add_norm"] * 2]
    assert tally.total.kernels == 3


def test_the_activation_is_within_the_product() -> None:
    with torch.device("meta"):
        linear = nn.Linear(DIM, 40, dtype=torch.bfloat16)
    with counted() as tally:
        out = KERNELS.activated(linear, meta(2, 7, DIM))
    assert (out.shape, out.dtype) == ((2, 7, 40), torch.bfloat16)
    assert launched(tally) == ["aten::_addmm_activation"]


def test_a_layer_that_multiplies_in_its_own_way_is_called_and_then_activated() -> None:
    class Doubled(nn.Module):
        """As 8-bit layers, which are no `nn.Linear`."""

        def forward(self, tokens: Tensor) -> Tensor:
            return tokens + tokens

    with counted() as tally:
        KERNELS.activated(Doubled(), meta(2, 7, DIM))
    assert launched(tally) == ["aten::add", "aten::gelu"]
