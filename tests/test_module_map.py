"""The module map of docs/contracts.md names every module that there is, and no other."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "core/genlock_core",
    "operator/genlock_operator",
    "worker/genlock_worker",
    "gateway/genlock_gateway",
    "cli/genlock_cli",
)
WHOLE = ("worker/genlock_worker/engines",)
"""Folders that the map names as one."""


def named() -> set[str]:
    page = (ROOT / "docs/contracts.md").read_text()
    page = page.split("## Module map")[1].split("```")[1]
    names: set[str] = set()
    for word in re.findall(r"[\w{},/]+\.py", page):
        braces = re.search(r"\{(.*)\}", word)
        names |= {f"{one}.py" for one in braces[1].split(",")} if braces else {word.rsplit("/", 1)[-1]}
    return names


def test_the_map_is_true() -> None:
    there = {
        path.name
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py" and not any(path.is_relative_to(ROOT / folder) for folder in WHOLE)
    }
    assert named() == there
