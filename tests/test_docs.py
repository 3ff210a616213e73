"""The documents agree with the tree: links lead somewhere, flow pages name what is there, the glossary is in order."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *(ROOT / "e2e").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
FLOW_PAGES = sorted((DOCS / "how-it-flows").glob("*.md"))
DECISIONS = sorted((DOCS / "decisions").glob("[0-9]*.md"))

PRODUCT = ("core", "worker", "gateway", "operator", "cli")

MOST_LINKS = 10
"""A flow that needs more doors than this is to be mended in the code, not on its page."""
RECORD_HEADINGS = ["Context", "Decision", "Consequences"]

LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
HEADING = re.compile(r"^(#+)\s+(.*?)\s*$", re.MULTILINE)
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
ROOMS = re.compile(r"^```rooms (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"- \*\*([^*]+)\*\*: \S.*")


def prose(page: Path) -> str:
    """A page without its blocks of code, in which brackets are no links."""
    return CODE_BLOCK.sub("", page.read_text())


def anchors(text: str) -> set[str]:
    """What the headings of a page are called in a link, as GitHub does it."""
    titles = [LINK.sub(r"\1", title) for _level, title in HEADING.findall(text)]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(page: Path, text: str) -> list[str]:
    """The links of `text`, as part of `page`, that lead to no file or no heading of the repository."""
    broken = []
    for _title, target in LINK.findall(text):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        is_there = file.is_relative_to(ROOT) and file.exists()
        if not is_there or (anchor and file.suffix == ".md" and anchor not in anchors(prose(file))):
            broken.append(target)
    return broken


def defined(source: str) -> set[str]:
    """Functions, classes and methods of a module, a method as `Class.method`."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
            names |= {f"{node.name}.{method.name}" for method in methods}
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_of_the_repository(page: Path) -> None:
    assert broken_links(page, prose(page)) == []


@pytest.mark.parametrize(
    "link",
    ["[gone](gone.md)", "[gone](design.md#no-such-heading)", "[outside](../../elsewhere.md)", "[here](#nowhere)"],
)
def test_a_link_to_nothing_is_found(link: str) -> None:
    assert broken_links(DOCS / "contracts.md", link)


# -- how it flows ----------------------------------------------------------------------------------------------------


def test_there_are_five_flow_pages() -> None:
    pages = ["a-control-change", "a-frame", "a-level-change", "a-session", "a-snapshot"]
    assert [page.stem for page in FLOW_PAGES] == pages


@pytest.mark.parametrize("page", FLOW_PAGES, ids=lambda page: page.stem)
def test_a_flow_page_has_at_most_ten_links_and_one_in_each_step(page: Path) -> None:
    steps = re.findall(r"^\d+\. .*(?:\n   .*)*", prose(page), re.MULTILINE)
    assert [len(LINK.findall(step)) for step in steps] == [1] * len(steps)
    assert 1 < len(LINK.findall(prose(page))) <= MOST_LINKS


@pytest.mark.parametrize("page", FLOW_PAGES, ids=lambda page: page.stem)
def test_what_a_flow_page_names_is_defined_in_the_file_that_it_links(page: Path) -> None:
    missing = [
        f"{title} in {target}"
        for title, target in LINK.findall(prose(page))
        if title.strip("`") not in defined((page.parent / target).read_text())
    ]
    assert missing == []


def test_a_name_that_is_not_in_a_file_is_found() -> None:
    names = defined("class Kept:\n    async def run(self): ...\n\ndef free(): ...\n")
    assert names == {"Kept", "Kept.run", "free"}


# -- rooms -----------------------------------------------------------------------------------------------------------


def contracted_rooms() -> dict[str, str]:
    """The rooms of each part from the door inwards, one layer a line, as the contracts of import-linter have them."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    rooms = {}
    for contract in project["tool"]["importlinter"]["contracts"]:
        if contract["name"].startswith("Rooms of "):
            part = contract["layers"][0].split(" | ")[0].rpartition(".")[0]
            rooms[part] = "".join(layer.replace(f"{part}.", "") + "\n" for layer in contract["layers"])
    return rooms


@pytest.mark.parametrize(("part", "shown"), ROOMS.findall((DOCS / "design.md").read_text()))
def test_the_rooms_of_the_design_page_are_those_of_the_contract(part: str, shown: str) -> None:
    """A contract has changed: write its layers into the block of this part, as they stand on the left."""
    assert contracted_rooms()[part] == shown


def test_the_design_page_shows_the_rooms_of_every_part() -> None:
    shown = {part for part, _rooms in ROOMS.findall((DOCS / "design.md").read_text())}
    assert {f"genlock_{part}" for part in PRODUCT} - {"genlock_cli"} <= shown


def rooms_without_a_table() -> list[str]:
    """Folders of the product whose `__init__` does not say in a table what is where, the parts' own left out."""
    modules = (path for part in PRODUCT for path in (ROOT / part).rglob("*/*/__init__.py"))
    docstrings = {path: ast.get_docstring(ast.parse(path.read_text())) or "" for path in modules}
    return sorted(str(path.parent.relative_to(ROOT)) for path, text in docstrings.items() if "\n|---|" not in text)


def test_every_room_says_in_a_table_what_it_owns() -> None:
    assert rooms_without_a_table() == []


# -- the glossary ----------------------------------------------------------------------------------------------------


def test_the_glossary_is_alphabetical_with_one_line_for_each_entry() -> None:
    lines = [line for line in (DOCS / "glossary.md").read_text().split("\n\n", 2)[2].splitlines() if line]
    entries = [ENTRY.fullmatch(line) for line in lines]
    assert [line for line, entry in zip(lines, entries, strict=True) if entry is None] == []
    terms = [entry[1].casefold() for entry in entries if entry is not None]
    assert terms == sorted(set(terms))


def test_every_class_that_the_glossary_names_is_one_of_the_product() -> None:
    modules = [path for part in PRODUCT for path in (ROOT / part).rglob("*.py")]
    classes = {name for path in modules for name in re.findall(r"^class (\w+)", path.read_text(), re.MULTILINE)}
    named = set(re.findall(r"`(?:\w+\.)*([A-Z]\w+)`", (DOCS / "glossary.md").read_text()))
    assert len(named) > 50
    assert named - classes == set()


# -- decisions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", DECISIONS, ids=lambda record: record.stem)
def test_a_decision_record_has_context_decision_and_consequences(record: Path) -> None:
    headings = HEADING.findall(record.read_text())
    assert [title for level, title in headings if level == "##"] == RECORD_HEADINGS
    assert headings[0][1].startswith(f"{int(record.stem[:4])}. ")
    sections = re.split(r"^## .*$", record.read_text(), flags=re.MULTILINE)[1:]
    assert all(section.strip() for section in sections)


def test_decision_records_are_numbered_without_gaps_and_listed_in_the_index() -> None:
    assert [int(record.stem[:4]) for record in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    listed = [target for _title, target in LINK.findall(prose(DOCS / "decisions" / "README.md")) if target[0].isdigit()]
    assert listed == [record.name for record in DECISIONS]
