"""Whether a decoder's process is killed alone where memory is short, or with all that its container has."""

from pathlib import Path

import pytest

from genlock_worker.intake.out_of_process import limits


@pytest.mark.parametrize(
    ("memberships", "groups", "alone"),
    [
        ("0::/\n", {"": "0\n"}, True),
        ("0::/\n", {"": "1\n"}, False),
        ("0::/\n", {}, True),
        ("0::/pod/worker\n", {"": "1\n", "pod/worker": "0\n"}, True),
        ("0::/pod/worker\n", {"": "0\n", "pod/worker": "1\n"}, False),
        ("4:memory:/worker\n0::/worker\n", {}, True),
        ("4:memory:/worker\n", {"": "1\n"}, True),
    ],
    ids=["alone", "together", "no such file", "own alone", "own together", "both versions", "version 1"],
)
def test_the_own_cgroup_says_it(
    memberships: str, groups: dict[str, str], alone: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "memberships"
    own.write_text(memberships)
    for group, value in groups.items():
        (tmp_path / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / group / "memory.oom.group").write_text(value)
    monkeypatch.setattr(limits, "_MEMBERSHIPS", own)
    monkeypatch.setattr(limits, "_CGROUPS", tmp_path)
    assert limits.goes_alone() is alone


def test_a_file_that_cannot_be_read_may_say_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "memberships"
    own.write_text("0::/\n")
    (tmp_path / "memory.oom.group").mkdir()
    monkeypatch.setattr(limits, "_MEMBERSHIPS", own)
    monkeypatch.setattr(limits, "_CGROUPS", tmp_path)
    assert not limits.goes_alone()
