"""`make chaos`: harm of each kind in random order, mixed with kills of random parts; says what it cost the viewers.

    python -m bench.chaos [HARM ...] [--engine mock|diffusion] [--runs N] [--kills N] [--seed N] [--minutes N]
                          [--spare PROCESS ...] [--write]

Ends with status 1 if a session was lost, sinks changed, a picture went back, the books were wrong, or all was not well
again in time; the run goes on after each of these if all becomes well. Its tables come in any case, also if it is
interrupted, and say so.
"""

import argparse
import asyncio
import sys
import traceback
from collections.abc import Sequence
from random import Random

from bench.chaos.course import Course, order
from bench.chaos.fault_table import DESIGN, renewed
from bench.chaos.harms import HARMS, Harm
from bench.chaos.memory import Memory
from bench.chaos.server import Clock
from bench.chaos.stage import ENGINES, NUMBERED, NotWell, Stage
from bench.chaos.toll import milliseconds, table, troubles_table
from bench.page import PAGE, section, with_section
from bench.result import Table

SESSIONS = {"mock": 3, "diffusion": 2}
WORKERS = 3


def section_name(engine: str, *, soak: bool = False) -> str:
    """Where the tables stand in the page of benchmarks."""
    return f"{'soak' if soak else 'chaos'}_{engine}"


async def run(options: argparse.Namespace, harms: Sequence[Harm], course: Course, memory: Memory) -> None:
    """All harm; that of one kind of stage after that of the other. Raises NotWell, TimeoutError."""
    random = Random(options.seed)
    mixed = order(harms, runs=options.runs, kills=options.kills, random=random)
    async with asyncio.timeout(options.minutes * 60 if options.minutes else None):
        for relayed in (True, False):
            mine = [harm for harm in mixed if harm.relayed is relayed]
            if mine:
                sessions = SESSIONS[options.engine]
                stage_up = Stage.up(
                    options.engine,
                    sessions=sessions,
                    workers=WORKERS,
                    seed=options.seed,
                    relayed=relayed,
                    spared=frozenset(options.spare),
                )
                async with stage_up as stage:
                    await course.run(stage, mine, memory)


def tables(options: argparse.Namespace, course: Course, memory: Memory) -> list[Table]:
    """What has been seen so far."""
    quiet = ", ".join(f"{name} {milliseconds(gap_s)}" for name, gap_s in course.undisturbed_s.items())
    spared = f" Never ended: {', '.join(options.spare)}." if options.spare else ""
    early = f" **It ended early ({course.ended}); {course.left} strikes were not done.**" if course.ended else ""
    unread = "" if NUMBERED[options.engine] > 1 else " Whether a picture went back cannot be seen in what it paints."
    note = (
        f"Real processes: {SESSIONS[options.engine]} streams of the engine `{options.engine}` at 8 frames per second "
        f"on {WORKERS} workers and two gateways, each published, and watched by a client that decodes and follows. "
        f"Kinds and {options.kills} random kills were mixed (seed {options.seed}). A gap is the longest time without a "
        "new picture, from the harm until all is well, of each stream that needs what was harmed; of the others, the "
        f"worst is told. Longest gap without harm in the same run: {quiet or 'not looked at'}.{spared}{unread}{early}"
    )
    title = f"{'Soak under kills' if options.spare else 'Chaos'}, {options.engine}"
    return [
        table(f"{title}: what each kind of harm cost", course.strikes, note),
        *troubles_table(f"{title}: what was not well", course.strikes),
        *memory.tables(f"{title}: memory"),
    ]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("harms", nargs="*", metavar="HARM", help=f"which: {', '.join(HARMS)} (left out: all)")
    parser.add_argument("--engine", choices=sorted(ENGINES), default="mock")
    parser.add_argument("--runs", type=int, default=1, help="how often each kind is done")
    parser.add_argument("--kills", type=int, default=0, help="how many kills of random parts there are besides")
    parser.add_argument("--seed", type=int, default=0, help="the order, and what is hit, are drawn with this")
    parser.add_argument("--minutes", type=float, help="it ends by then, whatever was not done")
    parser.add_argument(
        "--spare",
        nargs="+",
        default=[],
        metavar="PROCESS",
        help="w0, g1, ...: these may hang and are not ended, so that they get old: a soak",
    )
    parser.add_argument(
        "--write", action="store_true", help=f"put the tables into {PAGE}, and their figures into {DESIGN}"
    )
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.harms) - set(HARMS)):
        parser.error(f"no harm is called {', '.join(unknown)}; there are {', '.join(HARMS)}")

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    course, memory = Course(tell), Memory()
    harms = [HARMS[name] for name in options.harms or HARMS]
    if without := [harm.name for harm in harms if harm.needs_clock and not Clock.can_be_made()]:
        tell(f"left out, as there is no C compiler: {', '.join(without)}")
        harms = [harm for harm in harms if harm.name not in without]
    try:
        asyncio.run(run(options, harms, course, memory))
    except NotWell as error:
        course.ended = f"not well: {error}"
    except TimeoutError:
        course.ended = f"after {options.minutes:g} minutes"
    except KeyboardInterrupt:
        course.ended = "interrupted"
    except Exception as error:  # noqa: BLE001 - the figures of an hour are not lost for it
        traceback.print_exc()
        course.ended = f"{type(error).__name__}: {error}"

    found = tables(options, course, memory)
    for one in found:
        print(one.markdown())
    if options.write:
        soak = bool(options.spare)
        name = section_name(options.engine, soak=soak)
        page = with_section(PAGE.read_text(), name, section(name, found, []))
        PAGE.write_text(page)
        if not soak:
            DESIGN.write_text(renewed(DESIGN.read_text(), page))
    if course.ended:
        tell(f"chaos: ended early: {course.ended}")
    return int(course.failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
