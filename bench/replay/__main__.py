"""What scalers and policies of levels turn away, pay for and make coarser, over days of recorded arrivals.

`--traces` (or GENLOCK_TRACES) names the folder of the traces; without it one synthetic day is replayed.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.replay.aims import aims_table
from bench.replay.ladders import FIVE, SIX
from bench.replay.report import curves, policies_table, scalers_table
from bench.replay.scaling.scaler import START_UP_P50_S, START_UP_P95_S
from bench.replay.study import Load, Trial, Tried, loads, policies, tried, with_levels, without_levels
from bench.result import Plot, Table, save

SEEDS = 5

SCALERS_NOTE = (
    "There is no public trace of live generative video: what is replayed are requests to other services, as sessions "
    "that come, and are lost where they find no room. A worker holds 4 sessions that have what they ask for, starts "
    f"within {START_UP_P50_S:.0f} s (p50) and {START_UP_P95_S:.0f} s (p95, lognormal), and leaves once its sessions "
    "have moved, which costs nothing whatever the scaler. `holds 6`: one step costs two thirds of four; `holds 5`: as "
    "the published frame rates of one H100 at 480p have it. HPA and KEDA as Kubernetes and KEDA document them, with "
    "their defaults; they see what sessions ask for, not what lowered ones pay. `need + N` is the rule of the product "
    "without an autoscaler, `net change` is the product's `recommend`, levels are the product's `allocate`. The static "
    "peak is the fewest workers that turn away at most .05 %, known beforehand."
)
AS_BEFORE = "Workers, scalers and levels as in the first replay."
POLICIES_NOTE = (
    "The same arrivals, a worker of 4 that holds 6. Quality is a proxy until it is measured with published weights: "
    "the mean of each level in the artefact of Argus, less two points for each level below what a prompt needs. That "
    "paper's tenfold fewer violations are against the most accurate level for all (HA). All fastest (HT) turns away "
    "nobody and is coarse for everybody. Sessions beyond 4 a worker are what a count of slots in the whole pool would "
    "call degraded; sessions sit on workers, so it takes more. `programme + transport` moves sessions between workers "
    "for nothing."
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.replay", description=__doc__)
    parser.add_argument("--traces", type=Path, help="the folder of the traces; left out: GENLOCK_TRACES")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"runs of each kind (left out: {SEEDS})")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    arguments = parser.parse_args()
    named = os.environ.get("GENLOCK_TRACES", "")
    folder = arguments.traces or (Path(named) if named else None)

    tables: list[Table] = []
    plots: list[Plot] = []
    with_policies: list[tuple[Load, list[Tried]]] = []
    for load in loads(folder, arguments.seeds):
        scalers = scalers_of(load)
        plots.append(curves(load.name, scalers))
        if load.with_policies:
            with_policies.append((load, scalers))
        note = f"{told_of(load)} {AS_BEFORE if tables else SCALERS_NOTE}"
        for table in (scalers_table(load.name, scalers, note), aims_table(load.name, scalers)):
            tables.append(table)
            write(arguments.json, tables, plots)

    for load, scalers in with_policies:
        tables.append(policies_table(load.name, policies_of(load, scalers), POLICIES_NOTE))
        write(arguments.json, tables, plots)


def write(path: Path | None, tables: Sequence[Table], plots: Sequence[Plot]) -> None:
    """What is done so far: it is not lost when a later trace is cut short."""
    print(tables[-1].markdown(), flush=True)
    if path is not None:
        save(path, tables, plots)


def told_of(load: Load) -> str:
    return f"{load.told} {len(load.workloads)} seeds, 95 % confidence intervals; all scalers see the same arrivals."


def scalers_of(load: Load) -> list[Tried]:
    """Every scaler without levels, then with them, where a worker of 4 holds 6 and where it holds 5."""
    return [
        *run(load, without_levels(load.period_s)),
        *run(load, with_levels(load.period_s, SIX)),
        *run(load, with_levels(load.period_s, FIVE)),
    ]


def policies_of(load: Load, scalers: Iterable[Tried]) -> list[Tried]:
    """Every policy of levels with the same two scalers, ours among them."""
    ours = [one for one in scalers if one.ladders is SIX and one.levels == "our plan" and one.scaler in COMPARED]
    return sorted([*run(load, policies(load.period_s)), *ours], key=lambda one: one.scaler)


COMPARED = ("HPA 95 %", "net change 1 %")
"""The scalers that every policy of levels is seen with."""


def run(load: Load, trials: list[Trial]) -> list[Tried]:
    found = []
    for trial in trials:
        begun = time.monotonic()
        one = tried(trial, load.workloads)
        found.append(one)
        print(f"{load.name}: {one.scaler}, {one.levels}, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    main()
