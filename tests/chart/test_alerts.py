"""Each alert fires on what it is for, and on nothing that is well: promtool runs the chart's rules over made-up series.

Series are written as promtool has them: `a+bxn` is a value a that grows by b, n times, once a minute.
"""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.chart.monitoring import RULES, rules
from tests.prometheus import program

BUDGETS = {
    "genlock:stall_budget:ratio": "0.005x90",
    "genlock:miss_budget:ratio": "0.01x90",
    # Of another installation that is watched by the same Prometheus.
    'genlock:stall_budget:ratio{prometheus="b"}': "0.02x90",
    'genlock:miss_budget:ratio{prometheus="b"}': "0.05x90",
}
ALL_WELL = {**BUDGETS, 'genlock_operator_leader{pod="o0"}': "1x90"}
"""With these alone nothing fires."""

Series = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """What an alert is for, and the nearest thing that is no reason for it; it is looked at after so many minutes."""

    alert: str
    bad: Series
    well: Series
    after: int


def play(stalls: str) -> dict[str, str]:
    """A session that plays for an hour and a half, and stalls so."""
    labels = '{session="live/a",pool="live/h100",pod="g0"}'
    return {f"genlock_play_seconds_total{labels}": "0+60x90", f"genlock_stall_seconds_total{labels}": stalls}


def frames(misses: str) -> dict[str, str]:
    """A session of 16 frames a second for as long, so many of whose frames are late."""
    labels = '{session="live/a",namespace="live",genlock_dev_pool="h100",pod="w0"}'
    return {f"genlock_worker_frames_out_total{labels}": "0+960x90", f"genlock_deadline_misses_total{labels}": misses}


def gaps(*, above_3_s: int) -> dict[str, str]:
    """Ten recoveries a minute, so many of which took more than three seconds."""
    name = "genlock_recovery_gap_seconds_bucket"
    below = 10 - above_3_s
    return {
        f'{name}{{cause="silent",le="1.0"}}': f"0+{below}x60",
        f'{name}{{cause="silent",le="3.0"}}': f"0+{below}x60",
        f'{name}{{cause="silent",le="5.0"}}': "0+10x60",
        f'{name}{{cause="silent",le="+Inf"}}': "0+10x60",
    }


def workers(serving: int, *, replicas: int = 2) -> dict[str, str]:
    """A pool that wants three workers, as both replicas of the operator tell it."""
    told = {}
    for replica in range(replicas):
        told[f'genlock_operator_pool_desired{{pool="live/h100",pod="o{replica}"}}'] = "3x60"
        states = {"serving": serving, "warm": 0, "starting": 3 - serving}
        for state, count in states.items():
            told[f'genlock_operator_pool_workers{{pool="live/h100",state="{state}",pod="o{replica}"}}'] = f"{count}x60"
    return told


def store(used: int, *, limit: int = 100) -> dict[str, str]:
    return {f'genlock_operator_store_bytes{{part="{part}"}}': f"{size}x60" for part, size in
            (("used", used), ("limit", limit))}  # fmt: skip


def booked(size: int) -> dict[str, str]:
    return {f'genlock_operator_snapshot_bytes{{part="{part}"}}': f"{each}x60" for part, each in
            (("booked", size), ("budget", 100))}  # fmt: skip


def alone(series: str, bad: str, well: str) -> tuple[Series, Series]:
    return {series: bad}, {series: well}


SESSION_MOVES = 'genlock_session_moves_total{session="live/a",cause="silent",pod="g0"}'
CASES = [
    # Five minutes in which all stood still: the hour is over its bound, and the last five minutes are not any more.
    Case("GenlockStallBudgetBurnsFast", play("0+6x90"), play("0x30 0+60x5 300x60"), 60),
    Case("GenlockStallBudgetBurns", play("0+2.4x90"), play("0+1.2x90"), 60),
    Case("GenlockMissBudgetBurnsFast", frames("0+192x90"), frames("0x30 0+960x9 8640x60"), 60),
    Case("GenlockMissBudgetBurns", frames("0+96x90"), frames("0+48x90"), 60),
    Case("GenlockNoRoom", *alone('genlock_blocked_total{role="publish"}', "0+1x60", "7x60"), 15),
    Case("GenlockSessionsWait", *alone('genlock_operator_blocked_sessions{reason="PoolFull"}', "1x60", "1x8 0x52"), 12),
    Case("GenlockWorkersDoNotCome", workers(2), workers(3), 20),
    Case(
        "GenlockPoolAtItsBound",
        *alone('genlock_operator_autoscale_reason{pool="live/h100",reason="Maximum"}', "1x60", "1x20 0x2 1x40"),
        40,
    ),
    Case(
        "GenlockPoolAtItsBound",
        # It is asked to grow by an operator of the release before, which says no mode, and by one that says SLO.
        {
            'genlock_operator_autoscale_reason{pool="live/h100",reason="Maximum"}': "1x60",
            'genlock_operator_autoscale_mode{pool="live/h100",mode="SLO"}': "1x60",
            'genlock_operator_autoscale_mode{pool="live/h100",mode="External"}': "0x60",
        },
        {
            'genlock_operator_autoscale_reason{pool="live/h100",reason="Maximum"}': "1x60",
            'genlock_operator_autoscale_mode{pool="live/h100",mode="SLO"}': "0x60",
            'genlock_operator_autoscale_mode{pool="live/h100",mode="External"}': "1x60",
        },
        40,
    ),
    Case(
        "GenlockScalingBlind",
        {'genlock_operator_autoscale_reason{pool="live/h100",reason="MetricsStale"}': "1x60"},
        {'genlock_operator_autoscale_reason{pool="live/h100",reason="Sessions"}': "1x60"},
        10,
    ),
    Case("GenlockNewSessionsRefused", *alone('genlock_gateway_overloaded_total{role="publish"}', "0+1x60", "7x60"), 15),
    Case("GenlockWorkerLate", *alone('genlock_worker_late_seconds{pod="w0"}', "0.9x60", "0.9x4 0.1 0.9x55"), 7),
    Case("GenlockRecoveriesSlow", gaps(above_3_s=3), gaps(above_3_s=0), 40),
    Case("GenlockMovesFail", *alone('genlock_moves_total{cause="silent",result="no-capacity"}', "0+1x60", "3x60"), 10),
    Case("GenlockSessionMovesOften", *alone(SESSION_MOVES, "0+2x60", "0 1x60"), 10),
    Case("GenlockEngineFails", *alone('genlock_engine_failures_total{pod="w0"}', "0+1x60", "0 1x60"), 20),
    Case(
        "GenlockDecodersLost",
        *alone('genlock_worker_decoder_losses_total{pod="w0",reason="died"}', "0+1x60", "0 3x60"),
        20,
    ),
    Case("GenlockSnapshotsWithoutRoom", *alone('genlock_snapshot_short_sessions{pod="w0"}', "2x60", "0x60"), 5),
    Case("GenlockSnapshotBudgetNearlyUsed", booked(90), booked(80), 15),
    Case(
        "GenlockSnapshotsFail",
        {'genlock_snapshot_failures_total{reason="redis"}': "0+1x60"},
        {'genlock_snapshot_failures_total{reason="fenced"}': "0+1x60"},
        20,
    ),
    Case("GenlockSnapshotsRefused", *alone('genlock_snapshot_refusals_total{reason="format"}', "0 1x60", "1x60"), 10),
    Case("GenlockLinksDropFrames", *alone('genlock_worker_link_drops_total{pod="w0"}', "0+120x60", "0+6x60"), 15),
    Case(
        "GenlockGatewayWithoutLinks",
        {'genlock_gateway_publishers{pod="g0"}': "2x60", 'genlock_gateway_links{pod="g0"}': "0x60"},
        {'genlock_gateway_publishers{pod="g0"}': "0x60", 'genlock_gateway_links{pod="g0"}': "0x60"},
        5,
    ),
    Case("GenlockRedisAway", *alone('genlock_gateway_redis_up{pod="g0"}', "0x60", "1x60"), 5),
    Case("GenlockRedisNearlyFull", store(90), store(90, limit=0), 5),
    Case("GenlockNoOperator", {'genlock_operator_leader{pod="o0"}': "0x60"}, {}, 10),
    Case(
        "GenlockOperatorBlind",
        {'genlock_operator_watch_age_seconds{pod="o0"}': "90x60"},
        {'genlock_operator_watch_age_seconds{pod="o1"}': "90x60", 'genlock_operator_leader{pod="o1"}': "0x60"},
        5,
    ),
]


def block(case: Case, series: Series, *, fires: bool) -> dict[str, Any]:
    """One test of promtool."""
    every = {**ALL_WELL, **series}
    question = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}} == 1) > bool 0'
    answer = [{"labels": "{}", "value": 1}] if fires else []
    return {
        "name": f"{case.alert} {'fires' if fires else 'is quiet'}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in every.items()],
        "promql_expr_test": [{"expr": question, "eval_time": f"{case.after}m", "exp_samples": answer}],
    }


def verdict(path: Path, blocks: list[dict[str, Any]]) -> str:
    """What promtool says of these tests; empty where all of them hold."""
    told = {"rule_files": [str(each) for each in RULES.values()], "evaluation_interval": "2m", "tests": blocks}
    path.write_text(yaml.safe_dump(told))
    command = [program("promtool"), "test", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def test_every_alert_is_tried() -> None:
    assert list(dict.fromkeys(case.alert for case in CASES)) == [rule["alert"] for rule in rules("alerts")]


def test_an_alert_fires_on_what_it_is_for_and_not_on_what_is_near(tmp_path: Path) -> None:
    """All of them in one run, which names those that do not."""
    tried = [
        each for case in CASES for each in (block(case, case.bad, fires=True), block(case, case.well, fires=False))
    ]
    assert verdict(tmp_path / "alerts.yaml", tried) == ""


def test_an_alert_that_does_not_fire_is_found(tmp_path: Path) -> None:
    case = CASES[0]
    assert verdict(tmp_path / "alerts.yaml", [block(case, case.well, fires=True)]) != ""


def test_nothing_fires_while_all_is_well(tmp_path: Path) -> None:
    quiet = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in ALL_WELL.items()],
        "promql_expr_test": [{"expr": "ALERTS", "eval_time": "60m", "exp_samples": []}],
    }
    assert verdict(tmp_path / "alerts.yaml", [quiet]) == ""
