"""Traces are read as their owners describe them."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from bench.replay import traces


def test_requests_of_a_group_are_one_session_until_600_s_pass_between_them(tmp_path: Path) -> None:
    rows = [
        "2024-11-15 10:00:00,30,G1",
        "2024-11-15 10:10:00,5,G1",  # 600 s later: the same session
        "2024-11-15 10:01:00,7,G2",
        "2024-11-15 10:20:01,,G1",  # 601 s later: another one, which never ran
    ]
    write_gentd26(tmp_path, rows)
    assert traces.gentd26_sessions(tmp_path) == [
        traces.TracedSession(0.0, 605.0),
        traces.TracedSession(60.0, 7.0),
        traces.TracedSession(1_201.0, traces.SHORTEST_S),
    ]


def test_a_session_lasts_until_its_longest_request_ends(tmp_path: Path) -> None:
    write_gentd26(tmp_path, ["2024-11-15 10:00:00,100,G1", "2024-11-15 10:00:10,5,G1"])
    assert traces.gentd26_sessions(tmp_path) == [traces.TracedSession(0.0, 100.0)]


def test_a_day_of_twitter_is_by_the_minute_with_a_mean_of_1(tmp_path: Path) -> None:
    seconds = np.ones(2 * traces.DAY_S, dtype=int)
    seconds[traces.DAY_S : traces.DAY_S + 60] = 3
    path = tmp_path / traces.TWITTER
    path.parent.mkdir()
    path.write_bytes(gzip.compress(" ".join(map(str, seconds)).encode()))

    flat, peaked = traces.twitter_day(tmp_path, 0), traces.twitter_day(tmp_path, 1)
    assert flat.weights.tolist() == [1.0] * 1_440
    assert peaked.weights[0] / peaked.weights[1] == pytest.approx(3)
    assert peaked.weights.mean() == pytest.approx(1)


def test_an_azure_trace_is_by_the_second(tmp_path: Path) -> None:
    (tmp_path / "azure").mkdir()
    moments = ["18:15:46.6805900", "18:15:46.9", "18:15:48.7000001"]
    rows = "\n".join(f"2023-11-16 {moment},1,1" for moment in moments)
    (tmp_path / traces.AZURE_CODE).write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}\n")
    assert traces.azure_hour(tmp_path, traces.AZURE_CODE).weights.tolist() == [2.0, 0.0, 1.0]


def write_gentd26(folder: Path, rows: list[str]) -> None:
    path = folder / traces.GENTD26
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress("\n".join(["gmt_create,exec_time_seconds,groupId", *rows]).encode()))
