"""What 1,000 hostile connections cost a live stream: its p99 latency with and without them, in pairs of runs.

One Genlock of real processes serves one session with a publisher and a viewer. The connections use at most a tenth of a
core: requests that never end, connections that stay open, links that say nothing, STUN that is nobody's. The bound is
max(5 ms, 10 %) for the median of the pairs' differences.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import httpx

from bench.preview import FRAME_RATE, FRAMES, p99_ms, until_live
from bench.result import Series, Table, save
from bench.running import SESSION, publisher, running, session_info
from genlock_cli.clients.whep import WhepViewer
from genlock_cli.up.local import LocalGenlock
from genlock_core.claims.claims import Claims
from genlock_core.store import connect

PAIRS = 5
BOUND_MS = 5.0
BOUND_SHARE = 0.1
NOBODY, STRANGERS = "alone", "beside strangers"
SETTLED_AFTER_S = 3.0
"""After the strangers have gone."""


@dataclass(frozen=True, slots=True)
class Pair:
    """p99 frame latency in milliseconds of two runs, one after the other."""

    without_ms: float
    with_ms: float

    @property
    def costs_ms(self) -> float:
        return self.with_ms - self.without_ms


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the median of the differences is within the bound. Pure."""

    costs_ms: float
    bound_ms: float

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> "Verdict":
        own_ms = median(pair.without_ms for pair in pairs)
        return cls(median(pair.costs_ms for pair in pairs), max(BOUND_MS, BOUND_SHARE * own_ms))

    @property
    def held(self) -> bool:
        return self.costs_ms <= self.bound_ms

    def __str__(self) -> str:
        return f"{'held' if self.held else 'missed'}: {self.costs_ms:+.1f} ms, at most {self.bound_ms:.1f} ms"


@dataclass(slots=True)
class Measured:
    """The pairs, and what the crowd said of itself after each run."""

    pairs: list[Pair] = field(default_factory=list)
    crowds: list[dict[str, float]] = field(default_factory=list)
    busy: dict[str, list[float]] = field(default_factory=dict)
    """What a run was beside -> shares of a core that the gateway used."""


async def doors(genlock: LocalGenlock) -> tuple[str, str, str]:
    """The addresses that strangers can reach: HTTP, the link of the worker that serves, and media."""
    words = genlock.children[0].plan.argv
    store = connect(words[words.index("--redis") + 1])
    try:
        workers = await Claims(store).workers()
    finally:
        await store.aclose()
    serving = next(worker for worker in workers if str(SESSION) in worker.sessions)
    http = urlsplit(genlock.gateway_urls[0]).netloc
    # Media has the same port number over UDP.
    return http, serving.address, http


@asynccontextmanager
async def crowd(genlock: LocalGenlock, measured: Measured) -> AsyncIterator[None]:
    """All strangers have come; what they did is in `measured` once they have gone."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.crowd", *await doors(genlock)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        await process.stdout.readline()
        yield
        process.stdin.close()
        measured.crowds.append(json.loads(await process.stdout.readline()))
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def measure(pairs: int) -> Measured:
    """Pairs of runs in one Genlock. Which of a pair comes first changes from pair to pair."""
    measured = Measured()
    async with running() as genlock, publisher(genlock):
        url = genlock.gateway_urls[0]
        async with httpx.AsyncClient(base_url=url) as http, WhepViewer(f"{url}/whep/{SESSION}") as viewer:
            await viewer.watch()
            await until_live(http)
            for number in range(pairs):
                if number % 2 == 0:
                    without_ms = await beside_nobody(genlock, http, measured)
                    with_ms = await beside_strangers(genlock, http, measured)
                else:
                    with_ms = await beside_strangers(genlock, http, measured)
                    without_ms = await beside_nobody(genlock, http, measured)
                measured.pairs.append(Pair(without_ms, with_ms))
                print(f"pair {number + 1}/{pairs}: {without_ms:.1f} ms without, {with_ms:.1f} ms with", file=sys.stderr)
            if (moves := (await session_info(http))["stats"]["moves"]) != 0:
                raise RuntimeError(f"the session moved {moves} times, though no worker was hurt")
    return measured


async def beside_nobody(genlock: LocalGenlock, http: httpx.AsyncClient, measured: Measured) -> float:
    """The p99 of one run without strangers."""
    with gateways_share(genlock, measured.busy.setdefault(NOBODY, [])):
        return await p99_ms(http)


async def beside_strangers(genlock: LocalGenlock, http: httpx.AsyncClient, measured: Measured) -> float:
    """The p99 of one run with them."""
    async with crowd(genlock, measured):
        with gateways_share(genlock, measured.busy.setdefault(STRANGERS, [])):
            found_ms = await p99_ms(http)
    await asyncio.sleep(SETTLED_AFTER_S)
    return found_ms


@contextmanager
def gateways_share(genlock: LocalGenlock, told: list[float]) -> Iterator[None]:
    """Adds what share of a core the gateway used during the block."""
    pid = next(child.pid for child in genlock.children if child.plan.role == "gateway")
    began_s, used_s = time.monotonic(), processor_s(pid)
    yield
    told.append((processor_s(pid) - used_s) / (time.monotonic() - began_s))


def processor_s(pid: int | None) -> float:
    """User and system time of a process, in seconds (proc(5), /proc/PID/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def tables_of(measured: Measured) -> list[Table]:
    pairs = measured.pairs
    crowds = measured.crowds
    kinds = [name for name in crowds[0] if name not in ("share", "refused")]
    opened = ", ".join(f"{sum(one[kind] for one in crowds) / len(crowds):.0f} {kind}" for kind in kinds)
    busy = ", ".join(f"{median(shares):.0%} {beside}" for beside, shares in measured.busy.items())
    return [
        Table(
            title="A live stream beside 1,000 strangers",
            columns=("pairs of runs", "p99 without, median", "p99 with, median", "difference, median", "verdict"),
            rows=(
                (
                    str(len(pairs)),
                    f"{median(pair.without_ms for pair in pairs):.1f} ms",
                    f"{median(pair.with_ms for pair in pairs):.1f} ms",
                    f"{median(pair.costs_ms for pair in pairs):+.1f} ms",
                    str(Verdict.of(pairs)),
                ),
            ),
            note=(
                f"99th percentile of the time from capture to hand-over to the viewers over {FRAMES} frames, 832x480, "
                f"{FRAME_RATE} frames per second, mock engine with the timing of four H100s, one publisher, one "
                "viewer, everything on one machine. The strangers used at most "
                f"{max(one['share'] for one in crowds):.0%} of a core; in each run they opened, those again that were "
                f"closed on them: {opened}. "
                f"The gateway used {busy} of a core. Pairs: {', '.join(f'{pair.costs_ms:+.1f} ms' for pair in pairs)}."
            ),
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    options = parser.parse_args()
    measured = asyncio.run(measure(options.pairs))
    tables = tables_of(measured)
    for table in tables:
        print(table.markdown())
    if options.json:
        labels = tuple(f"pair {number}" for number in range(1, len(measured.pairs) + 1))
        costs = Series(
            "p99 beside strangers - p99 without", labels, tuple(one.costs_ms for one in measured.pairs), "ms"
        )
        save(options.json, tables, [costs])


if __name__ == "__main__":
    main()
