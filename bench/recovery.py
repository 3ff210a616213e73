"""The recovery gap: how long viewers see no new frame when the worker of their stream is killed, and its legs."""

import argparse
import asyncio
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.result import Series, Table, percentile, save
from bench.running import APART, MOCK, SESSION, TINY, Workers, publisher, running, session_info
from genlock_cli.clients.whep import WhepViewer
from genlock_cli.up.children import Child, ChildState
from genlock_gateway.sessions.meters.recovery import RecoveryLeg

KILLS = 20
ENGINES = {"mock": MOCK, "mock, decoding out of process": APART, "diffusion": TINY}
STEADY_FRAMES = 40
RECOVERED_FRAMES = 24
PATIENCE_S = 30.0


class Watch:
    """A viewer's frames, and when the last one came: a gap may begin before one looks."""

    def __init__(self, viewer: WhepViewer) -> None:
        self._viewer = viewer
        self._last_s: float | None = None

    def catch_up(self) -> None:
        """Pass over what has come already."""
        while not self._viewer.frames.empty():
            self._last_s = self._viewer.frames.get_nowait().received_s

    async def longest_gap_s(self, frames: int) -> float:
        """Take `frames` frames; the longest time before one of them, in seconds."""
        longest = 0.0
        for _ in range(frames):
            frame = await asyncio.wait_for(self._viewer.frames.get(), PATIENCE_S)
            if self._last_s is not None:
                longest = max(longest, frame.received_s - self._last_s)
            self._last_s = frame.received_s
        return longest


@dataclass(frozen=True, slots=True)
class Kills:
    """What viewers had of each kill, in seconds, and where its time went as the gateway saw it, in milliseconds."""

    gaps: list[float]
    legs: list[dict[str, float]]
    undisturbed: float
    """The longest gap without a kill: the baseline."""
    continuous_play: float
    """The continuous-play ratio of the whole stream, all kills in it."""


async def measure(workers: Workers, kills: int, *, rest_s: float = 0.0) -> Kills:
    """Kill the worker that serves, again and again, under the eyes of a WHEP viewer.

    Each kill comes `rest_s` after the stream is well again. A publisher sends key frames only when it is asked, so the
    group of pictures that a successor is fed is about as long.
    """
    gaps: list[float] = []
    legs: list[dict[str, float]] = []
    async with (
        running(workers) as genlock,
        publisher(genlock),
        httpx.AsyncClient(base_url=genlock.gateway_urls[0]) as http,
        WhepViewer(f"{genlock.gateway_urls[0]}/whep/{SESSION}") as viewer,
    ):
        await viewer.watch()
        watch = Watch(viewer)
        await watch.longest_gap_s(STEADY_FRAMES)
        undisturbed = await watch.longest_gap_s(STEADY_FRAMES)
        for number in range(1, kills + 1):
            rests_until_s = time.monotonic() + rest_s
            while time.monotonic() < rests_until_s:
                await watch.longest_gap_s(1)
            before = await session_info(http)
            child = next(child for child in genlock.children if child.plan.name == before["worker"])
            restarts = child.restarts
            watch.catch_up()
            child.send_signal(signal.SIGKILL)
            gaps.append(await watch.longest_gap_s(RECOVERED_FRAMES))
            legs.append((await session_info(http))["stats"]["recoveryLegsMs"])
            print(f"  kill {number}/{kills}: {gaps[-1] * 1000:.0f} ms; {legs[-1]}", file=sys.stderr)
            await _serves_again(child, restarts)
            await watch.longest_gap_s(STEADY_FRAMES)
        played = (await session_info(http))["stats"]["continuousPlayRatio"]
    return Kills(gaps, legs, undisturbed, played)


def legs_table(engine: str, legs: list[dict[str, float]]) -> Table:
    """Where the time went, leg by leg."""
    rows = []
    for leg in RecoveryLeg:
        values = [one[leg] for one in legs if leg in one]
        if values:
            rows.append((leg.value, *(f"{percentile(values, share):.0f} ms" for share in (0.5, 0.99, 1.0))))
    return Table(
        title=f"Legs of the recovery, {engine}",
        columns=("leg", "p50", "p99", "worst"),
        rows=tuple(rows),
        note="As the gateway measures them (`genlock_recovery_leg_seconds`), from the last picture to the next one.",
    )


async def _serves_again(child: Child, restarts: int) -> None:
    """The killed worker was started again: the next kill finds somewhere to move to."""
    async with asyncio.timeout(PATIENCE_S):
        while child.restarts == restarts or child.state is not ChildState.READY:
            await asyncio.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--rest", type=float, default=0.0, help="seconds of an undisturbed stream before each kill")
    parser.add_argument("--engine", choices=ENGINES, action="append", help="this one alone; may be given again")
    options = parser.parse_args()
    rows, series, tables = [], [], []
    for engine, workers in ENGINES.items():
        if options.engine and engine not in options.engine:
            continue
        print(engine, file=sys.stderr)
        killed = asyncio.run(measure(workers, options.kills, rest_s=options.rest))
        gaps, undisturbed = killed.gaps, killed.undisturbed
        tables.append(legs_table(engine, killed.legs))
        rows.append(
            (
                engine,
                str(len(gaps)),
                *(f"{percentile(gaps, share) * 1000:.0f} ms" for share in (0.5, 0.99, 1.0)),
                f"{undisturbed * 1000:.0f} ms",
                f"{percentile(gaps, 0.5) / undisturbed:.1f}x",
                f"{killed.continuous_play:.2%}",
            )
        )
        labels = tuple(map(str, range(1, len(gaps) + 1)))
        series.append(Series(f"Recovery gap of each kill, {engine}", labels, tuple(g * 1000 for g in gaps), "ms"))
    table = Table(
        title="Recovery gap",
        columns=(
            "engine",
            "kills",
            "p50",
            "p99",
            "worst",
            "longest gap without a kill",
            "p50 / undisturbed",
            "continuous play",
        ),
        rows=tuple(rows),
        note=(
            "SIGKILL of the worker that carries a live stream (16 frames per second, 2 steps; 832x480 with the mock "
            "engine, 128x128 with the diffusion engine's model tiny on one CPU thread), on real processes; the longest "
            "time between two frames that a WHEP viewer received. The baseline is the longest gap of the undisturbed "
            "stream in the same run. Continuous play: the share of the whole run in which the next picture was there "
            "when due, the kills in it."
        ),
    )
    tables.insert(0, table)
    for one in tables:
        print(one.markdown())
    if options.json:
        save(options.json, tables, series)


if __name__ == "__main__":
    main()
