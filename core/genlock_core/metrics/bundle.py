"""How a metric is defined: once, with its name, meaning and labels, in the bundle of who measures it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
FRAME_BUCKETS_S = (0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
FIRST_FRAME_BUCKETS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
GAP_BUCKETS_S = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
ROW_BUCKETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
BYTE_BUCKETS = (16e3, 64e3, 256e3, 1e6, 2e6, 4e6, 8e6, 16e6, 32e6)
ASSIGN_BUCKETS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
STARTUP_BUCKETS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
DRAIN_BUCKETS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0)


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric: its name (a counter's without the `_total` that Prometheus shows), meaning and labels."""

    name: str
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] | None


def about(name: str, meaning: str, *labels: str, buckets: tuple[float, ...] | None = None) -> Definition:
    """A definition, written where the bundle declares the metric."""
    return Definition(name, meaning, labels, buckets)


class Bundle:
    """Builds every metric that a subclass declares as `name: Annotated[kind, about(...)]`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        for attribute, kind, definition in self.definitions():
            options: dict[str, Any] = {} if definition.buckets is None else {"buckets": definition.buckets}
            metric = kind(definition.name, definition.help, definition.labels, registry=registry, **options)
            setattr(self, attribute, metric)

    @classmethod
    def definitions(cls) -> Iterator[tuple[str, type[MetricWrapperBase], Definition]]:
        """Every metric: the attribute, the kind and the definition, in the order in which they are written."""
        for attribute, hint in get_type_hints(cls, include_extras=True).items():
            kind, definition = get_args(hint)
            yield attribute, kind, definition

    def drop_session(self, session: str) -> None:
        """Take away every series of a session (`namespace/name`) that this process serves no more."""
        self._drop("session", session)

    def _drop(self, label: str, value: str) -> None:
        for attribute, _, definition in self.definitions():
            if label in definition.labels:
                getattr(self, attribute).remove_by_labels({label: value})
