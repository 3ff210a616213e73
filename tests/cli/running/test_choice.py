"""Which `genlock up` is meant by a command that asks no gateway."""

import os
from pathlib import Path

import pytest

from genlock_cli.exit_status import NotThere
from genlock_cli.running.choice import nothing_runs, up_that_runs, ups_that_run
from genlock_cli.state_dir import Running, StateDir
from genlock_cli.ups import Ups


def test_without_a_name_all_of_this_user_are_there_each_once(tmp_path: Path) -> None:
    usual, other = StateDir.find(None, os.environ), StateDir(tmp_path / "x")
    ups = Ups.of_this_user(os.environ)
    with usual.lock(), other.lock(), ups.entered(usual), ups.entered(other):
        for state in (usual, other):
            state.announce(Running(os.getpid(), (), ""))
        assert {up.state for up in ups_that_run(None, os.environ)} == {usual, other}
        assert [up.state for up in ups_that_run(other.path, os.environ)] == [other]
        assert [up.state for up in ups_that_run(None, os.environ | {"GENLOCK_STATE_DIR": str(other.path)})] == [other]
        assert up_that_runs(None, os.environ).state == usual
        assert up_that_runs(other.path, os.environ).state == other


def test_what_does_not_run_is_not_found(tmp_path: Path) -> None:
    assert ups_that_run(None, os.environ) == []
    with pytest.raises(NotThere, match="start one with `genlock up`"):
        up_that_runs(None, os.environ)
    with pytest.raises(NotThere, match=str(tmp_path)):
        up_that_runs(tmp_path, os.environ)


def test_a_variable_that_names_the_wrong_folder_is_told() -> None:
    assert "GENLOCK_STATE_DIR" in nothing_runs({"GENLOCK_STATE_DIR": "/x"})
