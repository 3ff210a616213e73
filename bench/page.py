"""docs/benchmarks.md: a section for each benchmark, with its tables and plots, which a new run replaces."""

import os
import platform
from itertools import cycle
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.result import Curves, Plot, Series, Table

PAGE = Path("docs") / "benchmarks.md"
IMAGES = Path("docs") / "images"


def section(name: str, tables: list[Table], plots: list[Plot]) -> str:
    parts = [table.markdown() for table in tables]
    for index, one in enumerate(plots):
        image = IMAGES / f"bench-{name.replace('_', '-')}{f'-{index}' if index else ''}.png"
        plot(one, image)
        parts.append(f"![{one.name}](images/{image.name})\n")
    return "\n".join(parts)


def plot(one: Plot, image: Path) -> None:
    """On paper that reads in light and dark."""
    image.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(one, Curves):
        _plot_curves(one, image)
    else:
        _plot_bars(one, image)


def _plot_curves(curves: Curves, image: Path) -> None:
    """A line with its points for each curve."""
    figure, axes = plt.subplots(figsize=(10, 5), dpi=110)
    # There are ten colours: with nine markers no two curves are alike before the ninetieth.
    for one, marker in zip(curves.curves, cycle("osD^vP*X<"), strict=False):
        across, up = zip(*one.points, strict=True)
        axes.plot(across, up, marker=marker, markersize=5, linewidth=1.2, label=one.name)
    if curves.log_y:
        axes.set_yscale("log")
    axes.set_xlabel(curves.x)
    axes.set_ylabel(curves.y)
    axes.set_title(curves.name, loc="left", fontsize=11)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    axes.grid(alpha=0.25)
    _saved(figure, axes, image)


def _plot_bars(series: Series, image: Path) -> None:
    """A bar for each label."""
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.3 * max(4, len(series.labels))), dpi=110)
    bars = axes.barh(series.labels, series.values, color="#4653e8", height=0.62)
    axes.invert_yaxis()
    axes.bar_label(bars, fmt="%.3g", padding=4, fontsize=8)
    axes.set_xlabel(series.unit)
    axes.set_title(series.name, loc="left", fontsize=11)
    axes.margins(x=0.12)
    _saved(figure, axes, image)


def _saved(figure: Figure, axes: Axes, image: Path) -> None:
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
