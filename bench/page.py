"""docs/benchmarks.md: a section for each benchmark, with its tables and plots, which a new run replaces."""

import os
import platform
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from bench.result import Series, Table

PAGE = Path("docs") / "benchmarks.md"
IMAGES = Path("docs") / "images"


def section(name: str, tables: list[Table], series: list[Series]) -> str:
    parts = [table.markdown() for table in tables]
    for index, one in enumerate(series):
        image = IMAGES / f"bench-{name.replace('_', '-')}{f'-{index}' if index else ''}.png"
        plot(one, image)
        parts.append(f"![{one.name}](images/{image.name})\n")
    return "\n".join(parts)


def plot(series: Series, image: Path) -> None:
    """A bar per label, on paper that reads in light and dark."""
    image.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.3 * max(4, len(series.labels))), dpi=110)
    bars = axes.barh(series.labels, series.values, color="#4653e8", height=0.62)
    axes.invert_yaxis()
    axes.bar_label(bars, fmt="%.3g", padding=4, fontsize=8)
    axes.set_xlabel(series.unit)
    axes.set_title(series.name, loc="left", fontsize=11)
    axes.margins(x=0.12)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(image)
    plt.close(figure)


def with_section(page: str, name: str, section: str) -> str:
    """The page with this section in its place, or at the end if it had none."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, found, rest = page.partition(begin)
    after = rest.partition(end)[2] if found else "\n"
    return f"{before if found else page.rstrip() + chr(10) * 2}{begin}\n\n{section}\n{end}{after}"


def head() -> str:
    """What stands above the first section."""
    system = f"{platform.system()} on {platform.machine()}, Python {platform.python_version()}"
    machine = f"{os.cpu_count()} cores, {system}, no GPU"
    return (
        "# Benchmarks\n\n"
        f"Written by `make bench` on a small shared machine: {machine}. Such a machine is noisy: read the ratios, "
        "which compare with a baseline of the same run, before the figures. Everything runs over loopback.\n"
    )
