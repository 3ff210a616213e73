"""What the chart gives to Prometheus and Grafana, read from its files without helm, for the tests beside this file."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from genlock_core.metrics import GatewayMetrics, OperatorMetrics, WorkerMetrics
from genlock_core.metrics.levelling import LevellingMetrics
from tests.chart.rendering import CHART

MONITORING = CHART / "monitoring"
RULES = {name: MONITORING / f"{name}.yaml" for name in ("recording", "alerts")}
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.yaml"))

SCRAPED = frozenset({"pod", "namespace", "genlock_dev_pool", "job", "instance"})
"""Labels that Prometheus adds to what it scrapes."""


class Selector(NamedTuple):
    """A metric in an expression, with the labels that it is chosen by."""

    metric: str
    labels: frozenset[str]


def read(path: Any) -> dict[str, Any]:
    return dict(yaml.load(path.read_text(), Loader=yaml.CSafeLoader))


def line_of(alarm: float | dict[str, str]) -> float:
    """Where a panel's line stands, with the chart's own values."""
    if isinstance(alarm, dict):
        return round(1 - float(read(CHART / "values.yaml")["alerts"][alarm["oneMinus"]]), 9)
    return float(alarm)


def rules(kind: str) -> Iterator[dict[str, Any]]:
    """The rules of `recording` or `alerts`."""
    for group in read(RULES[kind])["groups"]:
        yield from group["rules"]


def queries() -> Iterator[tuple[str, str]]:
    """Every expression of a panel, with the page and the title of the panel."""
    for path in DASHBOARDS:
        for panel in read(path)["panels"]:
            for query in panel["queries"]:
                yield f"{path.stem}: {panel['title']}", query["expr"]


def expressions() -> list[tuple[str, str]]:
    """Every expression of rules and panels, with a name for messages."""
    told = [(rule.get("record") or rule["alert"], rule["expr"]) for kind in RULES for rule in rules(kind)]
    return told + list(queries())


def selectors(expression: str) -> Iterator[Selector]:
    """Our metrics that an expression asks for. Names of recorded series (with a colon) are not among them."""
    for name, choice in re.findall(r"(?<![\w:])(genlock_[a-z_]+)(?![\w:])(\{[^}]*\})?", expression):
        if name != "genlock_dev_pool":
            yield Selector(name, frozenset(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)\s*\"", choice)))


def recorded(expression: str) -> set[str]:
    """The recorded series that an expression asks for."""
    return set(re.findall(r"\b[a-z]+:genlock_\w+:\w+|\bgenlock:\w+:\w+", expression))


def series() -> dict[str, frozenset[str]]:
    """Every series that Genlock's processes have, as Prometheus sees them, with its labels."""
    found = {}
    for bundle in (GatewayMetrics, WorkerMetrics, OperatorMetrics, LevellingMetrics):
        for _, kind, definition in bundle.definitions():
            labels = frozenset(definition.labels)
            match kind.__name__:
                case "Counter":
                    found[f"{definition.name}_total"] = labels
                case "Histogram":
                    found |= {f"{definition.name}_{part}": labels for part in ("sum", "count")}
                    found[f"{definition.name}_bucket"] = labels | {"le"}
                case _:
                    found[definition.name] = labels
    return found
