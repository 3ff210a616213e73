"""What a preview costs the viewers: p99 frame latency with and without somebody who looks at the session, in pairs.

One Genlock of real processes serves one session with a publisher and a viewer at the gateway. Runs take turns: one in
which nobody looks, one in which somebody asks for the preview once a second, as the sessions page does. The gateway
measures each frame from its capture to its hand-over to the viewers.
"""

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.result import Series, Table, percentile, save
from bench.running import SESSION, publisher, running, session_info
from genlock_cli.clients.whep import WhepViewer
from genlock_core.subscriptions.preview import PREVIEW_RATE, PREVIEW_TTL_S

PAIRS = 10
FRAMES = 256
"""As many as the gateway's quantiles are taken over: a run has only frames of its own in them."""
FRAME_RATE = 16
PATIENCE_S = 60.0
COUNT = "genlock_frame_latency_seconds_count"
PREVIEW = f"/api/v1/sessions/{SESSION}/preview.jpg"


@dataclass(frozen=True, slots=True)
class Pair:
    """p99 frame latency in milliseconds of two runs, one after the other."""

    without_ms: float
    with_ms: float

    @property
    def ratio(self) -> float:
        return self.with_ms / self.without_ms


class Watcher:
    """Asks for the preview once a second while it is on; `pictures` counts what it got."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.pictures = 0

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._look())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _look(self) -> None:
        while True:
            response = await self._http.get(PREVIEW)
            self.pictures += response.status_code == 200
            await asyncio.sleep(1 / PREVIEW_RATE)


async def p99_ms(http: httpx.AsyncClient) -> float:
    """The p99 over the frames of one run; it lasts until so many have come, however busy the machine is."""
    begun = await frames_shown(http)
    async with asyncio.timeout(PATIENCE_S):
        while await frames_shown(http) < begun + FRAMES:
            await asyncio.sleep(0.5)
    return float((await session_info(http))["stats"]["latencyMs"]["p99"])


async def frames_shown(http: httpx.AsyncClient) -> float:
    """How many frames the gateway has measured so far."""
    text = (await http.get("/metrics")).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(COUNT))


async def until_live(http: httpx.AsyncClient) -> None:
    """Until the session is live and its start is over, which is no part of any run."""
    async with asyncio.timeout(PATIENCE_S):
        while (await session_info(http)).get("phase") != "Live":
            await asyncio.sleep(0.2)
    await p99_ms(http)


async def measure(pairs: int) -> list[Pair]:
    """Pairs of runs in one Genlock. Which of a pair comes first changes from pair to pair."""
    found: list[Pair] = []
    async with running() as genlock, publisher(genlock):
        url = genlock.gateway_urls[0]
        async with httpx.AsyncClient(base_url=url) as http, WhepViewer(f"{url}/whep/{SESSION}") as viewer:
            await viewer.watch()
            await until_live(http)
            watcher = Watcher(http)
            for number in range(pairs):
                if number % 2 == 0:
                    without_ms = await p99_ms(http)
                    with_ms = await watched_run(http, watcher)
                else:
                    with_ms = await watched_run(http, watcher)
                    await asyncio.sleep(PREVIEW_TTL_S + 1)  # the tap lives on for its time
                    without_ms = await p99_ms(http)
                found.append(Pair(without_ms, with_ms))
                print(f"pair {number + 1}/{pairs}: {without_ms:.1f} ms without, {with_ms:.1f} ms with", flush=True)
    return found


async def watched_run(http: httpx.AsyncClient, watcher: Watcher) -> float:
    """One run in which somebody looks. Raises RuntimeError if there was hardly anything to see."""
    before = watcher.pictures
    async with watcher.looking():
        measured_ms = await p99_ms(http)
    if watcher.pictures - before < FRAMES / FRAME_RATE / 2:
        raise RuntimeError(f"only {watcher.pictures - before} pictures came in one run")
    return measured_ms


def tables_of(pairs: list[Pair]) -> list[Table]:
    ratios = [pair.ratio for pair in pairs]
    without, with_ms = [pair.without_ms for pair in pairs], [pair.with_ms for pair in pairs]
    return [
        Table(
            title="What a preview costs the viewers",
            columns=(
                "pairs of runs",
                "p99 without, median",
                "p99 with, median",
                "ratio with / without, median",
                "best",
                "worst",
                "middle half",
            ),
            rows=(
                (
                    str(len(pairs)),
                    f"{percentile(without, 0.5):.0f} ms",
                    f"{percentile(with_ms, 0.5):.0f} ms",
                    f"{percentile(ratios, 0.5):.2f}",
                    f"{min(ratios):.2f}",
                    f"{max(ratios):.2f}",
                    f"{percentile(ratios, 0.25):.2f} to {percentile(ratios, 0.75):.2f}",
                ),
            ),
            note=(
                f"99th percentile of the time from capture to hand-over to the viewers over {FRAMES} frames, 832x480, "
                f"{FRAME_RATE} frames per second, mock engine with the timing of four H100s, one publisher and one "
                "viewer, everything on one machine. A pair is a run in which nobody looks and one in which somebody "
                "asks for the preview once a second, one after the other, each first in every other pair. A ratio of "
                "1 would be a preview that costs nothing; how far the ratios spread says how much of it is the machine."
            ),
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    options = parser.parse_args()
    pairs = asyncio.run(measure(options.pairs))
    tables = tables_of(pairs)
    for table in tables:
        print(table.markdown())
    if options.json:
        labels = tuple(f"pair {number}" for number in range(1, len(pairs) + 1))
        ratios = Series("p99 with a preview / without, pair by pair", labels, tuple(pair.ratio for pair in pairs), "")
        save(options.json, tables, [ratios])


if __name__ == "__main__":
    main()
