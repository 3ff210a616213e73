"""How long work takes, seen from the host and from the device; and how long a stage may."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

from bench.gpu.task import Task
from genlock_core.clock import Clock


class TimeIsOver(Exception):
    """A stage has had its seconds, or the whole run has."""


@dataclass(frozen=True, slots=True)
class Budget:
    """When a stage must end; it asks between two measurements."""

    clock: Clock
    end_s: float

    def check(self) -> None:
        """Raises TimeIsOver."""
        if self.clock.monotonic() > self.end_s:
            raise TimeIsOver


@dataclass(frozen=True, slots=True)
class Timed:
    """Medians of some repetitions, in milliseconds."""

    host_ms: float
    """Until the work was queued: what Python and the launches take."""
    ms: float
    """Until the device had done it."""


def timed(work: Callable[[], object], task: Task, *, warm: int = 3) -> Timed:
    """Time a piece of work, after `warm` rounds that do not count."""
    for _ in range(warm):
        work()
    synchronize(task.device)

    queued: list[float] = []
    done: list[float] = []
    for _ in range(task.repeats):
        began_s = time.perf_counter()
        work()
        queued.append(time.perf_counter() - began_s)
        synchronize(task.device)
        done.append(time.perf_counter() - began_s)
    return Timed(median(queued) * 1000, median(done) * 1000)


def synchronize(device: torch.device) -> None:
    """Wait for all that was queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free_memory(device: torch.device) -> None:
    """Give back what nothing refers to any more, before the next model is loaded."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
