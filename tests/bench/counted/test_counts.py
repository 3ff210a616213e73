"""What the engine asks of a GPU, at its true size: launches and bytes of the 1.3B network."""

from functools import cache

import pytest

from bench.counted.cost import Tally
from bench.counted.subjects import NetworkSubject, VaeSubject

SIZE = (512, 512)
BYTES_BEFORE = 35_732_583_312
BYTES_BEFORE_16_ROWS = 533_542_253_772
"""What a forward of one row, and of 16, moved beside attention at commit f0f6dcc, with 2806 and 8671 launches."""
MOST_LAUNCHES = 600
NETWORK = NetworkSubject("wan2.1-1.3b")
WITH_KERNELS = NetworkSubject("wan2.1-1.3b", "triton")


@cache
def forward(rows: int) -> Tally:
    return NETWORK.forward(SIZE, rows)


def test_a_forward_computes_what_its_dimensions_say() -> None:
    """Products of 30 layers over 1024 tokens, attention to 6144 keys and to a prompt of 512."""
    config = NETWORK.network.config
    tokens, dim, layers = 1024, config.dim, config.layers
    products = 2 * tokens * dim * (6 * dim + 2 * config.ffn_dim)
    attention = 4 * tokens * dim * (6 * tokens + config.text_length)
    total = layers * (products + attention)
    assert 1.0 < forward(1).total.operations / total < 1.01


def test_half_of_what_was_moved_beside_attention_is_left() -> None:
    assert forward(1).rest.bytes < BYTES_BEFORE / 2
    assert forward(1).total.kernels < 1600


@pytest.mark.parametrize("rows", [1, 2, 16])
def test_with_kernels_of_our_own_a_forward_is_a_few_launches_however_many_rows_it_has(rows: int) -> None:
    tally = WITH_KERNELS.forward(SIZE, rows)
    assert tally.total.kernels == WITH_KERNELS.forward(SIZE, 1).total.kernels
    assert tally.total.kernels <= MOST_LAUNCHES


def test_with_kernels_of_our_own_a_fifth_of_the_bytes_beside_attention_is_left() -> None:
    assert WITH_KERNELS.forward(SIZE, 1).rest.bytes < BYTES_BEFORE / 5
    assert WITH_KERNELS.forward(SIZE, 16).rest.bytes < BYTES_BEFORE_16_ROWS / 7


def test_a_micro_step_has_as_many_copies_however_many_rows_it_has() -> None:
    alone, together = (NETWORK.micro_step(SIZE, rows) for rows in (1, 2))
    # Up: what rows are, and what becomes of their answers. Down: the verdicts, which the host waits for.
    assert (alone.uploads, alone.downloads) == (2, 1)
    assert (together.uploads, together.downloads) == (3, 1), "and the noise, once one of them goes on"


def test_the_vae_is_counted_both_ways() -> None:
    vae = VaeSubject()
    encoded, decoded = vae.encode(SIZE), vae.decode(SIZE)
    assert 5.2e12 < encoded.total.operations < 5.4e12
    assert 8.8e12 < decoded.total.operations < 9.0e12


def test_a_small_half_of_the_vae_is_counted_as_that_half_alone() -> None:
    whole = VaeSubject()
    for small, large in ((VaeSubject(encoder="tiny"), "decode"), (VaeSubject(decoder="tiny"), "encode")):
        counts = {piece: getattr(small, piece)(SIZE).total for piece in ("encode", "decode")}
        assert counts.pop(large) == getattr(whole, large)(SIZE).total
        (other,) = counts.values()
        assert 0.01e12 < other.operations < 0.5e12
