import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from genlock_core.metrics import GatewayMetrics, OperatorMetrics, WorkerMetrics, document
from genlock_core.metrics.bundle import Bundle
from genlock_core.metrics.levelling import LevellingMetrics

BUNDLES = (GatewayMetrics, WorkerMetrics, OperatorMetrics, LevellingMetrics)


def test_the_committed_document_is_the_one_that_the_definitions_make() -> None:
    assert (Path(__file__).parents[3] / "docs/metrics.md").read_text() == document()


def test_the_module_prints_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_module("genlock_core.metrics", run_name="__main__")
    assert capsys.readouterr().out == document()


def test_every_metric_has_its_own_name_a_meaning_and_few_labels() -> None:
    names = []
    for bundle in BUNDLES:
        for _, kind, definition in bundle.definitions():
            names.append(definition.name)
            assert re.fullmatch(r"genlock_[a-z0-9_]+", definition.name)
            assert definition.help
            assert len(definition.labels) <= 3
            assert (definition.buckets is not None) == (kind is Histogram)
            if kind is Histogram:
                assert re.search(r"_(seconds|bytes|rows)$", definition.name)
            if kind is Counter:
                assert not definition.name.endswith("_total")
    assert len(names) == len(set(names))


def test_two_bundles_of_a_kind_live_in_one_process() -> None:
    first, second = GatewayMetrics(CollectorRegistry()), GatewayMetrics(CollectorRegistry())
    first.publishers.set(3)
    assert b"genlock_gateway_publishers 3.0" in generate_latest(first.registry)
    assert b"genlock_gateway_publishers 0.0" in generate_latest(second.registry)


@pytest.mark.parametrize(
    ("bundle", "label", "drop"),
    [
        (GatewayMetrics, "session", GatewayMetrics.drop_session),
        (WorkerMetrics, "session", WorkerMetrics.drop_session),
        (OperatorMetrics, "pool", OperatorMetrics.drop_pool),
    ],
)
def test_a_session_or_pool_that_is_gone_leaves_no_series(
    bundle: type[Bundle], label: str, drop: Callable[[Bundle, str], None]
) -> None:
    metrics = bundle(CollectorRegistry())
    touched = 0
    for attribute, _, definition in bundle.definitions():
        if label in definition.labels:
            touched += 1
            for value in ("default/a", "default/b"):
                labels = {name: value if name == label else "x" for name in definition.labels}
                touch(getattr(metrics, attribute).labels(**labels))
    assert touched
    assert b"default/a" in generate_latest(metrics.registry)
    drop(metrics, "default/a")
    drop(metrics, "default/unknown")
    text = generate_latest(metrics.registry)
    assert b"default/a" not in text
    assert b"default/b" in text


def touch(metric: Gauge | Counter | Histogram) -> None:
    match metric:
        case Gauge():
            metric.set(1)
        case Counter():
            metric.inc()
        case Histogram():
            metric.observe(1)


def test_the_operator_has_no_series_per_session() -> None:
    """There are thousands of them."""
    assert not any("session" in definition.labels for _, _, definition in OperatorMetrics.definitions())


@pytest.mark.parametrize(
    ("bundle", "part"), [(GatewayMetrics, "gateway"), (WorkerMetrics, "worker"), (OperatorMetrics, "operator")]
)
def test_every_metric_is_measured(bundle: type[Bundle], part: str) -> None:
    root = Path(__file__).parents[3] / part
    text = "".join(source.read_text() for source in root.rglob("*.py"))
    measured = set(re.findall(r"metrics\s*\.(\w+)", text))
    assert {attribute for attribute, _, _ in bundle.definitions()} - measured == set()


def test_every_metric_is_exposed_under_the_name_in_the_document() -> None:
    listed = set(re.findall(r"^\| `(genlock_\w+)` \|", document(), re.MULTILINE))
    exposed: set[str] = set()
    for bundle in BUNDLES:
        for family in bundle(CollectorRegistry()).registry.collect():
            exposed.add(f"{family.name}_total" if family.type == "counter" else family.name)
    assert listed == exposed
