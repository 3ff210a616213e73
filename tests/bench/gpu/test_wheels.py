"""Which wheels are packed, at which versions, and which of them are laid out on the machine."""

import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.gpu import download, unpack, wheels
from supply_chain import locks

LOCK = locks.parse("""# a lock
diffusers==0.42.1 \\
    --hash=sha256:d1
ftfy==6.3.1 \\
    --hash=sha256:f1 \\
    --hash=sha256:f2
wcwidth==0.9.4 ; python_version > '3' \\
    --hash=sha256:a4
wcwidth==0.9.5 ; python_version <= '3' \\
    --hash=sha256:a5
pydantic-core==2.50.4 \\
    --hash=sha256:b1
""")
FTFY = wheels.Bundle("ftfy", ("ftfy", "wcwidth"))


def wheel(folder: Path, name: str, module: str = "") -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{module or 'nothing'}/__init__.py", "")
    return path


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would have been downloaded: the text of each file of requirements."""
    asked: list[str] = []

    def read(command: Sequence[str], **_: object) -> None:
        assert "--require-hashes" in command
        asked.append(Path(command[command.index("--requirement") + 1]).read_text())

    monkeypatch.setattr(subprocess, "run", read)
    return asked


def test_the_lock_has_a_version_of_everything_that_is_packed() -> None:
    names = [name for bundle in (*wheels.BUNDLES, wheels.ENCODER) for name in bundle.distributions]
    found = download.locked(locks.read("dev"), names)
    assert [one.name for one in found] == names
    assert all(one.hashes for one in found)


def test_a_line_for_pip_has_every_hash_and_no_condition() -> None:
    ftfy, wcwidth = download.locked(LOCK, ["ftfy", "wcwidth"])
    assert ftfy.requirement() == "ftfy==6.3.1 --hash=sha256:f1 --hash=sha256:f2"
    assert wcwidth.requirement() == "wcwidth==0.9.4 --hash=sha256:a4"


def test_what_is_not_in_the_lock_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(download.NotLocked, match="no version of av: run make lock"):
        download.locked(LOCK, ["av"])


def test_wheels_are_for_the_python_of_the_other_machine(tmp_path: Path) -> None:
    command = download.download_command(tmp_path, tmp_path / "requirements.txt")
    assert command[command.index("--python-version") + 1] == "3.12"
    assert {"--no-deps", "cp312", "abi3", "none", "manylinux_2_28_x86_64", "any", "--require-hashes"} <= set(command)


def test_only_what_is_missing_is_got_and_other_versions_go(tmp_path: Path, downloads: list[str]) -> None:
    kept = wheel(tmp_path, "ftfy-6.3.1-py3-none-any.whl")
    other = wheel(tmp_path, "wcwidth-0.8.0-py3-none-any.whl")
    download.fetch(tmp_path, LOCK, [FTFY])
    assert downloads == ["wcwidth==0.9.4 --hash=sha256:a4\n"]
    assert kept.exists()
    assert not other.exists()


def test_nothing_is_asked_for_where_all_is_there(tmp_path: Path, downloads: list[str]) -> None:
    for name in ("ftfy-6.3.1-py3-none-any.whl", "wcwidth-0.9.4-cp310-abi3-manylinux2014_x86_64.whl"):
        wheel(tmp_path, name)
    download.fetch(tmp_path, LOCK, [FTFY])
    assert downloads == []


def test_a_name_with_a_dash_is_found_under_its_wheels_name(tmp_path: Path) -> None:
    found = wheel(tmp_path, "pydantic_core-2.50.4-cp312-cp312-manylinux2014_x86_64.whl")
    wheel(tmp_path, "pydantic-2.14.3-py3-none-any.whl")
    assert wheels.wheels_of(tmp_path, ["pydantic-core"]) == [found]


def test_the_wheels_of_a_missing_module_are_laid_out_and_no_others(tmp_path: Path) -> None:
    folder, site = tmp_path / "wheels", tmp_path / "site"
    folder.mkdir()
    wheel(folder, "ftfy-6.3.1-py3-none-any.whl", "ftfy")
    wheel(folder, "wcwidth-0.9.4-py3-none-any.whl", "wcwidth")
    wheel(folder, "diffusers-0.42.1-py3-none-any.whl", "diffusers")
    assert unpack.unpack(folder, site, [FTFY]) == ["ftfy-6.3.1-py3-none-any.whl", "wcwidth-0.9.4-py3-none-any.whl"]
    assert sorted(path.name for path in site.iterdir()) == ["ftfy", "wcwidth"]


def test_a_module_that_is_here_is_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    here = wheels.Bundle("zipfile", ("zipfile",))
    gone = wheels.Bundle("no_such_module", ("no-such-module",))
    monkeypatch.setattr(unpack, "BUNDLES", (here, gone))
    assert gone in unpack.missing()
    assert here not in unpack.missing()
