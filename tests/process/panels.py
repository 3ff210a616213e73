"""Draws a dashboard as Grafana would lay it out, from the same page of the chart and the same queries."""

import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from tests.chart.monitoring import line_of

SHOWN_S: Final = 90.0
STEP_S: Final = 1.0
UNITS: Final = {"s": "seconds", "percentunit": "share", "Bps": "bytes a second", "reqps": "a second", "bytes": "bytes"}

Ask = Callable[..., Awaitable[Any]]
"""Of Prometheus: a path below /api/v1 and its parameters, to its data."""


async def draw(page: dict[str, Any], ask: Ask, image: Path) -> None:
    """Write the page's panels, two side by side, to `image`."""
    panels = page["panels"]
    rows = (len(panels) + 1) // 2
    figure, grid = plt.subplots(rows, 2, figsize=(14, 2.6 * rows), dpi=80, squeeze=False)
    places = list(grid.flat)
    for axes, panel in zip(places, panels, strict=False):
        await _draw_panel(axes, panel, ask)
    for axes in places[len(panels) :]:
        axes.set_visible(False)

    figure.suptitle(f"Genlock: {page['title']}", x=0.01, ha="left", fontsize=13)
    figure.tight_layout(rect=(0, 0, 1, 0.985))
    image.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(image)
    plt.close(figure)


async def _draw_panel(axes: Axes, panel: dict[str, Any], ask: Ask) -> None:
    now_s = time.time()
    drawn = 0
    axes.set_title(panel["title"], loc="left", fontsize=10)
    for query in panel["queries"]:
        found = await ask(
            "query_range",
            query=re.sub(r"\$\w+", ".*", query["expr"]),
            start=f"{now_s - SHOWN_S}",
            end=f"{now_s}",
            step=f"{STEP_S}",
        )
        for series in found["result"]:
            times = [float(at_s) - now_s for at_s, _ in series["values"]]
            values = [float(value) for _, value in series["values"]]
            drawn += 1
            axes.plot(times, values, linewidth=1.4, label=_legend(query["legend"], series["metric"]))

    if "alarm" in panel:
        axes.axhline(line_of(panel["alarm"]), color="#c03030", linewidth=0.8, linestyle="--")
    axes.set_xlim(-SHOWN_S, 0)
    axes.set_ylim(bottom=0, top=1.05 * panel["max"] if "max" in panel else None)
    axes.set_ylabel(UNITS.get(panel["unit"], ""), fontsize=8)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if drawn:
        axes.legend(fontsize=7, loc="best", frameon=False)
    else:
        axes.text(0.5, 0.5, "nothing", transform=axes.transAxes, ha="center", color="#888888")


def _legend(legend: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend)
