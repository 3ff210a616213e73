"""A worker that takes 1.5 times as long as its profile says: how many of its frames are late, at first and at last.

One Genlock of real processes, as `genlock up` starts it, serves the eight sessions of `examples/busy-hour`, which fill
its worker by the profile. Each has a viewer at the gateway. Nobody corrects costs here (the operator does), so what is
seen is what the worker does by itself: it lowers the steps of sessions that allow it.
"""

import argparse
import asyncio
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.result import Series, Table, save
from bench.running import MOCK, local_genlock
from genlock_cli.clients.whep import WhepViewer
from genlock_cli.redis_server import RedisProcess
from genlock_cli.up.local import LocalGenlock
from genlock_cli.up.plan import UpOptions
from genlock_cli.up.sessions import read_sessions
from genlock_core import store as stores
from genlock_core.claims.counters import CounterBoard, WorkerCounters
from genlock_core.sizing.profile import own_rows

EXAMPLE = Path(__file__).parents[1] / "examples" / "busy-hour"
SLOWNESS = 1.5
RUN_S = 40.0
FIRST_S = 10.0
LAST_S = 15.0
"""The first and the last seconds of a run, which are told."""


@dataclass(frozen=True, slots=True)
class Case:
    """What the worker is like, and what its sessions allow."""

    slowness: float
    adaptive: bool

    @property
    def name(self) -> str:
        speed = "as profiled" if self.slowness == 1 else f"{self.slowness:g} times as long"
        return f"{speed}, {'lower steps allowed' if self.adaptive else 'no lower steps'}"


CASES = (Case(1.0, adaptive=True), Case(SLOWNESS, adaptive=True), Case(SLOWNESS, adaptive=False))


@dataclass(frozen=True, slots=True)
class Suffered:
    """Of one run: the late share of the frames that were sent, and what the worker has learned of its speed."""

    first: float
    last: float
    speed: float | None


async def measure(case: Case, run_s: float) -> Suffered:
    """Run the sessions for so long."""
    profiles = (EXAMPLE / "profile.yaml",)
    kind = replace(MOCK, gpus=1, arguments=("--slowness", f"{case.slowness:g}"))

    def make(options: UpOptions, *given: Any, **more: Any) -> LocalGenlock:
        return LocalGenlock(replace(options, profiles=profiles, own_rows=own_rows(profiles)), *given, **more)

    with tempfile.TemporaryDirectory() as folder, RedisProcess(Path(folder) / "redis") as redis:
        manifest = (EXAMPLE / "sessions.yaml").read_text()
        if not case.adaptive:
            manifest = manifest.replace("frameRate: 8,", "frameRate: 8, approximation: {policy: Never},")
        (Path(folder) / "sessions.yaml").write_text(manifest)
        sessions = read_sessions(Path(folder) / "sessions.yaml")
        genlock = local_genlock(kind, sessions, Path(folder), workers=1, redis_url=redis.url, make=make)
        store = stores.connect(redis.url)
        try:
            await genlock.start()
            async with AsyncExitStack() as viewers:
                for session in sessions:
                    url = f"{genlock.gateway_urls[0]}/whep/{session.key}"
                    await (await viewers.enter_async_context(WhepViewer(url))).watch()
                pages = [await _page(store)]
                for seconds in (FIRST_S, run_s - FIRST_S - LAST_S, LAST_S):
                    await asyncio.sleep(seconds)
                    pages.append(await _page(store))
        finally:
            await store.aclose()
            await genlock.stop()
    speeds = [cost.speed for cost in pages[-1].costs if cost.speed is not None]
    return Suffered(_late(pages[0], pages[1]), _late(pages[2], pages[3]), speeds[0] if speeds else None)


async def _page(store: stores.Store) -> WorkerCounters:
    (page,) = (await CounterBoard(store).workers()).values()
    return page


def _late(before: WorkerCounters, after: WorkerCounters) -> float:
    frames, late = after.since(before)
    return late / max(1, frames)


def table_of(found: dict[Case, Suffered]) -> Table:
    """The figures of the runs."""
    rows = [
        (case.name, f"{one.first:.0%}", f"{one.last:.0%}", "-" if one.speed is None else f"{one.speed:.2f}")
        for case, one in found.items()
    ]
    return Table(
        title="A worker that is slower than its profile",
        columns=("the worker takes", "late at first", "late at last", "learned speed"),
        rows=tuple(rows),
        note=(
            "The share of frames that the worker sends late, in the first ten seconds of a run and in the last "
            "fifteen, and how fast the worker has found itself to be (1: as its profile says; less also where others "
            "take the machine's processors). Eight sessions of 8 frames per second at 4 steps fill the worker by its "
            "profile; mock engine, real processes, one viewer each. Where sessions allow fewer steps the worker takes "
            "them. Where they allow none only more workers help. An operator corrects what sessions pay once their "
            "budget was broken for two minutes; none runs here, as with `genlock up`."
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.slow_worker", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--seconds", type=float, default=RUN_S, help="of a run")
    options = parser.parse_args()
    found = {case: asyncio.run(measure(case, options.seconds)) for case in CASES}
    table = table_of(found)
    print(table.markdown())
    if options.json:
        names = tuple(case.name for case in found)
        save(
            options.json, [table], [Series("Late at last", names, tuple(100 * one.last for one in found.values()), "%")]
        )


if __name__ == "__main__":
    main()
