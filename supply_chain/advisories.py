"""`python -m supply_chain.advisories` (make advisories): is there an advisory of any package that the locks name?

pip-audit asks a database in the network. It says "no known vulnerabilities" and ends with 0 also where the database
knew nothing of a package, as behind an index that only mirrors files. This module does not take that for an answer.

Ends with 0 where every package was looked up and nothing is known of any, with 1 where something is, with 2 where some
or all could not be looked up. Runs in `build/supply`: the standard library and pip-audit.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Final

from supply_chain.locks import FOLDER

LOCKS: Final = ("dev", "clients", "build", "supply")
"""These have every package of every lock."""
TIMEOUT_S: Final = 900


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to be told, and the status to end with."""

    lines: tuple[str, ...]
    status: int


def command() -> list[str]:
    """Asks for what holds on this platform, by the locks alone: nothing is resolved or installed."""
    asked = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip"]
    asked += ["--format", "json", "--progress-spinner", "off"]
    for lock in LOCKS:
        asked += ["--requirement", str(FOLDER / f"{lock}.lock")]
    return asked


def answer(said: str, complaints: str) -> Answer:
    """Judge what pip-audit wrote to stdout and to stderr."""
    packages = _packages(said)
    looked_up = [one for one in packages if "skip_reason" not in one]
    if not looked_up:
        reasons = [*complaints.strip().splitlines()[-1:], *(one["skip_reason"] for one in packages[:1])]
        lines = ("advisories: no database of advisories could be reached, so nothing is known, good or bad", *reasons)
        return Answer(lines=lines, status=2)

    known = [
        f"{one['name']} {one['version']}: {advisory['id']}, {_mended(advisory)}"
        for one in looked_up
        for advisory in one["vulns"]
    ]
    unknown = [f"not looked up: {one['name']}: {one['skip_reason']}" for one in packages if "skip_reason" in one]
    told = f"advisories: {len(looked_up)} packages looked up, {len(known)} advisories, {len(unknown)} not looked up"
    return Answer(lines=(told, *known, *unknown), status=1 if known else 2 if unknown else 0)


def _packages(said: str) -> list[dict[str, Any]]:
    """What pip-audit says of each package; nothing where it broke off before it said anything."""
    try:
        return list(json.loads(said)["dependencies"])
    except (ValueError, KeyError, TypeError):
        return []


def _mended(advisory: dict[str, Any]) -> str:
    versions = advisory.get("fix_versions") or []
    return f"mended in {', '.join(versions)}" if versions else "not mended in any version"


def main() -> None:
    done = subprocess.run(command(), capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    told = answer(done.stdout, done.stderr)
    print("\n".join(told.lines), file=sys.stderr if told.status else sys.stdout)
    sys.exit(told.status)


if __name__ == "__main__":
    main()
