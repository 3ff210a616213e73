"""What is told of advisories; that nothing was found is told only where something was looked up."""

import json
from typing import Any

import pytest

from supply_chain import advisories, locks

CLEAN = {"name": "aiortc", "version": "1.16.0", "vulns": []}
HARMED = {"name": "av", "version": "18.1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["18.1.1"], "aliases": []}]}
HOPELESS = {"name": "six", "version": "1.17.0", "vulns": [{"id": "PYSEC-2", "fix_versions": [], "aliases": []}]}
UNKNOWN = {"name": "yarl", "skip_reason": "Dependency not found on PyPI and could not be audited: yarl (1.25.1)"}


def said(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_where_all_were_looked_up_and_nothing_is_known_it_ends_well() -> None:
    told = advisories.answer(said(CLEAN), "No known vulnerabilities found")
    assert told == advisories.Answer(("advisories: 1 packages looked up, 0 advisories, 0 not looked up",), 0)


def test_an_advisory_is_told_with_the_version_that_mends_it() -> None:
    told = advisories.answer(said(CLEAN, HARMED, HOPELESS), "")
    assert told.lines[1:] == (
        "av 18.1.0: PYSEC-1, mended in 18.1.1",
        "six 1.17.0: PYSEC-2, not mended in any version",
    )
    assert told.status == 1


def test_a_package_that_was_not_looked_up_is_no_package_without_advisories() -> None:
    told = advisories.answer(said(CLEAN, UNKNOWN), "No known vulnerabilities found")
    assert told.status == 2
    assert told.lines[1].startswith("not looked up: yarl: ")


def test_an_advisory_counts_more_than_what_was_not_looked_up() -> None:
    assert advisories.answer(said(HARMED, UNKNOWN), "").status == 1


@pytest.mark.parametrize(
    ("output", "complaints", "why"),
    [
        ("", "Traceback ...\nrequests.exceptions.ConnectionError: no such host", "no such host"),
        ("half of {", "killed", "killed"),
        (said(UNKNOWN, UNKNOWN), "No known vulnerabilities found", "not found on PyPI"),
        (said(), "", "could be reached"),
    ],
)
def test_where_no_database_answered_it_says_so(output: str, complaints: str, why: str) -> None:
    told = advisories.answer(output, complaints)
    assert told.status == 2
    assert "no database of advisories could be reached" in told.lines[0]
    assert why in "\n".join(told.lines)


def test_every_package_of_every_lock_is_asked_for() -> None:
    asked = {(pin.name, pin.version) for lock in advisories.LOCKS for pin in locks.read(lock)}
    for path in locks.FOLDER.glob("*.lock"):
        assert {(pin.name, pin.version) for pin in locks.read(path.stem)} <= asked, path.name
        assert (f"{path}" in advisories.command()) == (path.stem in advisories.LOCKS)
    assert {"--require-hashes", "--disable-pip"} <= set(advisories.command())
