"""What a benchmark gives: titled tables. A ratio against a baseline of the same run says more than a figure."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Table:
    """One benchmark's result. `rows` have as many cells as `columns`; `note` says what was measured against what."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str

    def markdown(self) -> str:
        head = f"| {' | '.join(self.columns)} |\n|{'---|' * len(self.columns)}"
        body = "\n".join(f"| {' | '.join(row)} |" for row in self.rows)
        return f"## {self.title}\n\n{self.note}\n\n{head}\n{body}\n"


@dataclass(frozen=True, slots=True)
class Series:
    """Values to plot: one bar or one point per label."""

    name: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    unit: str


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of one line, by x."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Curves:
    """Lines to plot over one another."""

    name: str
    x: str
    y: str
    curves: tuple[Curve, ...]
    log_y: bool = False


Plot = Series | Curves


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the sorted values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def save(path: Path, tables: Sequence[Table], plots: Sequence[Plot]) -> None:
    """Write a result where the report finds it."""
    data = {"tables": [asdict(one) for one in tables], "plots": [asdict(one) for one in plots]}
    path.write_text(json.dumps(data, indent=1))


def load(path: Path) -> tuple[list[Table], list[Plot]]:
    """What `save` wrote."""
    data = json.loads(path.read_text())
    tables = [
        Table(one["title"], tuple(one["columns"]), tuple(tuple(row) for row in one["rows"]), one["note"])
        for one in data["tables"]
    ]
    return tables, [_plot(one) for one in data["plots"]]


def _plot(one: dict[str, Any]) -> Plot:
    if "curves" not in one:
        return Series(one["name"], tuple(one["labels"]), tuple(one["values"]), one["unit"])
    curves = [Curve(curve["name"], tuple((x, y) for x, y in curve["points"])) for curve in one["curves"]]
    return Curves(one["name"], one["x"], one["y"], tuple(curves), one["log_y"])
