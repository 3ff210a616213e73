"""Figures of the tests, for the summary of a run. It stands apart from conftest, which pytest loads a second time."""

import pytest

LINES = pytest.StashKey[list[str]]()


def say(request: pytest.FixtureRequest, line: str) -> None:
    """A figure of this test."""
    request.config.stash.setdefault(LINES, []).append(f"{request.node.name}: {line}")
