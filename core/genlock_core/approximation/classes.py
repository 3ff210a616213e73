"""How good a level looks for prompts of one kind: a profile's figure to begin with, refined by what is seen.

A prompt's class is a min-hash of its words and pairs of words (Broder, On the resemblance and containment of documents,
1997): two prompts fall into one class with the probability of their overlap. No weights are trained and none are
shipped. For each class and level a Beta distribution holds what was seen of it.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from genlock_core.approximation.levels import Ladder, Level
from genlock_core.approximation.plan import LevelSession

CLASSES: Final = 64

PRIOR_WEIGHT: Final = 8.0
"""The profile's figure counts as so many observations."""
MOST_WEIGHT: Final = 200.0
"""So many are remembered: older ones fade, as models and prompts change."""

MOST_EXPLORING: Final = 0.05
"""Of all sessions that are given, at once."""
EXPLORE_PERIOD_MS: Final = 60_000
"""For so long one session tries a level, before another one's turn comes."""
KNOWN_WELL: Final = 40.0
"""A level that was seen so often is not tried any more."""


@dataclass(frozen=True, slots=True)
class Belief:
    """How good one level looks for prompts of one class: Beta(`good`, `bad`)."""

    good: float
    bad: float

    @property
    def weight(self) -> float:
        return self.good + self.bad

    @property
    def mean(self) -> float:
        return self.good / self.weight

    def seen(self, quality: float) -> "Belief":
        """After one more observation, 0 to 1. Raises ValueError for anything else."""
        if not 0 <= quality <= 1:
            raise ValueError(f"{quality} is no quality; it is a number from 0 to 1")
        fades = min(1.0, (MOST_WEIGHT - 1) / self.weight)
        return Belief(self.good * fades + quality, self.bad * fades + 1 - quality)


@dataclass(frozen=True, slots=True)
class PromptClasses:
    """What was seen so far. It is never changed: `seen` gives a new one."""

    beliefs: Mapping[tuple[str, int, int], Belief]
    """By model, class of prompts and steps."""

    def seen(self, model: str, prompt: str, ladder: Ladder, level: Level, quality: float) -> "PromptClasses":
        """After one more observation of this prompt at this level of its ladder: how good its pictures look, however
        many of them are shown. Raises ValueError for a quality that is none."""
        place = model, class_of(prompt), level.steps
        belief = self.beliefs.get(place, prior(ladder, level)).seen(quality)
        return replace(self, beliefs={**self.beliefs, place: belief})

    def weight(self, model: str, prompt: str, level: Level) -> float:
        """How often this level was seen for prompts like this one."""
        belief = self.beliefs.get((model, class_of(prompt), level.steps))
        return 0.0 if belief is None else belief.weight - PRIOR_WEIGHT

    def refined(self, ladder: Ladder, model: str, prompt: str) -> Ladder:
        """The ladder with what was seen for prompts like this one; a lower level still looks no better."""
        number = class_of(prompt)
        bound = 1.0
        rungs = []
        for rung in ladder.rungs:
            belief = self.beliefs.get((model, number, rung.level.steps))
            bound = min(bound, rung.quality if belief is None else belief.mean * _shown_share(ladder, rung.level))
            rungs.append(replace(rung, quality=bound))
        return replace(ladder, rungs=tuple(rungs))


def class_of(prompt: str) -> int:
    """The prompt's class, 0 to 63: the same in every process and release."""
    words = re.findall(r"\w+", prompt.casefold())
    grams = [*words, *(f"{one} {other}" for one, other in pairwise(words))]
    return min((_hash(gram) for gram in grams), default=0) % CLASSES


def prior(ladder: Ladder, level: Level) -> Belief:
    """What a profile, or its stated guess, says of a level's pictures. Raises KeyError for one that is no rung."""
    quality = {rung.level: rung.quality for rung in ladder.rungs}[level] / _shown_share(ladder, level)

    # Neither side is nothing, so that every observation can still move it.
    share = min(max(quality, 0.01), 0.99)
    return Belief(PRIOR_WEIGHT * share, PRIOR_WEIGHT * (1 - share))


def _shown_share(ladder: Ladder, level: Level) -> float:
    """The share of the pictures that are shown at this level."""
    return ladder.top.level.every / level.every


@dataclass(frozen=True, slots=True)
class Explorer:
    """A session that may try a level, with what it shows."""

    session: LevelSession
    pool: str
    model: str
    prompt: str


def explorations(
    classes: PromptClasses, explorers: Iterable[Explorer], *, sessions: int, is_short: bool, now_ms: int
) -> dict[str, Level]:
    """Which of them try which level for the rest of this period, in order to see it.

    `sessions`: how many there are, of which 5 % at most explore. While the pool is short (somebody waits, or runs below
    its request) nobody does: what is there is needed. Only levels below the granted one are tried, and only rungs of
    the ladder: they take less time, and what is too slow is on no ladder, so no trial makes a frame late.
    """
    if is_short:
        return {}
    period = now_ms // EXPLORE_PERIOD_MS
    ordered = sorted(explorers, key=lambda one: (_hash(f"{one.session.name} {period}"), one.session.name))
    found: dict[str, Level] = {}
    for one in ordered:
        if len(found) >= int(MOST_EXPLORING * sessions):
            break
        level = _least_known_below(classes, one)
        if level is not None:
            found[one.session.name] = level
    return found


def _least_known_below(classes: PromptClasses, one: Explorer) -> Level | None:
    """The level below the granted one that was seen least, the higher of equal ones; None if all are known well."""
    ladder = one.session.ladders.get(one.pool)
    granted = one.session.granted
    if ladder is None or granted is None:
        return None
    below = [rung.level for rung in ladder.rungs if rung.level != granted and rung.level.at_most(granted) == rung.level]
    seen = [(classes.weight(one.model, one.prompt, level), place) for place, level in enumerate(below)]
    least, place = min(seen, default=(KNOWN_WELL, 0))
    return below[place] if least < KNOWN_WELL else None


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
