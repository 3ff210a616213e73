"""Attention through tables of pages: what it declares, and what it takes of the cards that it is compiled for.

What it computes is in `interpreted`.
"""

import pytest
import torch

from genlock_worker.engines.diffusion.network.kernels.ring_attention import tuning
from tests.worker.engines.diffusion.network.kernels.compiled import SHARED_BYTES, compiled
from tests.worker.engines.diffusion.network.kernels.meta_rows import MetaRows

ROWS = MetaRows()
"""480x832: the last page of a frame is not full."""


def test_it_counts_full_rings_and_the_whole_prompt() -> None:
    numbers = ROWS.rows * ROWS.frame_tokens * ROWS.dim
    ring, prompt = ROWS.attend(), ROWS.attend_to_prompt()
    assert ring.attention_operations == 4 * numbers * 6 * ROWS.frame_tokens
    assert prompt.attention_operations == 4 * numbers * 512
    # Two sets of queries, the answer, and six frames of keys and values.
    assert 15 * 2 * numbers < ring.bytes < 15.01 * 2 * numbers
    assert 3 * 2 * numbers + 2 * 2 * ROWS.rows * 512 * ROWS.dim <= prompt.bytes < 1.01 * 5 * 2 * numbers


@pytest.mark.parametrize("tokens", [1, 6, 64, 1024, 1560])
def test_blocks_of_queries_are_powers_of_two_from_sixteen(tokens: int) -> None:
    for dtype, most in ((torch.bfloat16, 128), (torch.float32, 32)):
        block = tuning(tokens, dtype).block
        assert block in (16, 32, 64, 128)
        assert min(tokens, most) <= block <= most


@pytest.mark.parametrize("capability", SHARED_BYTES)
def test_what_it_declares_is_compiled_and_fits_the_card(capability: int) -> None:
    launches = [*ROWS.attend().launches, *ROWS.attend_to_prompt().launches]
    made = [compiled(launch, capability) for launch in launches]
    named = ["ring_attention", "token_scales", "prompt_attention"]
    assert [one.name for one in made] == [launch.name for launch in launches] == named
    assert all(one.shared_bytes <= SHARED_BYTES[capability] for one in made)
    assert all(one.stack_bytes <= 16 for one in made), "registers hold it but for a few numbers"
