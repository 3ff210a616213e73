"""What is in `interpreted` runs here, in a process of its own: Triton is told at its import to interpret kernels.

A busy machine may give it little of its time, so its limit is on the processor's seconds; the one by the clock only
ends a process that waits for ever.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = next(folder for folder in HERE.parents if (folder / "pyproject.toml").is_file())

CPU_S = 300
"""It takes most of a minute."""


@pytest.mark.timeout(3600)
def test_kernels_compute_in_the_interpreter_what_pytorch_does() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pytests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=0", str(HERE / "interpreted")]
    command = ["sh", "-c", f'ulimit -t {CPU_S} && exec "$@"', "sh", *pytests]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "skipped" not in run.stdout
