"""The recorded streams through the whole engine; and mistakes that the replay must see."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.gpu import replay
from bench.gpu.recording import RECORDINGS
from genlock_worker.engines.diffusion.network.pointwise import Affine, TorchPointwise
from genlock_worker.engines.diffusion.network.ring_ops import TorchRingForward, TorchRingOps
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from tests.worker.engines.diffusion import recorded

CPU = torch.device("cpu")


def test_the_engine_gives_what_was_recorded_alone_after_others_and_together() -> None:
    found = replay.deviations(CPU, torch.float32)
    assert list(found) == [
        f"{name}{how}" for how in ("", " after others", " together with others") for name in RECORDINGS
    ]
    for worst in found.values():
        assert max(worst.values()) < recorded.TOLERANCE
        assert worst["calls/local_end"] == 0
        assert {"prepare/flow", "prepare/out", "prepare/k", "calls/flow", "calls/out[-1]", "kv/k", "kv/v"} <= set(worst)
    assert "calls/out[:-1]" in found["batch_2step"]


MISTAKES: dict[str, Callable[[Tensor], Tensor]] = {
    "timesteps": lambda given: given + 5,
    "positions": lambda given: given + given % 2,
    "table": lambda given: given.roll(1, dims=1),
    "hidden": lambda given: given * 1.01,
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_row_that_is_given_something_else_is_seen(monkeypatch: pytest.MonkeyPatch, mistake: str) -> None:
    forward = replay.Watched.__call__

    def wrong(self: replay.Watched, batch: RowBatch) -> Denoised:
        given: Tensor = getattr(batch, mistake)
        changed: dict[str, Any] = {mistake: MISTAKES[mistake](given)}
        return forward(self, replace(batch, **changed))

    monkeypatch.setattr(replay.Watched, "__call__", wrong)
    found = replay.deviations(CPU, torch.float32)
    assert all(max(worst.values()) > 10 * recorded.TOLERANCE for worst in found.values())


class Doubled(TorchPointwise):
    """Gates count twice."""

    def add_norm(
        self, tokens: Tensor, update: Tensor, gate: Tensor | None, by: Affine, eps: float
    ) -> tuple[Tensor, Tensor]:
        return super().add_norm(tokens, update, gate if gate is None else 2 * gate, by, eps)


class Shifted(TorchRingOps):
    """Frames stand one later."""

    def enter(self, batch: RowBatch, *, grid: tuple[int, int], sinks: int) -> TorchRingForward:
        return super().enter(replace(batch, positions=batch.positions + 1), grid=grid, sinks=sinks)


@pytest.mark.parametrize("wrong", [{"pointwise": Doubled()}, {"ops": Shifted()}], ids=str)
def test_operations_that_are_handed_over_are_those_that_are_played(wrong: dict[str, Any]) -> None:
    found = replay.deviations(CPU, torch.float32, **wrong)
    assert all(max(worst.values()) > 10 * recorded.TOLERANCE for worst in found.values())
