"""The operator against a real kube-apiserver, etcd and Redis: how soon sessions are Assigned, what ten thousand cost.

Beside it, in the same run, a kopf handler that does nothing but write a phase (`operator_bare`). Workers are only
heartbeats (`operator_workers`); the pool may have no pods, so that nothing but sessions is measured.
"""

import argparse
import asyncio
import contextlib
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bench.operator_processes import Child, Cost, child
from bench.operator_sessions import API, Sessions
from bench.result import Series, Table, percentile, save
from genlock_cli.redis_server import RedisProcess
from genlock_core import store
from genlock_core.claims.claims import Claims
from genlock_core.claims.record import PoolChoice, SessionRecord
from genlock_core.spec.session import SessionKey, StreamSessionSpec, resolve
from tests.api_server import ApiServer
from tests.kube_fixtures import apply, apply_crd, load_crds

NAMESPACE, POOL, MODEL, PRODUCT = "bench", "pool", "bench", "NVIDIA-H100"
SHARE = 500
"""Sessions that share a worker, by the profile that is made up for this."""
GATEWAY_CLIENTS = 40
START_PATIENCE_S, PATIENCE_S = 60.0, 180.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    per_second: float
    seconds: float
    flood: int
    sessions: int
    claims: int

    @property
    def paced(self) -> int:
        return round(self.per_second * self.seconds)

    @property
    def workers(self) -> int:
        return -(-(self.sessions + 2 * self.claims) // SHARE) + 2


@dataclass(slots=True)
class Measured:
    """What one of the two, the operator or the bare handler, was seen to do."""

    paced_ms: list[float] = field(default_factory=list)
    paced_cpu_ms: float = 0.0
    flood_ms: list[float] = field(default_factory=list)
    flood_s: float = 0.0
    small: Cost | None = None
    """Before the first session."""
    large: Cost | None = None
    """With all sessions."""
    listed_s: float = 0.0
    reconciled_s: float = 0.0
    new_s: float = 0.0
    idle_cpu_share: float = 0.0
    claims_per_s: dict[str, float] = field(default_factory=dict)


class Bench:
    """One run: everything that is there, and the phases in their order."""

    def __init__(
        self, size: Size, *, sessions: Sessions, environment: dict[str, str], redis: str, folder: Path
    ) -> None:
        self.size, self.sessions = size, sessions
        self._environment, self._redis, self._folder = environment, redis, folder
        self._began_s = time.monotonic()
        self._claims = Claims(store.connect(redis))

    def say(self, words: str) -> None:
        print(f"  {time.monotonic() - self._began_s:5.0f} s  {words}", file=sys.stderr, flush=True)

    # -- the processes ----------------------------------------------------------------------------------------------

    def operator(self) -> contextlib.AbstractAsyncContextManager[Child]:
        options = ("--redis", self._redis, "--kubeconfig", self._environment["KUBECONFIG"], "--namespaces", NAMESPACE)
        return self._child("genlock_operator.main", *options, "--identity", "bench", "--health", "127.0.0.1:0")

    def bare(self, *options: str) -> contextlib.AbstractAsyncContextManager[Child]:
        return self._child("bench.operator_bare", "--namespace", NAMESPACE, *options)

    def workers(self) -> contextlib.AbstractAsyncContextManager[Child]:
        pool = ("--pool", f"{NAMESPACE}/{POOL}", "--model", MODEL, "--product", PRODUCT)
        return self._child("bench.operator_workers", "--redis", self._redis, *pool, "--count", str(self.size.workers))

    def _child(self, module: str, *options: str) -> contextlib.AbstractAsyncContextManager[Child]:
        log = self._folder / f"{module.rpartition('.')[0]}-{module.rpartition('.')[2]}.log"
        return child(module, *options, log=log, environment=self._environment)

    # -- the phases ---------------------------------------------------------------------------------------------------

    async def run(self) -> tuple[Measured, Measured, int]:
        """The operator's figures, the bare handler's, and how many heartbeats came too late."""
        operator, bare = Measured(), Measured()
        async with self.workers() as workers, self.sessions.watching():
            await workers.line(patience_s=START_PATIENCE_S)
            self.say(f"{self.size.workers} fake workers; first the bare handler")
            async with self.bare() as process:
                await process.while_alive(self._sessions_come(process, "bare", bare))
            await self.sessions.delete_all()
            self.say("now the operator")
            async with self.operator() as process:
                await process.line(patience_s=START_PATIENCE_S)
                await process.while_alive(self._sessions_come(process, "op", operator))
                await process.while_alive(self._fill(process, operator))
                operator.claims_per_s["up"] = await self._claims_per_s("up")
            operator.claims_per_s["down"] = await self._claims_per_s("down")
            self.say(f"gateways claimed {operator.claims_per_s['down']:,.0f} sessions/s while it was down")
            await self._restart(operator)
            await self._bare_with_all(bare)
            late = int((await workers.ask()).split()[1])
        return operator, bare, late

    async def _sessions_come(self, process: Child, prefix: str, into: Measured) -> None:
        """At a pace, then in a flood."""
        await self.sessions.create(f"{prefix}-first")
        await self.sessions.until_assigned([f"{prefix}-first"], patience_s=START_PATIENCE_S)
        into.small = before = process.cost()
        paced = [f"{prefix}-paced-{number}" for number in range(self.size.paced)]
        await self.sessions.create_at(paced, per_second=self.size.per_second)
        await self.sessions.until_assigned(paced, patience_s=PATIENCE_S)
        into.paced_ms = self.sessions.latencies_ms(paced)
        into.paced_cpu_ms = (process.cost().cpu_s - before.cpu_s) * 1_000 / len(paced)
        p50, p99 = percentile(into.paced_ms, 0.5), percentile(into.paced_ms, 0.99)
        self.say(f"{len(paced)} at {self.size.per_second:g}/s: Assigned after {p50:.0f} ms, p99 {p99:.0f} ms")
        flood = [f"{prefix}-flood-{number}" for number in range(self.size.flood)]
        began_s = time.monotonic()
        await self.sessions.create_all(flood)
        into.flood_s = await self.sessions.until_assigned(flood, patience_s=PATIENCE_S) - began_s
        into.flood_ms = self.sessions.latencies_ms(flood)
        self.say(f"a flood of {len(flood)}: all Assigned after {into.flood_s:.1f} s")

    async def _fill(self, process: Child, into: Measured) -> None:
        """As many sessions as there shall be, and what the operator takes for them when nothing happens."""
        names = [f"op-fill-{number}" for number in range(self.size.sessions - self.size.paced - self.size.flood - 2)]
        await self.sessions.create_all(names)
        await self.sessions.until_assigned(names, patience_s=PATIENCE_S)
        await asyncio.sleep(IDLE_S)
        before = process.cost()
        await asyncio.sleep(IDLE_S)
        into.large = process.cost()
        into.idle_cpu_share = (into.large.cpu_s - before.cpu_s) / IDLE_S
        self.say(f"{self.size.sessions} sessions: {into.large.rss_mb:.0f} MB, {into.idle_cpu_share:.0%} of a core")

    async def _claims_per_s(self, prefix: str) -> float:
        """As gateways do: records that are there, each claimed once by one of many clients."""
        spec = resolve(SessionKey(namespace=NAMESPACE, name="gateways"), StreamSessionSpec.model_validate(SPEC))
        pools = (PoolChoice(f"{NAMESPACE}/{POOL}", 1_000 // SHARE),)
        names = [f"gw-{prefix}-{number}" for number in range(self.size.claims)]
        for name in names:
            key = SessionKey(namespace=NAMESPACE, name=name)
            await self._claims.create(SessionRecord(spec.model_copy(update={"key": key}), pools))
        await asyncio.gather(
            *(self._claims.record(name) for name in names[:GATEWAY_CLIENTS])
        )  # each has its connection
        left = iter(names)

        async def gateway() -> None:
            for name in left:
                await self._claims.claim(f"{NAMESPACE}/{name}")

        began_s = time.monotonic()
        await asyncio.gather(*(gateway() for _ in range(GATEWAY_CLIENTS)))
        return len(names) / (time.monotonic() - began_s)

    async def _restart(self, into: Measured) -> None:
        """One session is created while nobody is there; then the operator starts with all of them."""
        await self.sessions.create("op-new")
        began_s = time.monotonic()
        async with self.operator() as process:
            ready = await process.line(patience_s=START_PATIENCE_S)
            into.listed_s = time.monotonic() - began_s
            match = re.search(r"health=(\S+)", ready)
            assert match is not None, ready
            counting = asyncio.create_task(self._until_reconciled(f"http://{match[1]}"))
            assigned = self.sessions.until_assigned(["op-new"], patience_s=PATIENCE_S)
            into.new_s = await process.while_alive(assigned) - began_s
            into.reconciled_s = await counting - began_s
        self.say(f"restart: listed {into.listed_s:.1f} s, new one {into.new_s:.1f} s, all {into.reconciled_s:.1f} s")

    async def _until_reconciled(self, url: str) -> float:
        """When every session was looked at once, by the operator's own count."""
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http, asyncio.timeout(PATIENCE_S):
            while True:
                text = (await http.get("/metrics", timeout=30)).text
                settled = r'reconcile_seconds_count\{kind="StreamSession",result="(?:done|again)"\} (\S+)'
                counts = re.findall(settled, text)
                if sum(float(count) for count in counts) >= self.size.sessions:
                    return time.monotonic()
                await asyncio.sleep(0.2)

    async def _bare_with_all(self, into: Measured) -> None:
        """What kopf alone takes to list as many objects, and to keep nothing of them."""
        began_s = time.monotonic()
        async with self.bare("--count", str(self.size.sessions)) as process:
            await process.line(patience_s=PATIENCE_S)
            into.listed_s = into.reconciled_s = time.monotonic() - began_s
            await asyncio.sleep(IDLE_S)
            into.large = process.cost()
        self.say(f"the bare handler saw all after {into.listed_s:.1f} s, with {into.large.rss_mb:.0f} MB")


IDLE_S = 5.0
LAST_LINES = 40
SPEC: dict[str, Any] = {"model": MODEL, "prompt": "thick oil paint", "source": {"type": "webrtc"}}


def prepare(server: ApiServer) -> None:
    """The CRDs, the namespace, the pool without pods and the profile that lets `SHARE` sessions share a worker."""
    row = {"resolution": "832x480", "steps": 2, "gpuProduct": PRODUCT, "gpus": 1, "sessions": SHARE}
    row |= {"fpsPerSession": 16.0, "chunkLatencyMs": {"p50": 100.0, "p95": 120.0, "p99": 150.0}}
    row |= {"firstFrameMs": 300.0, "source": "made up for a benchmark"}
    pool = {"model": MODEL, "engine": "mock", "gpu": {"product": PRODUCT, "count": 1}, "replicas": 0, "max": 0}
    with server.client() as kube:
        for crd in load_crds():
            apply_crd(kube, crd)
        name = {"name": NAMESPACE}
        apply(kube, f"/api/v1/namespaces/{NAMESPACE}", {"apiVersion": "v1", "kind": "Namespace", "metadata": name})
        for kind, name_, spec in (("ModelProfile", MODEL, {"rows": [row]}), ("WorkerPool", POOL, pool)):
            path = f"{API}/namespaces/{NAMESPACE}/{kind.lower()}s/{name_}"
            manifest = {"apiVersion": "genlock.dev/v1alpha1", "kind": kind, "metadata": {"name": name_}, "spec": spec}
            apply(kube, path, manifest)


@contextlib.asynccontextmanager
async def bench(size: Size) -> AsyncIterator[Bench]:
    """API server, etcd and Redis, all of them new and gone afterwards."""
    with (
        tempfile.TemporaryDirectory() as text,
        RedisProcess(Path(text) / "redis") as redis,
        ApiServer(Path(text) / "kube") as server,
    ):
        prepare(server)
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
        async with httpx.AsyncClient(
            base_url=server.url,
            headers={"Authorization": f"Bearer {server.token}"},
            verify=str(server.ca),
            trust_env=False,
            timeout=60,
            limits=limits,
        ) as http:
            sessions = Sessions(http, namespace=NAMESPACE, spec=SPEC)
            environment = {"KUBECONFIG": str(server.kubeconfig)}
            try:
                yield Bench(size, sessions=sessions, environment=environment, redis=redis.url, folder=Path(text))
            except Exception:
                _show_logs(Path(text))
                raise


def _show_logs(folder: Path) -> None:
    """The last words of every process, before they are gone."""
    for log in sorted(folder.glob("*.log")):
        last = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        print(f"-- {log.stem}", *last, sep="\n", file=sys.stderr)


async def run(size: Size) -> tuple[Measured, Measured, int]:
    async with bench(size) as one:
        return await one.run()


def report(size: Size, operator: Measured, bare: Measured, late: int) -> tuple[Sequence[Table], Sequence[Series]]:
    both = (("bare kopf handler", bare), ("operator", operator))
    return (
        [_paced(size, both, late), _flood(size, both), _many(size, both), _claims(size, operator)],
        [
            Series(
                f"StreamSession created to Assigned at {size.per_second:g} per second, 99th percentile",
                tuple(name for name, _ in both),
                tuple(percentile(one.paced_ms, 0.99) for _, one in both),
                "ms",
            )
        ],
    )


Both = tuple[tuple[str, Measured], ...]


def _paced(size: Size, both: Both, late: int) -> Table:
    base = percentile(both[0][1].paced_ms, 0.5)
    return Table(
        title="Operator: created to Assigned",
        columns=("operator", "sessions", "p50 ms", "p99 ms", "worst ms", "p50 / bare", "CPU ms per session"),
        rows=tuple(
            (
                name,
                f"{len(one.paced_ms):,}",
                f"{percentile(one.paced_ms, 0.5):.1f}",
                f"{percentile(one.paced_ms, 0.99):.1f}",
                f"{max(one.paced_ms):.0f}",
                f"{percentile(one.paced_ms, 0.5) / base:.1f}",
                f"{one.paced_cpu_ms:.1f}",
            )
            for name, one in both
        ),
        note=(
            f"{size.per_second:g} StreamSessions a second for {size.seconds:g} s, from the request to create one to "
            "the first status that says Assigned, as a watch tells it. kube-apiserver, etcd (without fsync), Redis, "
            f"the operator, {size.workers} fake workers that send heartbeats, and the client that measures share the "
            "cores. The bare handler only writes a phase; the operator sizes the session, writes its record, claims a "
            "worker in Redis and writes status with conditions. The pool has no pods. "
            f"{late} heartbeats of the fake workers came late over the whole run."
        ),
    )


def _flood(size: Size, both: Both) -> Table:
    return Table(
        title=f"Operator: a flood of {size.flood:,}",
        columns=("operator", "all Assigned after s", "sessions/s", "p50 s", "p99 s"),
        rows=tuple(
            (
                name,
                f"{one.flood_s:.1f}",
                f"{len(one.flood_ms) / one.flood_s:.0f}",
                f"{percentile(one.flood_ms, 0.5) / 1_000:.2f}",
                f"{percentile(one.flood_ms, 0.99) / 1_000:.2f}",
            )
            for name, one in both
        ),
        note="Created as fast as the API server takes them from 16 clients, beside the operator on the same cores.",
    )


def _many(size: Size, both: Both) -> Table:
    def row(name: str, one: Measured) -> tuple[str, ...]:
        assert one.large is not None
        assert one.small is not None
        return (
            name,
            f"{one.small.rss_mb:.0f}",
            f"{one.large.rss_mb:.0f}",
            f"{one.large.peak_mb:.0f}",
            f"{one.idle_cpu_share:.0%}" if one.idle_cpu_share else "-",
            f"{one.listed_s:.1f}",
            f"{one.reconciled_s:.1f}",
            f"{one.new_s:.1f}" if one.new_s else "-",
        )

    return Table(
        title=f"Operator: {size.sessions:,} sessions",
        columns=(
            "operator", "MB without sessions", "MB with all", "MB at most", "of a core when idle", "restart: listed s",
            "all reconciled s", "new session Assigned s",
        ),
        rows=tuple(row(name, one) for name, one in both),
        note=(
            "Resident memory of the process (the bare handler's with all sessions is after a fresh start, when it "
            "has nothing to write). Restart: from the start of the process, imports included, with a session that was "
            "created while nobody was there; reconciled is when each was observed and planned once. The bare handler "
            "only sees each object go by."
        ),
    )  # fmt: skip


def _claims(size: Size, operator: Measured) -> Table:
    up = operator.claims_per_s["up"]
    return Table(
        title="Claims by gateways while the operator is down",
        columns=("operator", "claims/s", "against up"),
        rows=tuple((name, f"{rate:,.0f}", f"{rate / up:.2f}") for name, rate in operator.claims_per_s.items()),
        note=(
            f"{size.claims:,} sessions with records, claimed by {GATEWAY_CLIENTS} clients of one process, which sets "
            f"the pace, while {size.sessions:,} others are renewed: no operator is asked, so none is missed."
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.operator", description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    parser.add_argument("--per-second", type=float, default=40.0, help="sessions created a second, at a pace")
    parser.add_argument("--seconds", type=float, default=30.0, help="for how long")
    parser.add_argument("--flood", type=int, default=2_000, help="sessions created at once")
    parser.add_argument("--sessions", type=int, default=10_000, help="sessions in the end")
    parser.add_argument("--claims", type=int, default=1_000, help="claims by gateways, with and without the operator")
    options = parser.parse_args()
    size = Size(options.per_second, options.seconds, options.flood, options.sessions, options.claims)
    if size.sessions < size.paced + size.flood + 2:
        parser.error("--sessions must be more than those at a pace and in the flood")
    tables, series = report(size, *asyncio.run(run(size)))
    for table in tables:
        print(table.markdown())
    if options.json:
        save(options.json, tables, series)


if __name__ == "__main__":
    main()
