"""`genlock logs`: the last lines of all processes in the order of time, and what comes then."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from genlock_cli.app import commands
from genlock_cli.exit_status import NotThere
from genlock_cli.running.logs import Line, Tail, chosen, in_order, last_lines
from genlock_cli.state_dir import StateDir

TIMES = [f"2026-01-01T00:00:0{second}.000Z" for second in range(10)]


def test_lines_of_several_processes_come_in_the_order_of_time_and_a_traceback_stays_whole(tmp_path: Path) -> None:
    worker, gateway = tmp_path / "w0.log", tmp_path / "g0.log"
    worker.write_text(f"ready w0\n{TIMES[1]} one\n  more of it\n{TIMES[4]} four\n")
    gateway.write_text(f"{TIMES[2]} two\n{TIMES[3]} three\n")
    lines = in_order([last_lines("w0", worker, 10), last_lines("g0", gateway, 10)])
    assert [line.text.split()[-1] for line in lines] == ["w0", "one", "it", "two", "three", "four"]


@given(st.lists(st.lists(st.sampled_from([*TIMES, "no time"])), max_size=3))
def test_no_process_loses_a_line_or_its_order(logs: list[list[str]]) -> None:
    given_lines = [
        [Line(text, str(number), f"{place}") for place, text in enumerate(log)] for number, log in enumerate(logs)
    ]
    given_lines = [sorted(log, key=lambda line: line.time) for log in given_lines]
    merged = in_order(given_lines)
    for number, log in enumerate(given_lines):
        assert [line for line in merged if line.process == str(number)] == log


def test_the_last_lines_are_those_at_the_end(tmp_path: Path) -> None:
    log = tmp_path / "w0.log"
    log.write_bytes(b"\xff\n" + b"".join(b"%d\n" % number for number in range(100)))
    assert [line.text for line in last_lines("w0", log, 3)] == ["97", "98", "99"]
    assert last_lines("w0", log, 0) == []
    assert len(last_lines("w0", log, 1_000)) == 101
    assert last_lines("w0", tmp_path / "none", 3) == []


def test_what_comes_is_read_by_whole_lines_and_a_log_that_begins_anew_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "w0.log"
    log.write_text("old\n")
    tail = Tail("w0", log)
    assert tail.new_lines() == []
    with log.open("a") as file:
        file.write("new\nha")
        file.flush()
        assert [line.text for line in tail.new_lines()] == ["new"]
        file.write("lf\n")
    assert [line.text for line in tail.new_lines()] == ["half"]
    log.write_text("anew\n")
    assert [line.text for line in tail.new_lines()] == ["anew"]
    log.unlink()
    assert tail.new_lines() == []


def test_a_process_that_there_is_none_of_is_told_with_those_there_are(tmp_path: Path) -> None:
    files = {"w0": tmp_path, "g0": tmp_path, "command": tmp_path}
    state = StateDir(tmp_path)
    assert set(chosen(files, None, state)) == {"w0", "g0"}
    assert set(chosen(files, "command", state)) == {"command"}
    with pytest.raises(NotThere, match=r"no process 'w9'.*: command, g0, w0"):
        chosen(files, "w9", state)
    with pytest.raises(NotThere, match="has run with"):
        chosen({}, None, state)


def test_the_command_shows_the_last_run_and_nothing_in_it_moves_the_cursor() -> None:
    state = StateDir.find(None, os.environ)
    state.logs.mkdir(parents=True)
    (state.logs / "w0.log").write_text(f"{TIMES[0]} a\x1b[2J\n")
    (state.logs / "g0.log").write_text(f"{TIMES[1]} b\n")
    result = CliRunner().invoke(commands(["logs"]), ["logs"])
    assert result.stdout == f"w0: {TIMES[0]} a\\x1b[2J\ng0: {TIMES[1]} b\n"
    assert CliRunner().invoke(commands(["logs"]), ["logs", "g0"]).stdout == f"{TIMES[1]} b\n"
