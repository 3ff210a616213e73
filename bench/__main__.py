"""`make bench`: every benchmark in a process of its own, then docs/benchmarks.md with its tables and plots."""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from bench.result import Series, Table, load

BENCHMARKS = ("claims", "link", "engine_mock", "first_frame", "recovery")
PAGE = Path("docs") / "benchmarks.md"
IMAGES = Path("docs") / "images"
TIMEOUT_S = 600


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which ones: {', '.join(BENCHMARKS)} (all of them if left out)")
    names = parser.parse_args().names or list(BENCHMARKS)
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    sections = [run(name, number, len(names)) for number, name in enumerate(names, start=1)]
    if len(names) < len(BENCHMARKS):
        print(f"{PAGE} is written by a run of all of them", file=sys.stderr)
        return
    PAGE.write_text(page(sections))
    print(f"written: {PAGE} and the plots in {IMAGES}", file=sys.stderr)


def run(name: str, number: int, count: int) -> str:
    """Run one benchmark; its section of the page. A benchmark that fails ends the run."""
    print(f"bench {number}/{count}: {name}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        subprocess.run([sys.executable, "-m", f"bench.{name}", "--json", str(output)], check=True, timeout=TIMEOUT_S)
        tables, series = load(output)
    return section(name, tables, series)


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


def page(sections: list[str]) -> str:
    system = f"{platform.system()} on {platform.machine()}, Python {platform.python_version()}"
    machine = f"{os.cpu_count()} cores, {system}, no GPU"
    head = (
        "# Benchmarks\n\n"
        f"Written by `make bench` on a small shared machine: {machine}. Such a machine is noisy: read the ratios, "
        "which compare with a baseline of the same run, before the figures. Everything runs over loopback.\n"
    )
    return "\n".join([head, *sections])


if __name__ == "__main__":
    main()
