"""A level that changes while a session runs: how long until the first frame at the new one, and what viewers see of it.

One Genlock of real processes serves one session with a publisher and a viewer at the gateway. Its claim is limited and
raised again, as a plan of levels does it. The worker measures each change, from its own inbox to the frame it sends.
"""

import argparse
import asyncio
import tempfile
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import httpx

from bench.result import Series, Table, percentile, save
from bench.running import MOCK, SESSION, SPEC, Workers, local_genlock, publisher
from genlock_cli.clients.whep import WhepViewer
from genlock_cli.redis_server import RedisProcess
from genlock_cli.up.ports import choose_ports
from genlock_core import store as stores
from genlock_core.approximation.levels import Level
from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import LimitOutcome
from genlock_core.spec.session import StreamSessionSpec, resolve

CHANGES = 100
TOP = Level(4)
LEVELS = (Level(1), TOP, Level(1, every=2), TOP, Level(2), TOP)
"""Down by all steps and up again; down by every second frame as well and up again; a little down, and up."""
FRAME_RATE = 16
LEVELLED = {
    "steps": TOP.steps,
    "approximation": {"minSteps": 1, "minFrameRate": FRAME_RATE // 2},
    "slo": {"frameDeadline": "2s"},
}
"""With so long a deadline the worker's own reflex stays out of it, on most machines."""
PATIENCE_S = 30.0
SHOWN_WITHIN_S = 8.0
"""A change that has not shown by then was none: the worker's reflex holds the session down."""
SETTLES_S = 1.5
"""Between two changes, so that each stands alone."""
MEASURED = "genlock_worker_level_change_seconds"
SETTLED = "genlock_worker_level_settle_seconds"


@dataclass(slots=True)
class Changes:
    """In seconds."""

    taken: dict[Level, list[float]] = field(default_factory=dict)
    """From the worker's inbox to the first frame at the new level, by that level."""
    settled: list[float] = field(default_factory=list)
    """From the inbox to a cheaper claim, of those that went down."""
    gaps: list[float] = field(default_factory=list)
    """Between two pictures that came to the viewer one after the other."""
    backwards: int = 0
    """Pictures that came after a later one."""
    held: int = 0
    """Changes that were none, as the worker's reflex held the session lower."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """One of the worker's, as far as it has counted."""

    count: float
    total_s: float

    def only_one_since(self, before: "Histogram") -> float:
        """What the one observation since took. Raises ValueError for none, or more."""
        if self.count != before.count + 1:
            raise ValueError(f"{self.count - before.count:.0f} observations since")
        return self.total_s - before.total_s


async def measure(kind: Workers, changes: int) -> Changes:
    """Change the level so many times while the session runs under a viewer's eyes."""
    spec = {**SPEC, **kind.spec, **LEVELLED}
    session = resolve(SESSION, StreamSessionSpec.model_validate(spec))
    port = choose_ports("127.0.0.1", 1, media=[])
    measured = Workers(
        kind.engine, kind.gpu_product, kind.gpus, kind.spec, (*kind.arguments, "--metrics-port", str(port))
    )
    found = Changes()
    with tempfile.TemporaryDirectory() as folder, RedisProcess(Path(folder) / "redis") as redis:
        genlock = local_genlock(measured, [session], Path(folder), workers=1, redis_url=redis.url)
        store = stores.connect(redis.url)
        try:
            await genlock.start()
            async with (
                publisher(genlock),
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
                WhepViewer(f"{genlock.gateway_urls[0]}/whep/{SESSION}") as viewer,
            ):
                await viewer.watch()
                await asyncio.wait_for(viewer.frames.get(), PATIENCE_S)
                watching = asyncio.create_task(_watch(viewer, found))
                await asyncio.sleep(2 * SETTLES_S)
                for level in islice(cycle(LEVELS), changes):
                    await _change(Claims(store), http, level, found)
                watching.cancel()
        finally:
            await store.aclose()
            await genlock.stop()
    return found


async def _change(claims: Claims, http: httpx.AsyncClient, level: Level, found: Changes) -> None:
    """Allow the claim this level, and wait until it shows."""
    record = await claims.record(str(SESSION))
    if record is None or record.granted is None:
        raise RuntimeError("nobody serves the session, or its pool has no levels")
    before, settled_before = await _histogram(http, MEASURED), await _histogram(http, SETTLED)
    limit = None if level == TOP else level
    outcome = await claims.limit(
        record.name,
        epoch=record.epoch,
        number=record.granted.number,
        steps=None if limit is None else limit.steps,
        every=1 if limit is None else limit.every,
    )
    if outcome is not LimitOutcome.DONE:
        raise RuntimeError(f"{level}: {outcome}")
    try:
        async with asyncio.timeout(SHOWN_WITHIN_S):
            while (after := await _histogram(http, MEASURED)).count == before.count:
                await asyncio.sleep(0.05)
    except TimeoutError:
        found.held += 1
        return
    found.taken.setdefault(level, []).append(after.only_one_since(before))
    await asyncio.sleep(SETTLES_S)
    cheaper = await claims.record(record.name)
    if cheaper is not None and cheaper.cost < record.cost:
        found.settled.append((await _histogram(http, SETTLED)).only_one_since(settled_before))


async def _watch(viewer: WhepViewer, found: Changes) -> None:
    last = await viewer.frames.get()
    while True:
        frame = await viewer.frames.get()
        found.gaps.append(frame.received_s - last.received_s)
        found.backwards += frame.media_s <= last.media_s
        last = frame


async def _histogram(http: httpx.AsyncClient, name: str) -> Histogram:
    lines = (await http.get("/metrics")).text.splitlines()
    values = {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith(f"{name}_")}
    return Histogram(values[f"{name}_count"], values[f"{name}_sum"])


def table_of(found: Changes) -> Table:
    """The figures of a run."""
    everything = [seconds for taken in found.taken.values() for seconds in taken]
    rows = [_row(f"to {level}", taken) for level, taken in found.taken.items()]
    rows += [_row("all", everything), _row("claim made cheaper", found.settled)]
    return Table(
        title="A level that changes while a session runs",
        columns=("change", "times", "p50", "p99", "worst"),
        rows=tuple(rows),
        note=(
            "From the worker's inbox to the first frame that it sends at the new level (aim: p99 under 1 s), and to "
            "the cheaper claim. 832x480 at 16 frames per second, 4 steps at most, mock engine with the timing of four "
            "H100s. A change waits for the chunk that is being made, for the next one to come in (250 ms, or 500 ms at "
            "every second frame), and for its turn. Meanwhile a viewer's longest wait between two of "
            f"{len(found.gaps)} pictures was {max(found.gaps) * 1_000:.0f} ms, and {found.backwards} of them came out "
            f"of order. {found.held} of the changes were none, as overload held the session lower."
        ),
    )


def _row(name: str, seconds: list[float]) -> tuple[str, ...]:
    figures = (percentile(seconds, 0.5), percentile(seconds, 0.99), max(seconds))
    return (name, str(len(seconds)), *(f"{figure * 1_000:.0f} ms" for figure in figures))


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.level_change", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--changes", type=int, default=CHANGES)
    options = parser.parse_args()
    found = asyncio.run(measure(MOCK, options.changes))
    table = table_of(found)
    print(table.markdown())
    if options.json:
        names = tuple(str(level) for level in found.taken)
        medians = tuple(percentile(taken, 0.5) * 1_000 for taken in found.taken.values())
        save(options.json, [table], [Series("First frame at another level, median", names, medians, "ms")])


if __name__ == "__main__":
    main()
