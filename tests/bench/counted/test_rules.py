"""The rules, each against what its operation is known to read, write and multiply."""

import pytest
import torch
from torch.nn import functional

from bench.counted import rules
from bench.counted.cost import Cost, Tally
from bench.counted.counter import counted

HALF = 2
"""Bytes of a bfloat16."""


def meta(*shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.bfloat16, device="meta")


def test_a_view_launches_nothing() -> None:
    x = meta(4, 6)
    with counted() as tally:
        x.view(24).view(2, 12).transpose(0, 1)[3:].unsqueeze(0).expand(7, -1, -1)
    assert tally.total == Cost()


def test_a_sum_of_two_reads_both_and_writes_one() -> None:
    a, b = meta(4, 6), meta(4, 6)
    with counted() as tally:
        a + b
    assert tally.total == Cost(1, 3 * 24 * HALF)


def test_what_is_written_into_is_not_read() -> None:
    a, b = meta(4, 6), meta(4, 6)
    with counted() as tally:
        torch.add(a, b, out=torch.empty_like(a))
    assert tally.total == Cost(1, 3 * 24 * HALF)


def test_what_is_expanded_is_read_once() -> None:
    a, row = meta(4, 6), meta(1, 6)
    with counted() as tally:
        a * row.expand(4, 6)
    assert tally.total == Cost(1, (24 + 6 + 24) * HALF)


def test_a_linear_layer_is_one_kernel_with_its_bias() -> None:
    x, weight, bias = meta(2, 5, 8), meta(3, 8), meta(3)
    with counted() as tally:
        functional.linear(x, weight, bias)
    read = 2 * 5 * 8 + 3 * 8 + 3
    assert tally.total == Cost(1, (read + 2 * 5 * 3) * HALF, operations=2 * 10 * 3 * 8)


def test_a_convolution_is_two_kernels_one_of_which_adds_the_bias() -> None:
    x, weight, bias = meta(1, 4, 3, 8, 8), meta(6, 4, 3, 3, 3), meta(6)
    with counted() as tally:
        functional.conv3d(x, weight, bias, padding=1)
    out = 6 * 3 * 8 * 8
    read = x.numel() + weight.numel() + out + 6
    assert tally.total == Cost(2, (read + 2 * out) * HALF, operations=2 * out * 4 * 27)


def test_attention_is_one_kernel_apart_from_the_rest() -> None:
    q, k = meta(1, 3, 5, 8), meta(1, 3, 11, 8)
    with counted() as tally:
        out = functional.scaled_dot_product_attention(q, k, k)
    heads = 3 * 8
    assert out.shape == q.shape
    assert tally.attention == Cost(1, 2 * (5 + 11) * heads * HALF, operations=4 * 5 * 11 * heads)
    assert tally.rest == Cost()


def test_an_rms_norm_is_one_kernel_that_keeps_what_it_divided_by() -> None:
    x, weight = meta(2, 5, 8), meta(8)
    with counted() as tally:
        out = functional.rms_norm(x, (8,), weight, 1e-6)
    assert (out.shape, out.dtype) == (x.shape, x.dtype)
    assert tally.total == Cost(1, (80 + 8 + 80) * HALF + 10 * 4)


def test_writing_a_part_in_place_counts_the_part() -> None:
    ring, new = meta(100, 4), meta(5, 4)
    places = torch.empty(5, dtype=torch.int64, device="meta")
    with counted() as tally:
        ring.index_copy_(0, places, new)
        ring[5:10].copy_(new)
    written = 5 * 4 * HALF
    assert tally.total == Cost(2, 4 * written + 5 * 8)


def test_many_tensors_are_joined_by_few_kernels() -> None:
    with counted() as tally:
        torch.stack([meta(2)] * 30)
    assert tally.total.kernels == 1
    with counted() as tally:
        torch.stack([meta(2)] * 129)
    assert tally.total.kernels == 2


def test_many_copies_are_few_kernels() -> None:
    targets, sources = ([meta(8) for _ in range(65)] for _ in range(2))
    with counted() as tally:
        torch._foreach_copy_(targets, sources)
    assert tally.total == Cost(2, 2 * 65 * 8 * HALF)


def test_padding_writes_its_inside_twice() -> None:
    with counted() as tally:
        functional.pad(meta(1, 4), (1, 1))
    assert tally.total == Cost(2, (4 + 6 + 4) * HALF)


def test_copies_between_host_and_device_are_no_kernels() -> None:
    with counted() as tally:
        x = torch.ones(3).to("meta")
        (x + 1).tolist()
    assert (tally.total.kernels, tally.uploads, tally.downloads) == (1, 1, 1)


def test_what_the_host_computes_for_itself_is_not_counted() -> None:
    with counted() as tally:
        torch.ones(3) * 2
    assert tally == Tally()


def test_an_operation_without_a_rule_is_an_error_that_names_it() -> None:
    with pytest.raises(rules.NoRule, match=r"how many kernels aten::sort\S* launches"), counted():
        meta(4).sort()


def test_every_rule_is_of_an_operation_that_torch_has() -> None:
    known = {name.partition("::")[2].partition(".")[0] for name in torch._C._dispatch_get_all_op_names()}
    assert not set(rules.RULES) - known
