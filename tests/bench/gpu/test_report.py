"""What is kept of a run is on the disk after every line."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.gpu.report import Report
from bench.gpu.timing import TimeIsOver
from genlock_core.errors import GenlockError
from genlock_core.sizing.profile import load_profiles
from tests.bench.gpu.reports import RECEIPT, report, row


def kept(one: Report) -> Any:
    return json.loads((one.folder / "results.json").read_text())


def broken(problem: Exception) -> None:
    raise problem


def test_the_receipt_is_there_before_the_first_line(tmp_path: Path) -> None:
    found = kept(report(tmp_path))
    assert found["receipt"] == RECEIPT.as_json()
    assert found["stages"] == {}


def test_a_run_that_is_cut_off_keeps_every_line_that_it_had(tmp_path: Path) -> None:
    one = report(tmp_path)
    for number in range(3):
        one.line("rows", "eager", {"rows": number, "ms": 1.5})
        assert [line["rows"] for line in kept(one)["stages"]["rows"]] == list(range(number + 1))


def test_a_write_that_is_cut_off_leaves_what_was_written_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = report(tmp_path)
    one.line("rows", "eager", {"ms": 1.5})
    before = kept(one)

    def half(path: Path, text: str, **_: object) -> None:
        with path.open("w") as file:
            file.write(text[: len(text) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(KeyboardInterrupt):
        one.line("rows", "eager", {"ms": 2.5})
    assert kept(one) == before


def test_profile_rows_are_a_profile_after_each_of_them(tmp_path: Path) -> None:
    one = report(tmp_path)
    path = tmp_path / "profiles" / "compiled-graphs.yaml"
    for steps in (1, 2):
        one.profile_row("compiled, graphs", row(steps))
        assert load_profiles([path]) == tuple(row(number) for number in range(1, steps + 1))


def test_each_way_to_run_the_engine_has_a_profile_of_its_own(tmp_path: Path) -> None:
    one = report(tmp_path)
    one.profile_row("defaults", row())
    one.profile_row("compiled", row())
    assert sorted(path.name for path in (tmp_path / "profiles").iterdir()) == ["compiled.yaml", "defaults.yaml"]


def test_what_goes_wrong_is_a_line_and_a_failure(tmp_path: Path) -> None:
    one = report(tmp_path)
    with one.attempt("rows", "compiled"):
        broken(RuntimeError("no kernel image"))
    assert "no kernel image" in kept(one)["stages"]["rows"][0]["failed"]
    assert kept(one)["failures"] == ["rows: compiled"]


def test_what_the_machine_lacks_is_a_line_and_no_failure(tmp_path: Path) -> None:
    one = report(tmp_path)
    with one.attempt("rows", "fp8"):
        broken(GenlockError("8 bits need compute capability 8.9"))
    assert kept(one)["stages"]["rows"] == [{"what": "fp8", "lacks": "8 bits need compute capability 8.9"}]
    assert one.failures == []


def test_that_time_is_over_ends_the_stage_and_not_one_attempt(tmp_path: Path) -> None:
    one = report(tmp_path)
    with pytest.raises(TimeIsOver), one.attempt("rows", "compiled"):
        raise TimeIsOver
    assert kept(one)["stages"] == {}
