"""The recovery gap: how long viewers see no new frame when the worker of their stream is killed, over 20 kills."""

import argparse
import asyncio
import os
import signal
from pathlib import Path

import httpx

from bench.result import Series, Table, percentile, save
from bench.running import SESSION, publisher, running, session_info
from genlock_cli.clients.whep import WhepViewer

KILLS = 20
STEADY_FRAMES = 40
RECOVERED_FRAMES = 24
PATIENCE_S = 30.0


async def measure(kills: int = KILLS) -> tuple[list[float], float]:
    """The gap in seconds of each kill, and the longest gap without one (the baseline), as a WHEP viewer sees them."""
    gaps: list[float] = []
    async with (
        running() as genlock,
        publisher(genlock),
        httpx.AsyncClient(base_url=genlock.gateway_urls[0]) as http,
        WhepViewer(f"{genlock.gateway_urls[0]}/whep/{SESSION}") as viewer,
    ):
        await viewer.watch()
        await _longest_gap(viewer, STEADY_FRAMES)
        undisturbed = await _longest_gap(viewer, STEADY_FRAMES)
        for _ in range(kills):
            before = await session_info(http)
            child = next(child for child in genlock.children if child.plan.name == before["worker"])
            child.send_signal(signal.SIGKILL)
            gaps.append(await _longest_gap(viewer, RECOVERED_FRAMES))
            await _both_workers_ready(http, child.pid)
            await _longest_gap(viewer, STEADY_FRAMES)
    return gaps, undisturbed


async def _longest_gap(viewer: WhepViewer, frames: int) -> float:
    """Take `frames` frames; the longest time between two of them, in seconds."""
    last, longest = None, 0.0
    for _ in range(frames):
        frame = await asyncio.wait_for(viewer.frames.get(), PATIENCE_S)
        longest = max(longest, frame.received_s - last) if last is not None else 0.0
        last = frame.received_s
    return longest


async def _both_workers_ready(http: httpx.AsyncClient, dead: int | None) -> None:
    """The killed worker has been started again (under `genlock up`) and the session is live."""
    async with asyncio.timeout(PATIENCE_S):
        while (await session_info(http))["phase"] != "Live":
            await asyncio.sleep(0.1)
        if dead is not None:
            while _alive(dead):
                await asyncio.sleep(0.1)
        await asyncio.sleep(2.0)  # the new process registers; the next kill must find a worker to move to


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--kills", type=int, default=KILLS)
    options = parser.parse_args()
    gaps, undisturbed = asyncio.run(measure(options.kills))
    table = Table(
        title="Recovery gap",
        columns=("kills", "p50", "p90", "worst", "longest gap without a kill", "p50 / undisturbed"),
        rows=(
            (
                str(len(gaps)),
                *(f"{percentile(gaps, share) * 1000:.0f} ms" for share in (0.5, 0.9, 1.0)),
                f"{undisturbed * 1000:.0f} ms",
                f"{percentile(gaps, 0.5) / undisturbed:.1f}x",
            ),
        ),
        note=(
            "SIGKILL of the worker that carries a live stream (832x480, 16 frames per second, 2 steps, mock engine), "
            "on real processes; the longest time between two frames that a WHEP viewer received. The baseline is the "
            "longest gap of the undisturbed stream in the same run."
        ),
    )
    print(table.markdown())
    if options.json:
        bars = Series(
            "Recovery gap of each kill", tuple(map(str, range(1, len(gaps) + 1))), tuple(g * 1000 for g in gaps), "ms"
        )
        save(options.json, [table], [bars])


if __name__ == "__main__":
    main()
