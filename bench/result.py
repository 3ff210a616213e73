"""What a benchmark gives: titled tables. A ratio against a baseline of the same run says more than a figure."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


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


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the sorted values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def save(path: Path, tables: Sequence[Table], series: Sequence[Series]) -> None:
    """Write a result where the report finds it."""
    data = {"tables": [asdict(one) for one in tables], "series": [asdict(one) for one in series]}
    path.write_text(json.dumps(data, indent=1))


def load(path: Path) -> tuple[list[Table], list[Series]]:
    """What `save` wrote."""
    data = json.loads(path.read_text())
    tables = [
        Table(one["title"], tuple(one["columns"]), tuple(tuple(row) for row in one["rows"]), one["note"])
        for one in data["tables"]
    ]
    series = [Series(one["name"], tuple(one["labels"]), tuple(one["values"]), one["unit"]) for one in data["series"]]
    return tables, series
