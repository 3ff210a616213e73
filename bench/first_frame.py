"""Time to first frame, as the gateway measures it, and where the time of a frame goes."""

import argparse
import asyncio
from pathlib import Path
from typing import Any

import httpx

from bench.result import Series, Table, percentile, save
from bench.running import APART, MOCK, SESSION, Workers, publisher, running, session_info
from genlock_cli.clients.whep import WhepViewer

STARTS = 5
FRAMES = 64
PATIENCE_S = 30.0
WAYS = {"in the worker": MOCK, "out of process": APART}


async def measure(workers: Workers = MOCK, starts: int = STARTS) -> tuple[list[float], dict[str, float]]:
    """First-frame times in milliseconds, each of a fresh Genlock, and the last one's mean milliseconds per stage."""
    times: list[float] = []
    stages: dict[str, float] = {}
    for _ in range(starts):
        async with running(workers) as genlock, publisher(genlock):
            url = genlock.gateway_urls[0]
            async with httpx.AsyncClient(base_url=url) as http, WhepViewer(f"{url}/whep/{SESSION}") as viewer:
                await viewer.watch()
                for _frame in range(FRAMES):
                    await asyncio.wait_for(viewer.frames.get(), PATIENCE_S)
                stats = await _stats(http)
        times.append(float(stats["firstFrameMs"]))
        stages = {name: float(ms) for name, ms in stats["stages"].items()}
    return times, stages


async def _stats(http: httpx.AsyncClient) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            stats = (await session_info(http)).get("stats") or {}
            if stats.get("firstFrameMs") and stats.get("stages"):
                return dict(stats)
            await asyncio.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--starts", type=int, default=STARTS)
    options = parser.parse_args()
    gathering_ms = 5 / 16 * 1000
    rows = []
    stages: dict[str, dict[str, float]] = {}
    for decoded, workers in WAYS.items():
        times, stages[decoded] = asyncio.run(measure(workers, options.starts))
        median = percentile(times, 0.5)
        rows.append(
            (
                decoded,
                str(len(times)),
                f"{min(times):.0f} ms",
                f"{median:.0f} ms",
                f"{max(times):.0f} ms",
                f"{median / gathering_ms:.2f}x",
            )
        )
    own, apart = stages.values()
    table = Table(
        title="Time to first frame",
        columns=("decoding", "starts", "best", "p50", "worst", "p50 / the time in which 5 frames come in"),
        rows=tuple(rows),
        note=(
            "The publisher's first frame in to the first generated frame out, balanced mode (2 steps, 832x480, 16 "
            "frames per second), mock engine with the timing of four H100s, everything started afresh each time. The "
            f"first chunk begins two frame periods after the first frame, so {2 / 16 * 1000:.0f} ms of it is the "
            "camera's own time."
        ),
    )
    budget = Table(
        title="Where a frame spends its time",
        columns=("stage", *(f"mean, decoding {decoded}" for decoded in WAYS)),
        rows=tuple((name, f"{ms:.1f} ms", f"{apart[name]:.1f} ms") for name, ms in own.items()),
        note="Mean over the last frames of the last start, first frame of a chunk to last.",
    )
    print(table.markdown())
    print(budget.markdown())
    if options.json:
        bars = Series("Latency budget of a frame", tuple(own), tuple(own.values()), "ms")
        save(options.json, [table, budget], [bars])


if __name__ == "__main__":
    main()
