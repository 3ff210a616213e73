"""What holds for the repository as a whole: its layout, its extras, its lock file, and what no file may contain."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from supply_chain import locks

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
LOCKS = (*EXTRAS, "build", "supply")
"""Of `requirements/`: one for each extra, for what builds Genlock's wheel, and for what makes the locks."""
PACKAGES: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

# A home folder or a build machine's checkout; the first character before it rules out URLs and relative paths.
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(?:home|Users|root|work|workspace|builds)/[\w.]")
# Where one's packages come from is the installing machine's setting, never the repository's.
PACKAGE_INDEX = re.compile(r"pythonhosted[.]org|--(?:extra-)?index-url[ =]|--find-links[ =]|--trusted-host[ =]")
HEAVY = {"torch", "opencv-python", "opencv-python-headless", "diffusers", "transformers"}


def test_no_package_is_called_operator() -> None:
    """A top-level package of that name would stand before the standard library's module and break the interpreter."""
    assert not (ROOT / "operator" / "__init__.py").exists()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "__init__.py").is_file()
    assert (ROOT / package / "py.typed").is_file()


def test_every_package_of_the_tree_is_built() -> None:
    assert {str(marker.parent.relative_to(ROOT)) for marker in ROOT.glob("*/genlock_*/py.typed")} == set(PACKAGES)


@pytest.mark.parametrize("pattern", [MACHINE_PATH, PACKAGE_INDEX], ids=["machine path", "package index"])
def test_no_file_names_the_machine_it_was_written_on(pattern: re.Pattern[str]) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in repository_files()
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("line", ["/home/ada/genlock", "see /work/genlock", "at '/root/.cache'", "(/Users/ada/x)"])
def test_a_machine_path_is_recognised(line: str) -> None:
    assert MACHINE_PATH.search(line)


@pytest.mark.parametrize("line", ["https://example.org/home/ada", "./work/x", "docs/home/x", "/workers/a", "/root"])
def test_other_paths_are_not_taken_for_machine_paths(line: str) -> None:
    assert not MACHINE_PATH.search(line)


def test_the_gateway_pulls_no_model_and_no_picture_library() -> None:
    assert not installed_with("gateway") & HEAVY


def test_the_worker_pulls_no_torch() -> None:
    assert not installed_with("worker") & (HEAVY - {"opencv-python-headless"})


def test_what_make_up_installs_pulls_no_torch() -> None:
    assert not installed_with("local") & (HEAVY - {"opencv-python-headless"})


def test_the_walk_over_requirements_sees_what_an_extra_pulls() -> None:
    assert {"aiortc", "starlette", "redis"} <= installed_with("gateway")
    assert "opencv-python-headless" in installed_with("local")


def test_the_project_file_gives_ranges_and_the_lock_gives_versions() -> None:
    for line in [*PROJECT["project"]["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]:
        assert "==" not in line.split(";")[0], line
    for line in lock_lines():
        assert re.fullmatch(r"[\w.-]+==[\w.!+-]+(?: ; .+)?", line), line


def test_every_extra_has_a_lock_and_so_has_what_builds_and_what_looks_after_them() -> None:
    assert {path.stem for path in ROOT.glob("requirements/*.lock")} == {*EXTRAS, "build", "supply"}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_has_hashes_of_its_files(lock: str) -> None:
    found = locked(lock)
    assert found
    for line, hashes in found.items():
        assert hashes, line
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), line


def test_a_lock_says_nothing_but_versions_hashes_and_comments() -> None:
    for lock in LOCKS:
        for line in (ROOT / "requirements" / f"{lock}.lock").read_text().splitlines():
            assert re.fullmatch(r"#.*|\S+==\S+(?: ; .+)? \\|    --hash=sha256:\w+(?: \\)?", line), line


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if lock != "dev"])
def test_a_package_has_one_version_and_the_same_hashes_in_all_locks(lock: str) -> None:
    dev = locked("dev")
    versions = {name_of(line): {other for other in dev if name_of(other) == name_of(line)} for line in dev}
    for line, hashes in locked(lock).items():
        known = versions.get(name_of(line), set())
        same = [other for other in known if other.split()[0] == line.split()[0]]
        assert same or not known, line
        assert all(dev[other] == hashes for other in same), line


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_has_all_that_its_extra_pulls_here(extra: str) -> None:
    """
    What the packages of an extra pull is known of those that `dev` includes: the tests run in its environment.
    Of any other (`clients`) pip finds it: with hashes it refuses a lock that lacks a package.
    """
    names = {name_of(line) for line in locked(extra)}
    named = {canonicalize_name(need.name) for need in direct_requirements(extra)}
    assert named <= names
    if named <= {canonicalize_name(need.name) for need in direct_requirements("dev")}:
        assert installed_with(extra) <= names


def test_the_lock_of_what_builds_genlock_has_what_the_project_file_asks_for() -> None:
    asked = {canonicalize_name(Requirement(line).name) for line in PROJECT["build-system"]["requires"]}
    assert asked <= {name_of(line) for line in locked("build")}


@pytest.mark.parametrize("stamp", [".local", ".diffusion", ".dev"])
def test_make_installs_what_the_locks_name_by_hashes_and_genlock_as_a_link(stamp: str, tmp_path: Path) -> None:
    command = ["make", "--dry-run", f"VENV={tmp_path}", f"PYTHON={sys.executable}", f"{tmp_path}/{stamp}"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    installs = [line for line in said.splitlines() if " -m pip " in line]
    by_hash = [line for line in installs if "--require-hashes" in line]
    links = [line for line in installs if line.endswith("install --no-deps --no-build-isolation --editable .")]
    assert len(by_hash) == len(links) == 1
    assert sorted(by_hash + links) == sorted(installs)
    named = re.findall(r"--requirement (\S+)", by_hash[0])
    assert "requirements/build.lock" in named
    assert all((ROOT / name).is_file() for name in named)


def test_whatever_calls_pip_names_hashes_or_installs_genlock_alone() -> None:
    """For commands that are written down: make's, those of the images, and of what is carried to a GPU."""
    callers = [ROOT / "Makefile", ROOT / "images" / "build", *sorted(ROOT.glob("*/Dockerfile"))]
    calls = [
        f"{path.relative_to(ROOT)}: {call}"
        for path in callers
        for call in re.findall(
            r"(?m)^(?!#).*\bpip\b.*\b(?:install|download|wheel)\b.*$", path.read_text().replace("\\\n", " ")
        )
    ]
    assert len(calls) >= 8
    # The two of images/build are handed their arguments where the wheels are collected.
    unsafe = [
        call for call in calls if "--require-hashes" not in call and "--no-deps" not in call and '"$@"' not in call
    ]
    assert not unsafe


def test_the_lock_knows_every_direct_dependency() -> None:
    for extra in EXTRAS:
        direct = {canonicalize_name(need.name) for need in direct_requirements(extra)}
        assert direct <= {name_of(line) for line in locked(extra)}, extra


@pytest.mark.parametrize("python", ["3.11.0", "3.12.0", "3.13.0", "3.14.0"])
def test_the_lock_has_one_version_of_a_direct_dependency_for_each_python(python: str) -> None:
    here = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    for extra in EXTRAS:
        direct = {
            canonicalize_name(need.name)
            for need in direct_requirements(extra)
            if need.marker is None or need.marker.evaluate({**here, "extra": ""})
        }
        held = Counter(
            canonicalize_name(need.name)
            for need in map(Requirement, locked(extra))
            if need.marker is None or need.marker.evaluate(here)
        )
        assert {name: held[name] for name in direct if held[name] != 1} == {}, extra


def test_what_torch_needs_of_cuda_is_asked_for_on_linux_alone() -> None:
    cuda = [line for line in lock_lines() if line.startswith(("nvidia-", "cuda-", "triton"))]
    assert cuda
    assert all("sys_platform == 'linux'" in line for line in cuda)


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_is_made_of_named_resources(example: Path) -> None:
    documents = list(yaml.safe_load_all(example.read_text()))
    assert documents
    for document in documents:
        assert document["apiVersion"].startswith("genlock.dev/")
        assert document["kind"]
        assert document["metadata"]["name"]


def repository_files() -> Iterator[Path]:
    """Every file of the working tree that `.gitignore` lets in; works without git and on an unpacked archive."""
    ignored = [line.strip("/ ") for line in (ROOT / ".gitignore").read_text().splitlines() if line] + [".git"]

    def is_ignored(name: str) -> bool:
        return any(fnmatch(name, pattern) for pattern in ignored)

    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not is_ignored(name)]
        yield from (Path(folder, name) for name in files if not is_ignored(name) and name != Path(__file__).name)


def text_of(path: Path) -> str:
    """The text of a file; empty for pictures, clips and other binary files, and for one that has just gone."""
    try:
        return path.read_text()
    except (UnicodeDecodeError, FileNotFoundError):
        return ""


def locked(lock: str) -> dict[str, tuple[str, ...]]:
    """The lines `name==version ; marker` of a lock, each with its hashes."""
    return {
        f"{pin.name}=={pin.version}" + (f" ; {pin.marker}" if pin.marker else ""): pin.hashes
        for pin in locks.read(lock)
    }


def lock_lines() -> list[str]:
    return [*locked("dev")]


def name_of(line: str) -> str:
    return canonicalize_name(line.split("==")[0])


def direct_requirements(extra: str) -> list[Requirement]:
    """What `genlock[extra]` names itself, with the extras of ours that it includes."""
    found = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
    for line in EXTRAS[extra]:
        need = Requirement(line)
        if need.name == "genlock":
            found += [other for included in need.extras for other in direct_requirements(included)]
        else:
            found.append(need)
    return found


def installed_with(extra: str) -> set[str]:
    """The names of all packages that `genlock[extra]` pulls here, by the metadata of what is installed."""
    names: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [(need, "") for need in direct_requirements(extra)]
    while waiting:
        need, for_extra = waiting.pop()
        name = canonicalize_name(need.name)
        if need.marker is not None and not need.marker.evaluate({"extra": for_extra}):
            continue
        names.add(name)
        for wanted in ("", *need.extras):
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            waiting += [(Requirement(line), wanted) for line in importlib.metadata.requires(name) or []]
    return names
