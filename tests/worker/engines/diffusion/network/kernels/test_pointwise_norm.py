"""What the norms' kernels are planned to do, and that they compile; what they compute is seen in `interpreted`."""

import pytest
import torch
from torch import Tensor

from genlock_worker.engines.diffusion.network.kernels.declared import Launches
from genlock_worker.engines.diffusion.network.kernels.pointwise_norm import (
    ADD_NORM,
    NORM,
    planned_add_norm,
    planned_norm,
)
from tests.worker.engines.diffusion.network.kernels.compiled import SHARED_BYTES, compiled

ROWS, TOKENS, DIM, EPS = 2, 1024, 1536, 1e-6
OTHER_DIM = 5120
"""Of the 14B network."""
WORD = 16
"""Bytes that one thread moves at once at most."""


def tokens(dim: int = DIM) -> Tensor:
    return torch.empty(ROWS, TOKENS, dim, dtype=torch.bfloat16, device="meta")


def modulation(dim: int = DIM) -> tuple[Tensor, Tensor, Tensor]:
    """Gate, gain and shift as they lie beside each other in the table of all layers."""
    by_row = torch.empty(ROWS, 6, 1, dim, device="meta")
    return by_row[:, 2], by_row[:, 1], by_row[:, 0]


def test_a_norm_is_one_launch_that_reads_and_writes_each_token_once() -> None:
    _, gain, shift = modulation()
    out = NORM(tokens(), gain, shift, EPS)
    assert (out.shape, out.dtype) == ((ROWS, TOKENS, DIM), torch.bfloat16)
    moved = 2 * ROWS * TOKENS * DIM * 2 + 2 * ROWS * DIM * 4
    assert NORM.launches(tokens(), gain, shift, EPS) == Launches(("norm",), moved)


@pytest.mark.parametrize("gated", [True, False])
def test_a_sum_and_its_norm_are_one_launch(gated: bool) -> None:
    gate, gain, shift = modulation()
    factor = gate if gated else None
    updated, normed = ADD_NORM(tokens(), tokens(), factor, gain, shift, EPS)
    assert updated.shape == normed.shape == (ROWS, TOKENS, DIM)
    moved = 4 * ROWS * TOKENS * DIM * 2 + (3 if gated else 2) * ROWS * DIM * 4
    assert ADD_NORM.launches(tokens(), tokens(), factor, gain, shift, EPS) == Launches(("add_norm",), moved)


def test_tokens_that_do_not_follow_each_other_are_refused() -> None:
    _, gain, shift = modulation()
    apart = torch.empty(ROWS, TOKENS, 2 * DIM, device="meta")[..., :DIM]
    with pytest.raises(ValueError, match="must be contiguous, not of strides"):
        NORM(apart, gain, shift, EPS)
    with pytest.raises(ValueError, match="must be contiguous"):
        ADD_NORM(tokens(), apart, None, gain, shift, EPS)


@pytest.mark.parametrize("capability", SHARED_BYTES)
@pytest.mark.parametrize("dim", [DIM, OTHER_DIM])
def test_what_it_declares_is_compiled_and_holds_a_token_in_registers(capability: int, dim: int) -> None:
    gate, gain, shift = modulation(dim)
    learned = torch.empty(dim, dtype=torch.bfloat16, device="meta")
    plans = (
        planned_norm(tokens(dim), gain, shift, EPS),
        planned_add_norm(tokens(dim), tokens(dim), gate, learned, learned, EPS),
    )
    launches = [launch for plan in plans for launch in plan.launches]
    made = [compiled(launch, capability) for launch in launches]
    assert [one.name for one in made] == [launch.name for launch in launches] == ["norm", "add_norm"]
    for one in made:
        assert one.stack_bytes == 0
        # Half of the threads that a multiprocessor can have are there at least, waiting for memory.
        assert one.registers <= 64
        assert one.widest_store == WORD
