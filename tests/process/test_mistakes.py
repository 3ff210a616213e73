"""A mistake in what a process is told: one line, status 2, the same words in every part."""

import os
import subprocess
import sys

import pytest

PARTS = {
    "genlock-gateway": ("genlock_gateway.main", "GENLOCK_GATEWAY_"),
    "genlock-worker": ("genlock_worker.main", "GENLOCK_WORKER_"),
    "genlock-operator": ("genlock_operator.main", "GENLOCK_OPERATOR_"),
}


def told(module: str, *arguments: str, **variables: str) -> tuple[int, str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GENLOCK_")}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], env=ours | variables, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.process
@pytest.mark.parametrize("program", PARTS)
def test_a_level_that_there_is_none_of_is_one_line_from_either_source(program: str) -> None:
    module, prefix = PARTS[program]
    line = f"{program}: --log-level ({prefix}LOG_LEVEL) must be one of debug, info, warning, error, and is 'verbose'\n"
    assert told(module, "--log-level", "verbose") == (2, "", line)
    assert told(module, **{f"{prefix}LOG_LEVEL": "verbose"}) == (2, "", line)
