"""The most that a piece of work holds at once, on any device."""

import pytest
import torch

from genlock_worker.engines.diffusion.network.coding.live_bytes import LiveBytes

FLOATS = 1000
BYTES = 4 * FLOATS


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_is_let_go_counts_no_more(device: str) -> None:
    with LiveBytes() as live:
        first = torch.ones(FLOATS, device=device)
        second = first + 1
        del first
        third = second * 2
        assert live.now == 2 * BYTES
        del second, third
    assert (live.now, live.peak) == (0, 2 * BYTES)


def test_a_view_and_a_change_in_place_take_nothing() -> None:
    with LiveBytes() as live:
        whole = torch.ones(FLOATS)
        view = whole.view(10, -1)[2:]
        del whole
        view.add_(1)
        assert live.now == BYTES, "the view keeps the memory"
    assert live.peak == BYTES


def test_what_was_there_before_does_not_count() -> None:
    before = torch.ones(FLOATS)
    with LiveBytes() as live:
        before.mul_(2)
        assert live.now == 0
        after = before + 1
    assert live.peak == BYTES
    assert len(after) == FLOATS
