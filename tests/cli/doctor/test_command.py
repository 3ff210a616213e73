"""`genlock doctor`: one line for each thing, exit status 1 if something needed is missing."""

import json

from typer.testing import CliRunner

from genlock_cli.app import commands


def doctor(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(commands(["doctor"]), ["doctor", "--port", "64999", *words])
    return result.exit_code, result.stdout


def test_a_machine_that_can_run_it_is_told_so() -> None:
    status, out = doctor()
    assert status == 0, out
    assert [line.split()[0] for line in out.splitlines() if line[:1].isalpha()][:2] == ["ok", "ok"]


def test_what_is_missing_is_exit_status_1_and_what_to_type() -> None:
    status, out = doctor("--redis", "redis://127.0.0.1:9", "--json")
    assert status == 1
    told = json.loads(out)
    assert told["ready"] is False
    assert [one for one in told["findings"] if one["verdict"] == "missing"] == [
        {
            "about": "Redis",
            "verdict": "missing",
            "words": "the Redis that was named does not answer (ConnectionError)",
            "todo": "start it, or leave --redis out",
        }
    ]
