"""The stages of our own kernels, of graphs and of attention, as far as a CPU goes; and mistakes that must be seen."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.gpu.__main__ import STAGES, run_stages
from bench.gpu.report import Report
from bench.gpu.stages import kernels
from bench.gpu.task import dry
from genlock_core.clock import ManualClock
from genlock_worker.engines.diffusion.execution.static_rows import StaticRows
from genlock_worker.engines.diffusion.network.pointwise import Affine, Pointwise, TorchPointwise
from genlock_worker.engines.diffusion.network.ring_ops import RingOps
from tests.bench.gpu.reports import report
from tests.worker.engines.diffusion.static_ring_ops import StaticRingOps


def run(folder: Path, name: str) -> tuple[Report, list[dict[str, Any]]]:
    clock = ManualClock()
    one = report(folder, clock)
    stages = [stage for stage in STAGES if stage.name == name]
    run_stages(stages, dry(torch.device("cpu")), one, budget_s=1000.0, clock=clock)
    lines: list[dict[str, Any]] = json.loads((folder / "results.json").read_text())["stages"][name]
    return one, lines


def test_replayed_forwards_are_compared_with_plain_ones(tmp_path: Path) -> None:
    one, (captured, *forwards) = run(tmp_path, "graphs")
    assert one.failures == []
    assert (captured["what"], captured["graphs"]) == ("captured", 7)
    assert [(line["rows"], line["is_replayed"]) for line in forwards] == [(1, True), (3, True), (17, False)]
    assert all(line["relative"] < 1e-5 for line in forwards)


def test_a_graph_that_reads_rows_of_a_forward_before_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StaticRows, "fill", lambda *_args, **_named: None)
    one, lines = run(tmp_path, "graphs")
    assert one.failures == ["graphs: 64x64"]
    assert "NotAsPlain" in lines[-1]["failed"]


def test_launches_are_counted_and_kernels_that_are_not_here_are_lacking(tmp_path: Path) -> None:
    one, lines = run(tmp_path, "kernels")
    assert one.failures == []
    counted = [line for line in lines if "counted" in line]
    assert [line["rows"] for line in counted] == [1, 2]
    assert all(line["counted"] > line["declared"] == 0 for line in counted)
    assert [line["what"] for line in lines if "lacks" in line] == [
        "recordings, triton",
        "the true network, triton",
        "launches, triton",
    ]


class Coarse(TorchPointwise):
    """Norms with an error of a twentieth."""

    def norm(self, tokens: Tensor, by: Affine, eps: float) -> Tensor:
        return 1.05 * super().norm(tokens, by, eps)


@pytest.mark.parametrize("pointwise", [TorchPointwise(), Coarse()], ids=["true", "coarse"])
def test_the_true_network_through_kernels_that_lose_more_than_pytorchs_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pointwise: TorchPointwise
) -> None:
    def instead(*_: object) -> tuple[RingOps, Pointwise]:
        return StaticRingOps(), pointwise

    monkeypatch.setattr(kernels, "_ours", instead)
    one, lines = run(tmp_path, "kernels")
    (found,) = [line for line in lines if "relative_of_torch" in line]
    if isinstance(pointwise, Coarse):
        assert one.failures == ["kernels: recordings, triton", "kernels: the true network, triton"]
        assert found["relative"] > 0.01
    else:
        assert one.failures == []
        assert found["relative"] < 1e-5


def test_what_is_done_with_a_ring_is_timed_piece_by_piece(tmp_path: Path) -> None:
    one, lines = run(tmp_path, "attention")
    assert one.failures == []
    assert [line["what"] for line in lines] == ["default", "write, torch", "read, torch", "prompt, torch"]
    assert all(line["ms_of_all_layers"] > 0 for line in lines)
