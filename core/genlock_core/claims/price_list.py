"""What a session costs in a pool: at the steps of its spec, at fewer or more, and at every second frame.

It stands in the record, so that whoever claims, moves or lowers a session knows its costs without profile or operator.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class HalfRate:
    """The lowest level: only every second frame of the source is generated."""

    steps: int
    cost: int
    """In thousandths of a worker."""
    quality: float | None = None
    """0 to 1; None: nobody says."""


@dataclass(frozen=True, slots=True)
class PoolChoice:
    """A pool that can serve the session, and what it costs there, in thousandths of one of its workers."""

    pool: str
    cost: int
    """At the steps that the spec asks for."""
    levels: tuple[int, ...] = ()
    """What it costs at 1, 2, ... steps; empty where the release before sized it, and then it is `cost` at any."""
    qualities: tuple[float, ...] = ()
    """How good it looks at 1, 2, ... steps, 0 to 1; empty: nobody says."""
    half: HalfRate | None = None
    """What it costs at every second frame; None: it is never halved there."""
    model: str | None = None
    """The model that stands in for the session's own there; None: it is its own."""

    def cost_at(self, steps: int, every: int = 1) -> int:
        """What it costs at so many steps of every frame, or of every second one (`every` 2).

        Beyond the last level no more than there. At every second frame of a choice without `half` as much as at every
        frame: nobody says that it is less.
        """
        if every > 1 and self.half is not None:
            return self.half.cost
        return self.levels[min(steps, len(self.levels)) - 1] if self.levels else self.cost

    def to_json(self) -> dict[str, Any]:
        """What is not there is left out; the release before reads pool and cost, and levels where there are any."""
        written: dict[str, Any] = {"pool": self.pool, "cost": self.cost}
        if self.levels:
            written["levels"] = list(self.levels)
        if self.qualities:
            written["qualities"] = list(self.qualities)
        if self.half is not None:
            quality = {} if self.half.quality is None else {"quality": self.half.quality}
            written["half"] = {"steps": self.half.steps, "cost": self.half.cost, **quality}
        if self.model is not None:
            written["model"] = self.model
        return written

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> "PoolChoice":
        """What `to_json` wrote, in this release or the one before. Raises KeyError if it is no choice."""
        half = written.get("half")
        return cls(
            pool=written["pool"],
            cost=written["cost"],
            levels=tuple(written.get("levels", ())),
            qualities=tuple(written.get("qualities", ())),
            half=None if half is None else HalfRate(half["steps"], half["cost"], half.get("quality")),
            model=written.get("model"),
        )
