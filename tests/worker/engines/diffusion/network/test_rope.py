import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_worker.engines.diffusion.network.rope import Rotations, pairs_per_axis, rotate, rotations

GRID, HEAD_DIM = (2, 3), 32


def of(*times: float) -> Rotations:
    return rotations(torch.tensor(times, dtype=torch.float64), grid=GRID, head_dim=HEAD_DIM)


@pytest.mark.parametrize(("head_dim", "pairs"), [(128, (22, 21, 21)), (32, (6, 5, 5))])
def test_what_is_left_over_of_the_thirds_goes_to_time(head_dim: int, pairs: tuple[int, int, int]) -> None:
    assert pairs_per_axis(head_dim) == pairs


def test_each_axis_has_a_ladder_of_its_own() -> None:
    turned = of(7.0, 9.0)
    assert turned.cos.shape == turned.sin.shape == (2 * 6, 1, HEAD_DIM // 2)
    token = 1 * 6 + 1 * 3 + 2  # frame 1, row 1, column 2
    for axis, (index, first, count) in enumerate([(9.0, 0, 6), (1.0, 6, 5), (2.0, 11, 5)]):
        for pair in range(count):
            angle = index * 10_000.0 ** (-pair / count)
            place = (token, 0, first + pair)
            assert float(turned.cos[place]) == pytest.approx(math.cos(angle), abs=1e-7), (axis, pair)
            assert float(turned.sin[place]) == pytest.approx(math.sin(angle), abs=1e-7), (axis, pair)


def test_neighbouring_components_are_a_complex_number() -> None:
    heads = torch.randn(6, 2, HEAD_DIM, generator=torch.Generator().manual_seed(1))
    turned = of(5.0)
    numbers = torch.view_as_complex(heads.unflatten(-1, (-1, 2)))  # type: ignore[no-untyped-call]
    expected = torch.view_as_real(numbers * torch.complex(turned.cos, turned.sin)).flatten(-2)
    torch.testing.assert_close(rotate(heads, turned), expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 100_000), st.integers(0, 40), st.integers(0, 40))
def test_only_differences_of_indices_count_however_long_the_stream(shift: int, one: int, other: int) -> None:
    generator = torch.Generator().manual_seed(2)
    queries, keys = (torch.randn(6, 1, HEAD_DIM, generator=generator) for _ in range(2))

    def scores(offset: int) -> torch.Tensor:
        turned = (rotate(heads, of(float(at + offset)))[:, 0] for heads, at in ((queries, one), (keys, other)))
        return torch.matmul(next(turned), next(turned).T)

    torch.testing.assert_close(scores(shift), scores(0), rtol=0, atol=2e-5)


def test_half_precision_stays_what_it_is_but_is_turned_in_float32() -> None:
    heads = torch.randn(6, 2, HEAD_DIM, generator=torch.Generator().manual_seed(3)).bfloat16()
    out = rotate(heads, of(31.0))
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, rotate(heads.float(), of(31.0)).bfloat16())
