"""How the memory of the processes grew while they were hurt: of those that lived through it."""

from dataclasses import dataclass
from pathlib import Path

from bench.chaos.stage import Stage
from bench.result import Table


@dataclass(frozen=True, slots=True)
class Start:
    """A process when it was first looked at, and its resident bytes then."""

    pid: int
    resident: int


class Memory:
    """Looks at the processes when it is made, and again for its table."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._before = self._look()

    def tables(self, title: str) -> list[Table]:
        """One with a row for each process that is still the one of the beginning; none if there is none."""
        now = self._look()
        rows = [
            (name, _megabytes(start.resident), _megabytes(now[name].resident))
            for name, start in self._before.items()
            if name in now and now[name].pid == start.pid
        ]
        note = "Resident memory of the processes that nobody killed, at the beginning and at the end."
        return [Table(title, ("process", "before", "after"), tuple(rows), note)] if rows else []

    def _look(self) -> dict[str, Start]:
        pids = {child.plan.name: child.pid for child in self._stage.genlock.children}
        return {name: Start(pid, resident_bytes(pid)) for name, pid in pids.items() if pid is not None}


def resident_bytes(pid: int) -> int:
    """Of /proc; 0 where there is none."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1_024 for line in lines if line.startswith("VmRSS:")), 0)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
