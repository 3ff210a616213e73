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
    """A stage and the seconds that are its own, whatever those before it took."""

    name: str
    run: Callable[[Task, Report, Budget], None]
    share_s: float


STAGES = (
    Stage("machine", machine.run, 15),
    Stage("parity", parity.run, 75),
    Stage("kernels", kernels.run, 60),
    Stage("graphs", graphs.run, 70),
    Stage("streams", streams.run, 130),
    Stage("rows", rows.run, 80),
    Stage("syncs", syncs.run, 15),
    Stage("vae", vae.run, 25),
    Stage("profile", profile.run, 20),
    Stage("attention", attention.run, 20),
    Stage("restore", restore.run, 15),
    Stage("large", large.run, 15),
)
"""In order of worth: whether the figures are right, what the switches for kernels and graphs give, then the rest."""
BUDGET_S = 540.0
"""All shares together."""


@torch.no_grad()
def run_stages(stages: Sequence[Stage], task: Task, report: Report, *, budget_s: float, clock: Clock) -> None:
    """One after the other; one that fails ends alone.

    A stage has its share, and what the shares of those before it have left. Where there is more time than all shares
    need, they grow with it; where there is less, the last ones are cut short or left out.
    """
    began_s = clock.monotonic()
    end_s = began_s + budget_s
    growth = max(1.0, budget_s / sum(stage.share_s for stage in stages))
    shares_s = 0.0
    for stage in stages:
        now_s = clock.monotonic()
        share_s = growth * stage.share_s
        shares_s += share_s
        if now_s > end_s:
            report.line(stage.name, "left out: the run's time is over", {"budget_s": budget_s})
            continue
        until_s = min(end_s, max(now_s + share_s, began_s + shares_s))
        try:
            with report.attempt(stage.name, "the stage"):
                stage.run(task, report, Budget(clock, until_s))
        except TimeIsOver:
            report.line(stage.name, "cut short: its time is over", {"had_s": until_s - now_s})


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
    made.add_argument("--budget", type=float, default=BUDGET_S, metavar="SECONDS", help="the run ends after this (540)")
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
    names = ", ".join(stage.name for stage in options.only)
    print(f"{options.budget:.0f} s at most, best first: {names}", flush=True)
    run_stages(options.only, task, report, budget_s=options.budget, clock=clock)
    print(f"written: {report.folder}")
    if report.failures:
        sys.exit(f"failed: {'; '.join(report.failures)}")


if __name__ == "__main__":
    main()
