"""What levels cost and what they are worth in the replay.

Quality is a proxy until somebody measures it with published weights: the mean of each level in the artefact of Argus,
less two points for each level below the one at which a prompt of that kind loses nothing.
"""

from dataclasses import dataclass
from typing import Final

from genlock_core.approximation.levels import Ladder, Level, Rung
from genlock_core.claims.identity import CAPACITY

POOL: Final = "p"
MEAN_QUALITY: Final = (1.0, 0.9705, 0.9581, 0.9438)
"""At 4, 3, 2, 1 steps."""
PENALTY: Final = 0.02
PROMPTS: Final = 4


@dataclass(frozen=True, slots=True)
class Ladders:
    """A session's levels on these workers, the same for all but for what its prompt loses at each."""

    name: str
    costs: tuple[int, ...]
    """In thousandths of a worker, at 4, 3, 2, 1 steps."""

    @property
    def requested(self) -> int:
        """What a session costs that has what it asks for."""
        return self.costs[0]

    @property
    def at_top(self) -> int:
        """How many sessions a worker holds that all have what they ask for."""
        return CAPACITY // self.costs[0]

    @property
    def at_lowest(self) -> int:
        """How many sessions a worker holds at the most."""
        return CAPACITY // self.costs[-1]

    def for_prompts(self) -> tuple[Ladder, ...]:
        """The ladder of each kind of prompt, for `allocate`."""
        return tuple(
            Ladder(
                tuple(Rung(Level(4 - place), cost, quality_of(prompt, place)) for place, cost in enumerate(self.costs))
            )
            for prompt in range(PROMPTS)
        )


def quality_of(prompt: int, place: int) -> float:
    """Of a prompt of this kind at a level; 0 is the top. 0 to 1."""
    return MEAN_QUALITY[place] - PENALTY * max(0, place - prompt)


SIX: Final = Ladders("holds 6", (250, 222, 194, 166))
"""One step costs two thirds of four: a worker of 4 holds 6."""
FIVE: Final = Ladders("holds 5", (250, 222, 194, 170))
"""The published frame rates of one H100 at 480p: 13.95, 15.68, 17.97, 20.47. A worker of 4 holds 5."""
