"""A real Prometheus scrapes a real Genlock: it reads the chart's rules, and the panels' queries get answers.

It takes a minute and a half, so `make nightly` runs it (GENLOCK_PROMETHEUS=1). With GENLOCK_PANELS=FOLDER it also draws
the dashboards from what it was told, for a person to look at.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from genlock_cli.up.ports import choose_ports
from tests.chart.monitoring import DASHBOARDS, RULES, queries, read, rules
from tests.process.eyes import Eyes, publishing
from tests.process.local import MOCK, Local, eventually, local_genlock
from tests.process.panels import draw
from tests.prometheus import program

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(300),
    pytest.mark.skipif("GENLOCK_PROMETHEUS" not in os.environ, reason="a minute and a half: make nightly"),
]

WATCHED_FRAMES: Final = 40 * 16
BUDGETS: Final = {"genlock:stall_budget:ratio": "vector(0.005)", "genlock:miss_budget:ratio": "vector(0.01)"}
OF_THE_OPERATOR: Final = "genlock_operator_"
"""There is none here: what asks for its metrics gets no answer."""
SELDOM: Final = (
    *("moves", "recovery", "blocked", "overloaded", "dropped", "requests", "unusable", "snapshot", "restore", "claim"),
    *("level_change", "level_settle", "engine_memory"),
)
"""What counts events of which none need happen in a minute; and what the mock engine does not say."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus that runs, by its API."""

    http: httpx.AsyncClient

    async def ask(self, path: str, **parameters: str) -> Any:
        response = await self.http.get(f"/api/v1/{path}", params=parameters)
        told = response.json()
        assert told["status"] == "success", told
        return told["data"]

    async def values(self, expression: str) -> list[float]:
        """What an expression is now, one value for each series; those that are no number are left out."""
        found = await self.ask("query", query=expression)
        return [float(each["value"][1]) for each in found["result"] if each["value"][1] != "NaN"]


@asynccontextmanager
async def prometheus(local: Local, folder: Path, *, worker_port: int) -> AsyncIterator[Prometheus]:
    """One that scrapes the gateway and the worker each second, with the labels that the chart's PodMonitors give."""
    port = choose_ports("127.0.0.1", 1, media=[])
    targets = {
        "gateway": (urlsplit(local.urls[0]).netloc, {"pod": "g0", "namespace": "live"}),
        "worker": (f"127.0.0.1:{worker_port}", {"pod": "w0", "namespace": "live", "genlock_dev_pool": "h100"}),
    }
    bounds = [{"record": name, "expr": expression} for name, expression in BUDGETS.items()]
    (folder / "bounds.yaml").write_text(yaml.safe_dump({"groups": [{"name": "genlock-bounds", "rules": bounds}]}))
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "bounds.yaml"), *map(str, RULES.values())],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [address], "labels": labels}]}
            for job, (address, labels) in targets.items()
        ],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    process = await asyncio.create_subprocess_exec(
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10.0) as http:

            async def is_ready() -> bool:
                try:
                    return (await http.get("/-/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(is_ready, what="Prometheus is ready")
            yield Prometheus(http)
    finally:
        process.terminate()
        await process.wait()


def needs_answer(expression: str) -> bool:
    """Whether a minute of one stream that is well has an answer to it."""
    return OF_THE_OPERATOR not in expression and not any(word in expression for word in SELDOM)


async def test_a_real_prometheus_reads_the_rules_and_answers_what_the_panels_ask(tmp_path: Path) -> None:
    worker_port = choose_ports("127.0.0.1", 1, media=[])
    kind = replace(MOCK, arguments=("--metrics-port", str(worker_port)))
    async with (
        local_genlock(tmp_path, kind=kind, workers=1) as local,
        prometheus(local, tmp_path, worker_port=worker_port) as asked,
        Eyes(f"{local.urls[0]}/whep/default/demo") as eyes,
    ):
        # The first event of a series that Prometheus has not seen yet would not count for it.
        async with publishing(local.urls[0]):
            await eyes.more(64)
        async with publishing(local.urls[0]):
            while len(eyes.seen) < WATCHED_FRAMES:
                await eyes.more(64)
            await check(asked, (await local.session())["stats"])

            if folder := os.environ.get("GENLOCK_PANELS"):
                for path in DASHBOARDS:
                    await draw(read(path), asked.ask, Path(folder) / f"dashboard-{path.stem}.png")


async def check(asked: Prometheus, report: dict[str, Any]) -> None:
    """What Prometheus has, beside what the session's own report says."""
    assert await asked.values("up") == [1.0, 1.0]
    told = [rule for group in (await asked.ask("rules"))["groups"] for rule in group["rules"]]
    assert [(rule["name"], rule.get("lastError")) for rule in told if rule["health"] != "ok"] == []

    (played,) = await asked.values("installation:genlock_continuous_play:ratio_rate5m")
    assert played == pytest.approx(report["continuousPlayRatio"], abs=0.05)
    (factor,) = await asked.values("installation:genlock_real_time_factor:ratio_rate5m")
    assert factor == pytest.approx(report["realTimeFactor"], rel=0.5)
    (age_s,) = await asked.values("installation:genlock_picture_age_seconds:p50_rate5m")
    assert 0 < age_s < 2 * report["pictureAgeMs"]["p95"] / 1000

    for rule in rules("recording"):
        assert await asked.values(rule["record"]), rule["record"]
    unanswered = []
    for title, expression in queries():
        found = await asked.values(re.sub(r"\$\w+", ".*", expression))
        if not found and needs_answer(expression):
            unanswered.append(f"{title}: {expression}")
    assert unanswered == []
