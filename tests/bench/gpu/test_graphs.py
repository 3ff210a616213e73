"""The stages of our own kernels and of graphs, as far as a CPU goes; and a mistake that must be seen."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.gpu.__main__ import STAGES, run_stages
from bench.gpu.report import Report
from bench.gpu.task import dry
from genlock_core.clock import ManualClock
from genlock_worker.engines.diffusion.execution.static_rows import StaticRows
from tests.bench.gpu.reports import report


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
    assert [line["what"] for line in lines if "lacks" in line] == ["recordings, triton", "launches, triton"]
