"""The write of new frames: what it declares, and what it takes of the cards that it is compiled for.

What it computes is in `interpreted`.
"""

import pytest
import torch

from tests.worker.engines.diffusion.network.kernels.compiled import SHARED_BYTES, compiled
from tests.worker.engines.diffusion.network.kernels.meta_rows import MetaRows

WIDE = MetaRows(heads=40)
"""14B: its tokens are the widest."""


def test_it_moves_each_new_number_once_and_the_sums_of_a_few_tokens() -> None:
    """q, k, v in; k, v and both queries out."""
    rows = MetaRows(rows=3)
    numbers = rows.rows * rows.frame_tokens * rows.dim * 2
    assert 7 * numbers < rows.write().bytes < 8.3 * numbers


def test_it_gives_two_sets_of_queries() -> None:
    for queries in MetaRows(rows=3).write().outputs:
        assert (queries.shape, queries.dtype) == ((3, 1560, 12, 128), torch.bfloat16)


@pytest.mark.parametrize("capability", SHARED_BYTES)
def test_what_it_declares_is_compiled_and_fits_the_card(capability: int) -> None:
    launches = WIDE.write().launches
    made = [compiled(launch, capability) for launch in launches]
    assert [one.name for one in made] == [launch.name for launch in launches] == ["ring_write", "ring_means"]
    assert all(one.shared_bytes <= SHARED_BYTES[capability] for one in made)
    assert all(one.stack_bytes == 0 for one in made), "registers hold all of it"
