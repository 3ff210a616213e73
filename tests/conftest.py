"""Fixtures that tests of several parts share; each module below says what it gives."""

import gc
import os
from collections.abc import Iterator

import hypothesis
import pytest

# No test asserts speed: on a busy machine an example takes as long as it takes.
hypothesis.settings.register_profile("genlock", deadline=None)
hypothesis.settings.load_profile("genlock")

pytest_plugins = [
    "tests.browsers",
    "tests.fake_kubelet",
    "tests.kube_fixtures",
    "tests.leaks",
    "tests.redis_servers",
    "tests.turn_servers",
]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """For `-n auto`: one process more than there are cores, as each of them waits for a third of its time; for `-n
    logical` as many as there are cores, where another run beside this one is that one more."""
    return (os.cpu_count() or 1) + int(config.option.numprocesses == "auto")


def pytest_collection() -> None:
    """Imports leave no garbage worth looking for: the collector took a seventh of the time that they take."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Take what the imports made out of the garbage collector's sight: walking torch and the test modules took 0.4 s of
    each full collection, of which tests that leave something to the collector ask for one each."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_sessionfinish() -> None:
    """Give it back, so that the interpreter takes everything down in its usual order."""
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="session")
def no_state_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands that tests start find no secrets of a `genlock up` that the user ran: a token made with those is wrong
    for the test's gateway, which then refuses what it lets in without one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENLOCK_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        for name in ("GENLOCK_GATEWAY", "GENLOCK_TOKEN", "GENLOCK_SECRETS", "GENLOCK_SECRETS_FILE"):
            patch.delenv(name, raising=False)
        yield
