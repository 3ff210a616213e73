"""`docs/metrics.md`, made from the definitions."""

from prometheus_client import Counter

from genlock_core.metrics.gateway import GatewayMetrics
from genlock_core.metrics.levelling import LevellingMetrics
from genlock_core.metrics.operator import OperatorMetrics
from genlock_core.metrics.worker import WorkerMetrics

_BUNDLES = (
    ("Gateway", GatewayMetrics),
    ("Worker", WorkerMetrics),
    ("Operator", OperatorMetrics),
    ("Levels, at whoever decides: the operator or a gateway", LevellingMetrics),
)


def document() -> str:
    """`docs/metrics.md`."""
    lines = [
        "# Metrics",
        "",
        "Made by `python -m genlock_core.metrics > docs/metrics.md`; a test keeps it true. Names carry their unit; a",
        "histogram also has `_bucket`, `_sum` and `_count`. The label `session` is `namespace/name` of a session that",
        "the process serves right now; its series go when the session leaves. `pool` is `namespace/name` of a pool",
        "that exists; its series go with it, those of a gateway with its process. Other labels have few, fixed values.",
    ]
    for title, bundle in _BUNDLES:
        lines += ["", f"## {title}", "", "| name | kind | labels | meaning |", "|---|---|---|---|"]
        for _, kind, definition in bundle.definitions():
            name = f"{definition.name}_total" if kind is Counter else definition.name
            labels = ", ".join(f"`{label}`" for label in definition.labels) or "-"
            lines.append(f"| `{name}` | {kind.__name__.lower()} | {labels} | {definition.help} |")
    return "\n".join(lines) + "\n"
