"""The course of a run: which harm comes when, and what became of each piece of it.

One failure does not end it: what was not well is told and counted, and the run goes on once all is well again.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random

from bench.chaos.harms import Harm
from bench.chaos.memory import Memory
from bench.chaos.stage import Stage
from bench.chaos.toll import Strike, milliseconds

UNDISTURBED_S = 8.0


def order(kinds: Sequence[Harm], *, runs: int, kills: int, random: Random) -> list[Harm]:
    """Each kind `runs` times and so many kills of random parts, mixed.

    Each round has every kind once and its share of the kills, in an order of its own: a machine that gets slower is not
    taken for a kind that costs more, and a run that ends early has done each kind about as often.
    """
    deadly = [harm for harm in kinds if harm.is_kill]
    mixed: list[Harm] = []
    for number in range(max(runs, 1 if kills else 0)):
        share = kills * (number + 1) // max(runs, 1) - kills * number // max(runs, 1)
        one = [*(kinds if runs else ()), *random.choices(deadly, k=share if deadly else 0)]
        random.shuffle(one)
        mixed += one
    return mixed


@dataclass(slots=True)
class Course:
    """What has been done so far. It is kept by who starts the run, so that one that is interrupted has figures, too."""

    tell: Callable[[str], None]
    strikes: list[Strike] = field(default_factory=list)
    undisturbed_s: dict[str, float] = field(default_factory=dict)
    """The longest gap of each stream without any harm."""
    left: int = 0
    """Pieces of harm that were not done."""
    ended: str = ""
    """Why it ended early; "": it did not."""

    async def run(self, stage: Stage, harms: Sequence[Harm], memory: Memory) -> None:
        """Do all of it. Raises NotWell where all does not become well again."""
        self.left += len(harms)
        await self._undisturbed(stage)
        for number, harm in enumerate(harms, start=1):
            strike = await stage.suffer(harm.name, harm.strike, moves=harm.moves)
            self.strikes.append(strike)
            self.left -= 1
            memory.look(stage, strike)
            gaps = ", ".join(("" if toll.hit else "~") + milliseconds(toll.gap_s) for toll in strike.tolls)
            self.tell(f"  {strike.at} {number}/{len(harms)} {harm.name}: {gaps}")
            if strike.troubles:
                self.tell(f"  NOT WELL after {harm.name}: {'; '.join(strike.troubles)}")
                await stage.well()

    async def _undisturbed(self, stage: Stage) -> None:
        with ExitStack() as stack:
            quiet = [stack.enter_context(stream.watcher.since()) for stream in stage.streams]
            await asyncio.sleep(UNDISTURBED_S)
        for stream, one in zip(stage.streams, quiet, strict=True):
            self.undisturbed_s[stream.name] = max(one.longest_s, self.undisturbed_s.get(stream.name, 0.0))

    @property
    def failed(self) -> bool:
        """It ended early, or something was not as it should be."""
        return bool(self.ended) or any(strike.troubles for strike in self.strikes)
