"""The fault table of docs/design.md takes its figures from the tables of chaos in docs/benchmarks.md.

A row names what it is tried by; where that is a harm, its figures stand in the row's last columns, one for each engine.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from bench.chaos.harms import HARMS

DESIGN: Final = Path("docs") / "design.md"
ENGINES: Final = ("mock", "diffusion")
"""In the order of the columns."""
BEGIN: Final = "<!-- faults -->"
END: Final = "<!-- end of faults -->"
TRIED_BY: Final = 4
NONE: Final = "-"
_NAMED: Final = re.compile(r"`([^`]+)`")


def renewed(design: str, benchmarks: str) -> str:
    """The page of the design with the figures of the page of benchmarks."""
    before, _, rest = design.partition(BEGIN)
    rows, _, after = rest.partition(END)
    figures = [figures_of(benchmarks, engine) for engine in ENGINES]

    lines = []
    for line in rows.split("\n"):
        cells = _cells(line)
        is_row = len(cells) > TRIED_BY and cells[0] != "dies" and not set(cells[0]) <= {"-"}
        if is_row:
            harms = [name for name in _NAMED.findall(cells[TRIED_BY]) if name in HARMS]
            told = ["; ".join(of[harm] for harm in harms if harm in of) or NONE for of in figures]
            line = f"| {' | '.join((*cells[: TRIED_BY + 1], *told))} |"
        lines.append(line)
    return f"{before}{BEGIN}{chr(10).join(lines)}{END}{after}"


def tried_by(design: str) -> Iterator[str]:
    """The names of all harms and tests that the table names."""
    for line in design.partition(BEGIN)[2].partition(END)[0].splitlines():
        cells = _cells(line)
        if len(cells) > TRIED_BY:
            yield from _NAMED.findall(cells[TRIED_BY])


def figures_of(benchmarks: str, engine: str) -> Mapping[str, str]:
    """Harm -> `p50 / p99 / worst` in seconds, and over how many gaps, of the section of that engine."""
    section = benchmarks.partition(f"<!-- chaos_{engine} -->")[2].partition(f"<!-- end of chaos_{engine} -->")[0]
    figures: dict[str, str] = {}
    columns: list[str] = []
    for line in section.splitlines():
        cells = _cells(line)
        if cells and cells[0] == "harm":
            columns = cells
        elif cells and cells[0] in HARMS and "p50" in columns:
            row = dict(zip(columns, cells, strict=True))
            if row["p50"] != NONE:
                gaps = " / ".join(_seconds(row[column]) for column in ("p50", "p99", "worst"))
                figures.setdefault(row["harm"], f"{gaps} ({row['gaps']})")
    return figures


def _cells(line: str) -> list[str]:
    """Of a row of a table; none of any other line."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []


def _seconds(milliseconds: str) -> str:
    return f"{float(milliseconds.removesuffix(' ms')) / 1_000:.2f}"
