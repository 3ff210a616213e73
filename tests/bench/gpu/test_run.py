"""Which stages a run has, in which order, and what becomes of those that fail or have no time."""

import argparse
import json
from pathlib import Path

import pytest
import torch

from bench.gpu.__main__ import BUDGET_S, STAGES, Stage, parse_stages, parser, run_stages
from bench.gpu.report import Report
from bench.gpu.task import Task, dry, full
from bench.gpu.timing import Budget
from genlock_core.clock import ManualClock
from tests.bench.gpu.reports import report

CPU = torch.device("cpu")


def measures(task: Task, report: Report, budget: Budget) -> None:
    report.line("measures", "a line", {"device": str(task.device)})
    budget.check()


def fails(task: Task, report: Report, budget: Budget) -> None:
    raise RuntimeError("the card fell off the bus")


def takes_a_minute(task: Task, report: Report, budget: Budget) -> None:
    assert isinstance(report.clock, ManualClock)
    for number in range(100):
        budget.check()
        report.clock.advance(1)
        report.line("long", "a second", {"number": number})


def lines(folder: Path) -> dict[str, list[dict[str, object]]]:
    stages: dict[str, list[dict[str, object]]] = json.loads((folder / "results.json").read_text())["stages"]
    return stages


def run(folder: Path, *stages: Stage, budget_s: float = 1000.0) -> Report:
    clock = ManualClock()
    one = report(folder, clock)
    run_stages(stages, dry(CPU), one, budget_s=budget_s, clock=clock)
    return one


def test_stages_come_in_order_of_worth() -> None:
    named = "machine parity kernels graphs streams rows syncs vae profile attention restore large"
    assert [stage.name for stage in STAGES] == named.split()
    assert sum(stage.share_s for stage in STAGES) == BUDGET_S
    assert parser().parse_args([]).budget == BUDGET_S


def test_a_stage_that_fails_ends_alone(tmp_path: Path) -> None:
    one = run(tmp_path, Stage("broken", fails, 10), Stage("measures", measures, 10))
    assert one.failures == ["broken: the stage"]
    assert "fell off the bus" in str(lines(tmp_path)["broken"])
    assert lines(tmp_path)["measures"] == [{"what": "a line", "device": "cpu"}]


def test_a_stage_is_cut_short_after_its_seconds_and_keeps_its_lines(tmp_path: Path) -> None:
    one = run(tmp_path, Stage("long", takes_a_minute, 5), Stage("measures", measures, 10), budget_s=15)
    *measured, end = lines(tmp_path)["long"]
    assert [line["number"] for line in measured] == list(range(6))
    assert end == {"what": "cut short: its time is over", "had_s": 5.0}
    assert "measures" in lines(tmp_path)
    assert one.failures == []


def test_what_there_is_no_time_for_says_so(tmp_path: Path) -> None:
    run(tmp_path, Stage("long", takes_a_minute, 60), Stage("measures", measures, 10), budget_s=3)
    assert len(lines(tmp_path)["long"]) == 5
    assert lines(tmp_path)["measures"] == [{"what": "left out: the run's time is over", "budget_s": 3}]


def test_what_the_shares_before_have_left_is_the_next_ones(tmp_path: Path) -> None:
    run(tmp_path, Stage("measures", measures, 10), Stage("long", takes_a_minute, 5), budget_s=15)
    assert lines(tmp_path)["long"][-1]["had_s"] == 15


def test_a_stage_has_its_share_though_those_before_took_more_than_theirs(tmp_path: Path) -> None:
    def rests(task: Task, report: Report, budget: Budget) -> None:
        assert isinstance(report.clock, ManualClock)
        report.clock.advance(8)

    run(tmp_path, Stage("rests", rests, 5), Stage("long", takes_a_minute, 5), Stage("last", measures, 5), budget_s=15)
    assert lines(tmp_path)["long"][-1]["had_s"] == 5


def test_shares_grow_with_the_time_that_there_is(tmp_path: Path) -> None:
    run(tmp_path, Stage("long", takes_a_minute, 10), Stage("measures", measures, 20), budget_s=60)
    assert lines(tmp_path)["long"][-1]["had_s"] == 20


def test_stages_are_chosen_by_name_in_the_order_given() -> None:
    assert [stage.name for stage in parse_stages("rows,machine")] == ["rows", "machine"]
    with pytest.raises(argparse.ArgumentTypeError, match="no stage is called speed; there are machine, parity"):
        parse_stages("rows,speed")


def test_the_dry_run_has_everything_that_the_full_one_has() -> None:
    small, large = dry(CPU), full(CPU)
    assert small.model == small.large_model == "tiny"
    for one in (small, large):
        assert all((one.sizes, one.rows, one.large_rows, one.streams, one.few_streams))
        assert one.effort.chunks > 0
        assert one.repeats > 0
    assert set(large.few_streams) <= set(large.streams)
