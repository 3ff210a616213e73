"""Dashboards, rules and runbooks speak of what there is, and of each other."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from genlock_operator.autoscale.recommend import ScaleReason
from tests.chart.monitoring import (
    DASHBOARDS,
    RULES,
    SCRAPED,
    Selector,
    expressions,
    queries,
    read,
    recorded,
    rules,
    selectors,
    series,
)
from tests.chart.rendering import ROOT, one, render
from tests.prometheus import program

RUNBOOKS = ROOT / "docs/runbooks"
HEADINGS = ["What it means", "What viewers notice", "Where to look", "What to do"]
BOUNDS = {"genlock:stall_budget:ratio", "genlock:miss_budget:ratio"}
ALERTS = [rule["alert"] for rule in rules("alerts")]


def mistakes_in(expression: str) -> list[str]:
    """Metrics that there are none of, and labels that a metric does not have."""
    known = series()
    found = []
    for metric, labels in selectors(expression):
        if metric not in known:
            found.append(metric)
        elif labels - known[metric] - SCRAPED:
            found.append(f"{metric} has no {', '.join(sorted(labels - known[metric] - SCRAPED))}")
    return found


@pytest.mark.parametrize(("name", "expression"), expressions(), ids=[name for name, _ in expressions()])
def test_it_asks_for_series_that_there_are(name: str, expression: str) -> None:
    assert mistakes_in(expression) == []
    assert recorded(expression) <= BOUNDS | {rule["record"] for rule in rules("recording")}, name


@pytest.mark.parametrize(
    "expression",
    [
        "sum(genlock_no_such_thing)",
        "genlock_freezes",
        'genlock_freezes_total{pool="x"}',
        "genlock_recovery_gap_seconds",
    ],
)
def test_what_there_is_not_is_found(expression: str) -> None:
    assert mistakes_in(expression) != []


def test_selectors_are_read_with_their_labels_and_recorded_series_apart() -> None:
    expression = 'a:genlock_b:c / sum by (pod) (rate(genlock_d_total{e=~"f|g", h!="i"}[5m]))'
    assert list(selectors(expression)) == [Selector("genlock_d_total", frozenset({"e", "h"}))]
    assert recorded(expression) == {"a:genlock_b:c"}


def test_what_is_recorded_is_asked_for() -> None:
    asked = set().union(*(recorded(expression) for _, expression in expressions()))
    assert {rule["record"] for rule in rules("recording")} | BOUNDS == asked


def test_metrics_that_the_document_has_are_the_ones_that_are_asked_for() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    asked = {metric for _, expression in expressions() for metric, _ in selectors(expression)}
    bare = {re.sub(r"_(bucket|sum|count)$", "", metric) for metric in asked}
    assert bare <= documented


def test_alerts_on_the_size_of_pools_name_reasons_that_there_are() -> None:
    reasons = [
        reason
        for rule in rules("alerts")
        for choice in re.findall(r"genlock_operator_autoscale_reason\{reason=~?\"([^\"]+)\"\}", rule["expr"])
        for reason in choice.split("|")
    ]
    assert reasons
    assert set(reasons) <= {reason.value for reason in ScaleReason}


# -- runbooks ----------------------------------------------------------------------------------------------------------


def test_every_alert_has_a_runbook_and_every_runbook_its_alert() -> None:
    pages = {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == set(ALERTS)
    assert len(ALERTS) == len(set(ALERTS))


@pytest.mark.parametrize("alert", ALERTS)
def test_a_runbook_says_what_it_means_who_notices_where_to_look_and_what_to_do(alert: str) -> None:
    page = (RUNBOOKS / f"{alert}.md").read_text()
    assert page.startswith(f"# {alert}\n")
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == HEADINGS
    assert all(part.strip() for part in re.split(r"^## .*$", page, flags=re.MULTILINE))
    assert f"]({alert}.md)" in (RUNBOOKS / "README.md").read_text()


def test_runbooks_name_metrics_and_panels_that_there_are() -> None:
    known = series() | {re.sub(r"_(bucket|sum|count)$", "", name): labels for name, labels in series().items()}
    titles = {title.partition(": ")[2] for title, _ in queries()}
    for page in RUNBOOKS.glob("*.md"):
        text = page.read_text()
        assert set(re.findall(r"\bgenlock_[a-z_]+", text)) <= set(known), page.name
        assert set(re.findall(r"\"([A-Z][^\"]*\?)\"", text)) <= titles, page.name


def test_an_alert_says_what_it_is_about_and_how_bad_it_is() -> None:
    for rule in rules("alerts"):
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}


# -- dashboards --------------------------------------------------------------------------------------------------------


def test_there_is_a_dashboard_for_each_thing_that_people_look_at() -> None:
    assert [path.stem for path in DASHBOARDS] == ["gateway", "installation", "operator", "pool", "session", "worker"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_each_panel_answers_the_question_in_its_title(path: Path) -> None:
    page = read(path)
    titles = [panel["title"] for panel in page["panels"]]
    assert all(title.endswith("?") for title in titles)
    assert len(titles) == len(set(titles))
    for panel in page["panels"]:
        assert set(panel) <= {"title", "description", "unit", "max", "alarm", "below", "wide", "queries"}
        assert all(set(query) == {"expr", "legend"} for query in panel["queries"])
    for choice in page["choices"]:
        assert mistakes_in(choice["values"]) == []


def test_grafana_finds_the_dashboards_by_their_label_and_can_read_them() -> None:
    manifests = render("dashboards.enabled=true", 'dashboards.annotations={"grafana_folder":"Genlock"}')
    for path in DASHBOARDS:
        config = one(manifests, "ConfigMap", f"genlock-dashboard-{path.stem}")
        assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert config["metadata"]["annotations"] == {"grafana_folder": "Genlock"}
        board = json.loads(config["data"][f"genlock-{path.stem}.json"])
        page = read(path)

        assert board["uid"] == f"genlock-{path.stem}"
        assert [panel["title"] for panel in board["panels"]] == [panel["title"] for panel in page["panels"]]
        asked = [[target["expr"] for target in panel["targets"]] for panel in board["panels"]]
        assert asked == [[query["expr"] for query in panel["queries"]] for panel in page["panels"]]
        variables = {each["name"] for each in board["templating"]["list"]}
        assert set(re.findall(r"\$\{?(\w+)", json.dumps(board["panels"]))) <= variables
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        assert not overlapping([panel["gridPos"] for panel in board["panels"]])


def overlapping(places: list[dict[str, int]]) -> list[tuple[int, int]]:
    """Places of a grid that two panels want."""
    taken = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    return sorted({place for place in taken if taken.count(place) > 1})


def test_nothing_is_there_unless_it_is_asked_for() -> None:
    kinds = {manifest["kind"] for manifest in render()}
    assert not kinds & {"PodMonitor", "ServiceMonitor", "PrometheusRule"}
    assert not [each for each in render() if "dashboard" in each["metadata"]["name"]]


def test_an_alert_links_its_runbook_where_the_values_say_where_they_are() -> None:
    wiki = "https://wiki.example.org/genlock"
    for values, link in (((), None), ((f"alerts.runbooks={wiki}/",), wiki)):
        rule = one(render("alerts.enabled=true", *values), "PrometheusRule", "genlock")
        alerts = [each for group in rule["spec"]["groups"] for each in group["rules"] if "alert" in each]
        told = {each["alert"]: each["annotations"] for each in alerts}
        assert set(told) == set(ALERTS)
        for alert, annotations in told.items():
            assert annotations.get("runbook_url") == (link and f"{link}/{alert}.md")


def test_the_budgets_are_the_values() -> None:
    rule = one(render("alerts.enabled=true", "alerts.stallBudget=0.02"), "PrometheusRule", "genlock")
    bounds = {each["record"]: each["expr"] for each in rule["spec"]["groups"][0]["rules"]}
    assert bounds == {"genlock:stall_budget:ratio": "vector(0.02)", "genlock:miss_budget:ratio": "vector(0.01)"}


@pytest.mark.parametrize(("values", "line"), [((), 0.995), (("alerts.stallBudget=0.02",), 0.98)])
def test_the_line_of_continuous_play_is_what_the_budget_of_stalls_leaves(values: tuple[str, ...], line: float) -> None:
    found = one(render("dashboards.enabled=true", *values), "ConfigMap", "genlock-dashboard-installation")
    (panel, *_) = json.loads(found["data"]["genlock-installation.json"])["panels"]
    assert "there when due" in panel["title"]
    assert [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]] == [None, line]


def test_a_service_monitor_finds_the_pods_that_a_pod_monitor_finds() -> None:
    manifests = render("podMonitor.enabled=true", "serviceMonitor.enabled=true")
    for part in ("operator", "gateway", "worker"):
        pods = one(manifests, "PodMonitor", f"genlock-{part}")["spec"]["selector"]["matchLabels"]
        service = one(manifests, "Service", f"genlock-{part}-metrics")
        assert (service["spec"]["selector"], service["spec"]["clusterIP"]) == (pods, "None")
        wanted = one(manifests, "ServiceMonitor", f"genlock-{part}")["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= service["metadata"]["labels"].items()


# -- promtool ----------------------------------------------------------------------------------------------------------


def refusal_of(*paths: Path) -> str:
    """What promtool has against the rules; empty if nothing."""
    command = [program("promtool"), "check", "rules", *map(str, paths)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    return checked.stdout + checked.stderr if checked.returncode else ""


def written(path: Path, told: list[dict[str, str]]) -> Path:
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": told}]}))
    return path


def test_prometheus_can_read_the_rules(tmp_path: Path) -> None:
    assert refusal_of(*RULES.values()) == ""
    assert refusal_of(written(tmp_path / "broken.yaml", [{"record": "a", "expr": "sum(("}])) != ""


def test_prometheus_can_read_what_the_panels_ask(tmp_path: Path) -> None:
    """As rules, since promtool reads no dashboards; with everything chosen at the top of the page."""
    asked = [re.sub(r"\$\w+", ".*", expression) for _, expression in queries()]
    told = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(asked)]
    assert refusal_of(written(tmp_path / "panels.yaml", told)) == ""
