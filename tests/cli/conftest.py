"""What the command changes of its process is put back, as here it runs in the tests' own; and what other `genlock up`
of this user run, no test sees."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture(autouse=True)
def own_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user of the test's own: nothing runs, nothing is remembered, no variable is set."""
    home = tmp_path / "user"
    home.mkdir()
    for name in ("GENLOCK_GATEWAY", "GENLOCK_TOKEN", "GENLOCK_STATE_DIR", "GENLOCK_SECRETS", "GENLOCK_SECRETS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    return home
