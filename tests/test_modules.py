"""Product modules: each has a test of its own name or a place that shows it; a class name has one meaning."""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shown_by import SHOWN_BY
from tests.test_project import PACKAGES, ROOT

MOST_MODULES = 20
"""In one folder; more of them hide what belongs together."""


def modules() -> Iterator[Path]:
    """Every module of the product, relative to the repository: `core/genlock_core/spec/session.py`."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name not in {"__init__.py", "__main__.py"}:
                yield path.relative_to(ROOT)


def short(module: Path) -> str:
    """`core/spec/session.py`: the part, and the way in its package."""
    return str(Path(module.parts[0], *module.parts[2:]))


def has_tests(module: Path) -> bool:
    """Whether tests/<part>/<room>/ has `test_<module>.py`, or `test_<module>_<aspect>.py`."""
    folder = ROOT / "tests" / Path(short(module)).parent
    return (folder / f"test_{module.stem}.py").exists() or any(folder.glob(f"test_{module.stem}_*.py"))


ALL = {short(module): module for module in modules()}
SHOWN = [(module, test) for test, shown in SHOWN_BY.items() for module in shown]


@pytest.mark.parametrize("name", ALL)
def test_a_module_has_tests_of_its_name_or_says_where_it_is_shown(name: str) -> None:
    shown = {module for module, _ in SHOWN}
    assert has_tests(ALL[name]) or name in shown, (
        f"write tests/{name.replace(ALL[name].name, 'test_' + ALL[name].name)}, or say in tests/shown_by.py which test "
        f"module shows it"
    )


@pytest.mark.parametrize(("name", "test"), SHOWN)
def test_what_is_said_to_be_shown_elsewhere_is(name: str, test: str) -> None:
    assert (ROOT / "tests" / test).is_file(), f"there is no tests/{test}"
    assert name in ALL, f"there is no {name} any more: take it out of tests/shown_by.py"
    assert not has_tests(ALL[name]), f"{name} has tests of its name now: take it out of tests/shown_by.py"


def test_no_module_is_said_to_be_shown_twice() -> None:
    assert not [name for name, count in Counter(module for module, _ in SHOWN).items() if count > 1]


def test_a_public_class_name_has_one_meaning() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for name, module in ALL.items():
        for node in ast.parse((ROOT / module).read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name)
    assert not {name: where for name, where in places.items() if len(where) > 1}


def test_no_folder_has_too_many_modules() -> None:
    folders = Counter(str(Path(name).parent) for name in ALL)
    assert not {folder: count for folder, count in folders.items() if count > MOST_MODULES}
