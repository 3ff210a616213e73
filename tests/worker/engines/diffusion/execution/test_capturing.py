"""Which graphs are captured, what becomes of those that do not fit, and what memory is kept for all of them."""

from collections.abc import Sequence

import pytest
import torch

from genlock_core.spec.session import Resolution
from genlock_worker.engines.contract import CapturedGraphs
from genlock_worker.engines.diffusion.config import TINY
from genlock_worker.engines.diffusion.execution.buckets import ROWS
from genlock_worker.engines.diffusion.execution.capturing import GRAPH_BYTES, capture_all, graph_bytes
from genlock_worker.engines.diffusion.execution.graphs import GraphForward
from genlock_worker.engines.diffusion.network.coding.live_bytes import LiveBytes
from genlock_worker.engines.diffusion.network.kv_pool import KvPool
from genlock_worker.engines.diffusion.network.text_pool import TextPool
from genlock_worker.engines.diffusion.network.transformer import CausalWan
from genlock_worker.engines.diffusion.weights import random_weights, skeletons
from tests.worker.engines.diffusion.repeated_capture import RepeatedCapture
from tests.worker.engines.diffusion.rows import CPU
from tests.worker.engines.diffusion.static_ring_ops import StaticRingOps

SQUARE, WIDE = Resolution(width=64, height=64), Resolution(width=96, height=64)


@pytest.fixture(scope="module")
def network() -> CausalWan:
    model = skeletons.transformer(TINY, ops=StaticRingOps())
    random_weights.fill(model, device=CPU, dtype=torch.float32)
    return model


def capture(
    network: CausalWan, sizes: Sequence[Resolution], *, full_at: Sequence[int] = ()
) -> tuple[CapturedGraphs, list[str]]:
    told = list[str]()
    pool = KvPool(TINY, device=CPU, dtype=torch.float32)
    texts = TextPool(TINY, device=CPU, dtype=torch.float32)
    forward = GraphForward(network, RepeatedCapture(bytes=100, full_at=full_at))
    return capture_all(forward, sizes, pool=pool, text_pool=texts, tell=told.append), told


def test_every_size_has_every_bucket_and_each_is_told_before_it_is_captured(network: CausalWan) -> None:
    captured, told = capture(network, [SQUARE, WIDE])
    assert captured == CapturedGraphs(2 * len(ROWS), 100 * 2 * len(ROWS))
    assert told[:3] == ["a graph of 16 rows of 96x64", "a graph of 12 rows of 96x64", "a graph of 16 rows of 64x64"]
    assert len(told) == 2 * len(ROWS)


@pytest.mark.parametrize("full_at", range(len(ROWS)))
def test_a_bucket_that_does_not_fit_is_left_out_and_told(
    network: CausalWan, caplog: pytest.LogCaptureFixture, full_at: int
) -> None:
    captured, told = capture(network, [SQUARE], full_at=[full_at])
    assert captured.lacks == (f"{told[full_at]} (out of memory)",)
    assert (captured.count, captured.bytes) == (len(ROWS) - 1, 100 * (len(ROWS) - 1))
    assert f"there is no memory for {told[full_at]}: CUDA out of memory" in caplog.text


def test_a_card_that_is_lost_while_capturing_ends_it(network: CausalWan, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise RuntimeError("CUDA error: device lost")

    monkeypatch.setattr(RepeatedCapture, "capture", lost)
    with pytest.raises(RuntimeError, match="device lost"):
        capture(network, [SQUARE])


def test_what_is_kept_for_graphs_is_what_the_largest_forward_works_in(network: CausalWan) -> None:
    """Beside the same forward on tensors that have memory."""
    kept = graph_bytes(network, [SQUARE, WIDE])
    alone = graph_bytes(network, [WIDE])
    assert kept - alone == len(ROWS) * GRAPH_BYTES, "all graphs lie in the memory of the largest"
    assert alone > graph_bytes(network, [SQUARE])
    assert graph_bytes(network, []) == 0


def test_what_is_kept_is_what_was_seen_in_memory(network: CausalWan, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[int]()

    def measured(self: RepeatedCapture, work: object) -> None:
        with LiveBytes() as live:
            work()  # type: ignore[operator]
        seen.append(live.peak)
        raise torch.OutOfMemoryError

    monkeypatch.setattr(RepeatedCapture, "capture", measured)
    capture(network, [WIDE])
    assert seen[0] == graph_bytes(network, [WIDE]) - len(ROWS) * GRAPH_BYTES
