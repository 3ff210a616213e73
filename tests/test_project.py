"""What holds for the repository as a whole: its layout, its extras, its lock file, and what no file may contain."""

import importlib.metadata
import os
import re
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

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
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


def test_the_lock_knows_every_direct_dependency() -> None:
    locked = {canonicalize_name(line.split("==")[0]) for line in lock_lines()}
    direct = {canonicalize_name(need.name) for extra in EXTRAS for need in direct_requirements(extra)}
    assert direct <= locked


@pytest.mark.parametrize("python", ["3.11.0", "3.12.0", "3.13.0", "3.14.0"])
def test_the_lock_has_one_version_of_a_direct_dependency_for_each_python(python: str) -> None:
    here = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    direct = {
        canonicalize_name(need.name): need.name
        for extra in EXTRAS
        for need in direct_requirements(extra)
        if need.marker is None or need.marker.evaluate({**here, "extra": ""})
    }
    held = Counter(
        canonicalize_name(need.name)
        for need in map(Requirement, lock_lines())
        if need.marker is None or need.marker.evaluate(here)
    )
    assert {name: held[name] for name in direct if held[name] != 1} == {}


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


def lock_lines() -> list[str]:
    lines = (ROOT / "requirements-dev.lock").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


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
