"""Intervals, verdicts and curves."""

from pathlib import Path

import numpy as np
import pytest

from bench.replay import __main__ as command
from bench.replay.aims import Bound, aims_table, along
from bench.replay.outcome import Estimate, estimate
from bench.replay.report import curves, policies_table, scalers_table
from bench.replay.study import Load
from bench.replay.traces import Rate
from bench.replay.workload import poisson
from bench.result import Curve, Curves, Plot, Series, save
from bench.result import load as read


def test_an_interval_is_students() -> None:
    found = estimate([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.mean == 3
    assert found.half_width == pytest.approx(2.776 * (2.5 / 5) ** 0.5, abs=1e-3)
    assert estimate([7.0]) == (7, 0)
    assert found.told(1) == "3.0 ±2.0"
    assert Estimate(0.001, 0.0).told(2, factor=100) == "0.10"


@pytest.mark.parametrize(
    ("found", "bound", "verdict"),
    [
        (Estimate(0.6, 0.05), Bound(0.7), "yes"),
        (Estimate(0.8, 0.05), Bound(0.7), "no"),
        (Estimate(0.7, 0.05), Bound(0.7), "not decided by these seeds"),
        (Estimate(2.2, 0.1), Bound(2, at_least=True), "yes"),
        (Estimate(1.8, 0.1), Bound(2, at_least=True), "no"),
        (Estimate(0.0, 0.0), Bound(0), "yes"),
    ],
)
def test_an_aim_holds_where_the_whole_interval_says_so(found: Estimate, bound: Bound, verdict: str) -> None:
    assert bound.verdict(found) == verdict


def test_a_line_is_straight_between_its_points_and_flat_beyond() -> None:
    line = [(0.0, 1.0), (10.0, 3.0), (10.0, 4.0)]
    assert [along(line, x) for x in (-5, 5, 10, 99)] == [1, 2, 3, 4]


def test_curves_and_bars_are_read_as_they_were_written(tmp_path: Path) -> None:
    plots: list[Plot] = [
        Curves("replay", "hours", "blocked", (Curve("HPA", ((1.0, 2.0), (3.0, 4.0))),), log_y=True),
        Series("bars", ("a",), (1.0,), "ms"),
    ]
    save(tmp_path / "result.json", [], plots)
    assert read(tmp_path / "result.json") == ([], plots)


def test_a_study_has_a_row_for_each_scaler_and_each_policy() -> None:
    rate = Rate.of(np.ones(5), 60.0)
    short = poisson("short", rate, [100.0], at_once=8, dice=np.random.default_rng(1))
    load = Load("short", "Five minutes.", (short,), 5.0)
    found = command.scalers_of(load)
    scalers, aims = scalers_table("short", found, command.told_of(load)), aims_table("short", found)
    policies = policies_table("short", command.policies_of(load, found), "")

    assert scalers.rows[0][:2] == ("static peak", "none")
    assert {row[1] for row in scalers.rows} == {"none", "holds 6", "holds 5"}
    assert len({row[1] for row in policies.rows}) == 8
    assert len(policies.rows) == 16
    assert {row[0] for row in aims.rows} == {"holds 6", "holds 5"}
    assert {len(one.points) for one in curves("short", found).curves if one.name == "HPA"} == {5}
    assert all(len(row) == len(table.columns) for table in (scalers, policies, aims) for row in table.rows)
