"""Prints how much of each room the tests reach: `python -m tests.room_coverage REPORT`, a JSON report of coverage.py.

A room is a folder directly below a part (`gateway/sessions`, `worker/rows`); modules beside the rooms count for the
part itself. Lines are statements; branches are jumps that a condition may take.
"""

import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Reached:
    """What there is in a room, and what of it was reached."""

    statements: int = 0
    statements_reached: int = 0
    branches: int = 0
    branches_reached: int = 0

    def add(self, summary: dict[str, Any]) -> None:
        self.statements += summary["num_statements"]
        self.statements_reached += summary["covered_lines"]
        self.branches += summary["num_branches"]
        self.branches_reached += summary["covered_branches"]


def room_of(file: str) -> str:
    """`gateway/genlock_gateway/rtc/ingest/jitter.py` is in `gateway/rtc`."""
    parts = Path(file).parts
    return parts[0] if len(parts) <= 3 else f"{parts[0]}/{parts[2]}"


def by_room(report: dict[str, Any]) -> dict[str, Reached]:
    rooms: dict[str, Reached] = defaultdict(Reached)
    for file, found in report["files"].items():
        rooms[room_of(file)].add(found["summary"])
    return dict(sorted(rooms.items()))


def share(reached: int, there: int) -> str:
    return f"{100 * reached / there:.0f} %" if there else "-"


def table(rooms: dict[str, Reached]) -> str:
    lines = ["| room | statements | reached | branches | reached |", "|---|---|---|---|---|"]
    for name, room in rooms.items():
        statements = share(room.statements_reached, room.statements)
        branches = share(room.branches_reached, room.branches)
        lines.append(f"| {name} | {room.statements} | {statements} | {room.branches} | {branches} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table(by_room(json.loads(Path(sys.argv[1]).read_text()))) + "\n")
