"""How the memory of the processes grows while they are hurt.

The life of a process is a series: its resident bytes after each strike that it lived through, and how many sessions it
had restored by then.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression

from bench.chaos.stage import Stage
from bench.chaos.toll import Strike
from bench.result import Table

FEWEST_LOOKS = 5
SHORTEST_S = 120.0
"""A life that is shorter, or was looked at less often, has no slope that means something."""
WARM_UP_S = 120.0
"""What a process takes in its first minutes (modules, arenas, encoders) it takes once."""
MIB = 2**20
COLUMNS = ("process", "lived", "restores", "first", "last", "MiB per hour", "its second half", "MiB per restore")


@dataclass(frozen=True, slots=True)
class Look:
    """Seconds since the run began; resident bytes; sessions restored in this life."""

    at_s: float
    resident: int
    restores: int


@dataclass(slots=True)
class Memory:
    """Looks at all processes after each strike."""

    lives: dict[tuple[str, int], list[Look]] = field(default_factory=dict)
    """(name, process id) -> its life."""

    def look(self, stage: Stage, strike: Strike) -> None:
        """Take down what the processes are after it."""
        pids = {child.plan.name: child.pid for child in stage.genlock.children}
        pids["redis"] = stage.server.process.pid
        for name, pid in pids.items():
            if pid is None:
                continue
            life = self.lives.setdefault((name, pid), [])
            restores = (life[-1].restores if life else 0) + strike.restored.count(name)
            life.append(Look(stage.now_s(), resident_bytes(pid), restores))

    def tables(self, title: str) -> list[Table]:
        """One with a row for each life that was long enough, the longest ones of a process first; none without any."""
        warm = [
            (name, [look for look in life if look.at_s - life[0].at_s >= WARM_UP_S])
            for (name, _), life in self.lives.items()
        ]
        long = [(name, life) for name, life in warm if len(life) >= FEWEST_LOOKS and _lived_s(life) >= SHORTEST_S]
        rows = [_row(name, life) for name, life in sorted(long, key=lambda one: (one[0], -_lived_s(one[1])))]
        note = (
            f"Resident memory after each strike, from {WARM_UP_S:.0f} s after the first look on, of each life of at "
            f"least {FEWEST_LOOKS} more strikes and {SHORTEST_S:.0f} s; slopes by least squares, over all of it and "
            "over its second half. What has to grow before it is reused ends growing; a leak does not."
        )
        return [Table(title, COLUMNS, tuple(rows), note)] if rows else []


def _row(name: str, life: Sequence[Look]) -> tuple[str, ...]:
    hours = [look.at_s / 3_600 for look in life]
    resident = [look.resident / MIB for look in life]
    restores = [float(look.restores) for look in life]
    half = len(life) // 2
    return (
        name,
        f"{_lived_s(life):.0f} s",
        f"{life[-1].restores - life[0].restores}",
        f"{resident[0]:.0f} MiB",
        f"{resident[-1]:.0f} MiB",
        _slope(hours, resident),
        _slope(hours[half:], resident[half:]),
        _slope(restores, resident),
    )


def _lived_s(life: Sequence[Look]) -> float:
    return life[-1].at_s - life[0].at_s


def _slope(by: Sequence[float], values: Sequence[float]) -> str:
    """How much they grow, by least squares; "-" where there is nothing that they could grow by."""
    if min(by) == max(by):
        return "-"
    return f"{linear_regression(by, values).slope:+.1f}"


def resident_bytes(pid: int) -> int:
    """Of /proc; 0 where there is none."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1_024 for line in lines if line.startswith("VmRSS:")), 0)
