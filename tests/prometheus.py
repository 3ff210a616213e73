"""Prometheus and promtool for the tests: from PATH, or Debian's as `make prometheus` has unpacked it."""

import os
import shutil
from pathlib import Path

import pytest

UNPACKED = Path(__file__).parent.parent / "build/prometheus/usr/bin"


def program(name: str) -> str:
    """`prometheus` or `promtool`; without it the test is skipped, and says what brings it."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}{os.pathsep}{UNPACKED}")
    if found is None:
        pytest.skip(f"{name} is not there; `make prometheus` gets Debian's")
    return found
