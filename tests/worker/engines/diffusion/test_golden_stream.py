"""Twenty chunks of the recorded stream batch, driven on the network, its rings and `RowBatch` alone."""

from functools import cache
from typing import Any

import pytest

from tests.worker.engines.diffusion import recorded
from tests.worker.engines.diffusion.recorded import FRAME_TOKENS, LAYOUT, TOLERANCE
from tests.worker.engines.diffusion.recorded_stream import FIRST_FRAMES, RECORDINGS, Replay, replayed


@cache
def ours(name: str) -> Replay:
    return replayed(name, recorded.network())


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("key", ["prepare/flow", "prepare/x0", "prepare/out", "prepare/k", "prepare/v"])
def test_the_first_chunk_is_the_recorded_one(name: str, key: str) -> None:
    assert ours(name).worst(key) < TOLERANCE


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("key", ["calls/flow", "calls/x0", "calls/out"])
def test_every_later_chunk_is_the_recorded_one_in_every_row(name: str, key: str) -> None:
    assert ours(name).worst(key) < TOLERANCE


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("key", ["kv/k", "kv/v"])
def test_the_rings_hold_what_was_recorded_and_zeros_where_nothing_was_written(name: str, key: str) -> None:
    assert ours(name).worst(key) < TOLERANCE


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("key", ["calls/local_end", "calls/global_end"])
def test_every_row_attends_to_as_many_tokens_as_recorded(name: str, key: str) -> None:
    assert ours(name).worst(key) == 0
    for end in ("local_end", "global_end"):
        assert (recorded.arrays(name)[f"prepare/{end}"] == FIRST_FRAMES * FRAME_TOKENS).all()


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_slot_of_the_next_frame_is_the_one_that_the_recorded_list_evicts_next(name: str) -> None:
    def upcoming(newest: int) -> list[int]:
        start = max(newest + 1, LAYOUT.slots)
        return [(LAYOUT.slot(frame) + 1) * FRAME_TOKENS for frame in range(start, start + LAYOUT.window)]

    lists: dict[str, Any] = recorded.json_of(name, "evict_json")
    for layer in lists["prepare"]:
        assert all(row == upcoming(FIRST_FRAMES - 1)[: len(row)] for row in layer)
    for newest, layers in zip(ours(name).newest, lists["calls"], strict=True):
        for layer in layers:
            for frame, row in zip(newest, layer, strict=True):
                # While a ring fills, the list still grows.
                assert len(row) == LAYOUT.window or frame < LAYOUT.slots - 1
                assert row == upcoming(frame)[: len(row)]
