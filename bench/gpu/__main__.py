"""`run`: the stages on this machine's GPU, best first; everything is printed and kept as it comes.

Each run has a folder of its own in $OUT, named after the time at which it began.

Ends with status 1 if something did not run though it should have. What a machine lacks (a kernel, eight bits, memory)
is a line of the results and no failure.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.gpu import receipt as receipts
from bench.gpu.report import Report
from bench.gpu.stages import (
    attention,
    graphs,
    kernels,
    large,
    machine,
    parity,
    profile,
    restore,
    rows,
    streams,
    syncs,
    vae,
)
from bench.gpu.task import Task, dry, full
from bench.gpu.timing import Budget, TimeIsOver
from genlock_core.clock import Clock, SystemClock
from genlock_worker.engines.diffusion.components import choose_device

SOURCES = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage and the seconds that it may take."""

    name: str
    run: Callable[[Task, Report, Budget], None]
    most_s: float


STAGES = (
    Stage("machine", machine.run, 20),
    Stage("parity", parity.run, 90),
    Stage("syncs", syncs.run, 25),
    Stage("kernels", kernels.run, 60),
    Stage("graphs", graphs.run, 90),
    Stage("rows", rows.run, 130),
    Stage("attention", attention.run, 30),
    Stage("vae", vae.run, 40),
    Stage("streams", streams.run, 140),
    Stage("profile", profile.run, 30),
    Stage("restore", restore.run, 25),
    Stage("large", large.run, 60),
)


@torch.no_grad()
def run_stages(stages: Sequence[Stage], task: Task, report: Report, *, budget_s: float, clock: Clock) -> None:
    """One after the other, each until its seconds or the run's are over; one that fails ends alone."""
    end_s = clock.monotonic() + budget_s
    for stage in stages:
        now_s = clock.monotonic()
        if now_s > end_s:
            report.line(stage.name, "left out: the run's time is over", {})
            continue
        try:
            with report.attempt(stage.name, "the stage"):
                stage.run(task, report, Budget(clock, min(end_s, now_s + stage.most_s)))
        except TimeIsOver:
            report.line(stage.name, "cut short: its time is over", {})


def parse_stages(text: str) -> tuple[Stage, ...]:
    """`machine,parity`, in the order given. Raises argparse.ArgumentTypeError."""
    known = {stage.name: stage for stage in STAGES}
    names = text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"no stage is called {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(known[name] for name in names)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="run", description=__doc__)
    made.add_argument("--only", type=parse_stages, default=STAGES, help="stages by name, with commas between")
    made.add_argument("--budget", type=float, default=540.0, metavar="SECONDS", help="the run ends after this (540)")
    made.add_argument("--device", default="auto", help="auto: the first GPU; cuda:N")
    made.add_argument("--model", default="wan2.1-1.3b", help="the model of all stages but the last")
    made.add_argument("--dry", action="store_true", help="all stages with the tiny model on a CPU, with little work")
    return made


def main() -> None:
    options = parser().parse_args()
    clock = SystemClock()
    device = choose_device("cpu" if options.dry else options.device)
    if device.type != "cuda" and not options.dry:
        sys.exit("there is no CUDA device here: run this where one is, or try it with --dry")
    if options.dry:
        torch.set_num_threads(1)

    receipt = receipts.receipt(sys.argv[1:], device, SOURCES)
    report = Report(Path(os.environ.get("OUT", "out")) / receipt.stamp, receipt, clock)
    task = dry(device) if options.dry else full(device, model=options.model)
    run_stages(options.only, task, report, budget_s=options.budget, clock=clock)
    print(f"written: {report.folder}")
    if report.failures:
        sys.exit(f"failed: {'; '.join(report.failures)}")


if __name__ == "__main__":
    main()
