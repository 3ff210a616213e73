"""Time to first frame, as the gateway measures it, and where the time of a frame goes."""

import argparse
import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bench.result import Series, Table, percentile, save
from bench.running import APART, MOCK, SESSION, Workers, publisher, running, session_info
from genlock_cli.clients.whep import WhepViewer
from genlock_gateway.sessions.meters.first_frame import FirstFrameLeg

STARTS = 5
FRAMES = 64
PATIENCE_S = 30.0
WAYS = {"in the worker": MOCK, "out of process": APART}


@dataclass(slots=True)
class Starts:
    """First-frame times in milliseconds, each of a fresh Genlock; their legs; the last one's mean per stage."""

    times: list[float] = field(default_factory=list)
    legs: list[dict[str, float]] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    reports: list[dict[str, Any]] = field(default_factory=list)
    """The gateway's report of each start, some seconds after it."""


async def measure(workers: Workers = MOCK, starts: int = STARTS) -> Starts:
    """Start and publish so many times, under the eyes of a WHEP viewer."""
    found = Starts()
    for _ in range(starts):
        async with running(workers) as genlock, publisher(genlock):
            url = genlock.gateway_urls[0]
            async with httpx.AsyncClient(base_url=url) as http, WhepViewer(f"{url}/whep/{SESSION}") as viewer:
                await viewer.watch()
                for _frame in range(FRAMES):
                    await asyncio.wait_for(viewer.frames.get(), PATIENCE_S)
                stats = await _stats(http)
        found.times.append(float(stats["firstFrameMs"]))
        found.legs.append(stats["firstFrameLegsMs"])
        found.reports.append(stats)
        found.stages = {name: float(ms) for name, ms in stats["stages"].items()}
    return found


def legs_table(found: dict[str, list[dict[str, float]]]) -> Table:
    """Where the time goes, from the publisher's offer on; by the way of decoding."""
    rows = []
    for leg in FirstFrameLeg:
        values = [[one[leg] for one in legs] for legs in found.values()]
        cells = (f"{percentile(ms, 0.5):.0f} ms ({min(ms):.0f} to {max(ms):.0f})" for ms in values)
        rows.append((leg.value, *cells))
    return Table(
        title="Legs of the first frame",
        columns=("leg", *(f"p50 (best to worst), decoding {decoded}" for decoded in found)),
        rows=tuple(rows),
        note=(
            "As the gateway measures them (`genlock_first_frame_leg_seconds`). Before the time to first frame begins: "
            "the offer is answered, ICE and DTLS come up, Redis writes down who publishes, and the publisher's first "
            "picture comes (it encodes it then). From there on: a worker opens the session where it has not yet, the "
            f"first chunk is complete ({2 / 16 * 1000:.0f} ms of it the camera's own), the engine takes it and makes "
            "it, its first picture is due, and is encoded."
        ),
    )


def levels_table(found: dict[str, list[dict[str, Any]]]) -> Table:
    """The service levels in the words of those who serve generated video as a stream; by the way of decoding."""
    rows = []
    for decoded, reports in found.items():
        first = [one["timeToFirstChunkMs"] for one in reports]
        rows.append(
            (
                decoded,
                f"{min(one['continuousPlayRatio'] for one in reports):.2%}",
                f"{percentile(first, 0.5):.0f} ms ({min(first):.0f} to {max(first):.0f})",
                f"{percentile([one['realTimeFactor'] for one in reports], 0.5):.2f}",
                f"{percentile([one['pictureAgeMs']['p50'] for one in reports], 0.5):.0f} ms",
                f"{max(one['pictureAgeMs']['p95'] for one in reports):.0f} ms",
            )
        )
    return Table(
        title="Service levels in the field's words",
        columns=(
            "decoding",
            "continuous-play ratio, worst start",
            "time to first chunk, p50 (best to worst)",
            "real-time factor, p50",
            "age of the picture, p50",
            "p95, worst start",
        ),
        rows=tuple(rows),
        note=(
            f"The first {FRAMES / 16:.0f} seconds of each start, as the gateway measures them. The definitions, and "
            "where they differ from those of SlackServe (arXiv 2606.15319) and TurboServe (arXiv 2606.19271), stand in "
            "core/genlock_core/slo/continuity.py: the time to first chunk begins with the publisher's offer, a stall "
            "with a picture that is half a period late, and the real-time factor is the engine's seconds for a second "
            "of video. Their figures are of other models, sizes and GPUs, of text to video with a buffer before it."
        ),
    )


async def _stats(http: httpx.AsyncClient) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            stats = (await session_info(http)).get("stats") or {}
            if stats.get("firstFrameMs") and stats.get("stages") and stats.get("pictureAgeMs"):
                return dict(stats)
            await asyncio.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--starts", type=int, default=STARTS)
    options = parser.parse_args()
    gathering_ms = 5 / 16 * 1000
    rows = []
    found: dict[str, Starts] = {}
    for decoded, workers in WAYS.items():
        found[decoded] = asyncio.run(measure(workers, options.starts))
        times = found[decoded].times
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
    own, apart = (one.stages for one in found.values())
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
    legs = legs_table({decoded: one.legs for decoded, one in found.items()})
    levels = levels_table({decoded: one.reports for decoded, one in found.items()})
    print(table.markdown())
    print(levels.markdown())
    print(legs.markdown())
    print(budget.markdown())
    if options.json:
        bars = Series("Latency budget of a frame", tuple(own), tuple(own.values()), "ms")
        save(options.json, [table, levels, legs, budget], [bars])


if __name__ == "__main__":
    main()
