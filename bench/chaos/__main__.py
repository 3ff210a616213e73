"""`make chaos`: harm of each kind, one after the other, then kills of random parts; says what it cost the viewers.

    python -m bench.chaos [HARM ...] [--engine mock|diffusion] [--runs N] [--kills N] [--seed N] [--write]

Ends with status 1 if a session was lost, sinks changed, the books are wrong, or all was not well again in time.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from bench.chaos.harms import HARMS, Harm
from bench.chaos.memory import Memory
from bench.chaos.stage import ENGINES, NotWell, Stage
from bench.chaos.toll import Toll, table
from bench.page import PAGE, section, with_section
from bench.result import Table

SESSIONS = 3
WORKERS = 3
UNDISTURBED_S = 8.0


async def hurt(stage: Stage, harms: Sequence[Harm], tell: Callable[[str], None]) -> tuple[list[Toll], dict[str, float]]:
    """Do all of it; what each piece cost, and the longest gap of each stream without any. Raises NotWell."""
    with ExitStack() as stack:
        quiet = [stack.enter_context(stream.watcher.since()) for stream in stage.streams]
        await asyncio.sleep(UNDISTURBED_S)
    undisturbed_s = {stream.name: one.longest_s for stream, one in zip(stage.streams, quiet, strict=True)}

    tolls: list[Toll] = []
    for number, harm in enumerate(harms, start=1):
        cost = await stage.suffer(harm.name, harm.strike, moves=harm.moves)
        tolls += cost
        gaps = ", ".join(f"{one.gap_s * 1_000:.0f} ms" for one in cost)
        tell(f"  {number}/{len(harms)} {harm.name}: {gaps}")
    return tolls, undisturbed_s


async def run(options: argparse.Namespace, tell: Callable[[str], None]) -> list[Table]:
    """Raises NotWell."""
    sessions = SESSIONS if options.engine == "mock" else 1
    named = [HARMS[name] for name in options.harms or HARMS]
    note = (
        f"Real processes: {sessions} streams of the engine `{options.engine}` at 8 frames per second on {WORKERS} "
        "workers and two gateways, each published, and watched by a client that decodes and follows. The gap is the "
        "longest time without a new picture, from the harm until all is well."
    )
    tables = []
    async with Stage.up(options.engine, sessions=sessions, workers=WORKERS, seed=options.seed) as stage:
        memory = Memory(stage)
        tolls, quiet_s = await hurt(stage, named * options.runs, tell)
        tables.append(table(f"Chaos: each kind of harm, {options.engine}", tolls, quiet_s, note))
        if options.kills:
            kinds = [harm for harm in HARMS.values() if harm.is_kill]
            drawn = [stage.random.choice(kinds) for _ in range(options.kills)]
            tolls, quiet_s = await hurt(stage, drawn, tell)
            tables.append(table(f"Chaos: {options.kills} random kills, {options.engine}", tolls, quiet_s, note))
        tables += memory.tables(f"Chaos: memory, {options.engine}")
    return tables


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("harms", nargs="*", metavar="HARM", help=f"which: {', '.join(HARMS)} (left out: all)")
    parser.add_argument("--engine", choices=sorted(ENGINES), default="mock")
    parser.add_argument("--runs", type=int, default=1, help="how often each kind is done")
    parser.add_argument("--kills", type=int, default=0, help="how many kills of random parts follow")
    parser.add_argument("--seed", type=int, default=0, help="what is hit is drawn with this")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE}")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.harms) - set(HARMS)):
        parser.error(f"no harm is called {', '.join(unknown)}; there are {', '.join(HARMS)}")

    try:
        tables = asyncio.run(run(options, lambda line: print(line, file=sys.stderr, flush=True)))
    except NotWell as error:
        print(f"chaos: not well: {error}", file=sys.stderr)
        return 1
    for one in tables:
        print(one.markdown())
    if options.write:
        name = f"chaos_{options.engine}"
        PAGE.write_text(with_section(PAGE.read_text(), name, section(name, tables, [])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
