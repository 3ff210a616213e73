"""What is measured: a model of random numbers, its engine, rows in full flow, and one stream that goes on."""

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch

from bench.engine_rows import Pools, session_row
from bench.gpu.task import Size, Task
from genlock_core.clock import SystemClock
from genlock_core.spec.session import Resolution
from genlock_worker.engines.contract import Chunk, Frames, Row
from genlock_worker.engines.diffusion.components import Components, load_components
from genlock_worker.engines.diffusion.config import MODELS, StreamOptions
from genlock_worker.engines.diffusion.engine import DiffusionEngine
from genlock_worker.engines.diffusion.execution.capturing import graph_bytes
from genlock_worker.engines.diffusion.execution.forward import make_forward
from genlock_worker.engines.diffusion.execution.graphs import GraphForward
from genlock_worker.engines.diffusion.options import ForwardOptions, LoadOptions
from genlock_worker.engines.diffusion.streaming.row_work import RowWork
from genlock_worker.engines.stepwise import Stepwise
from genlock_worker.profiling.plan import Combination
from genlock_worker.profiling.streams import first_pictures, later_pictures
from genlock_worker.rows.session_rows import MOST_UNDECODED


@dataclass(frozen=True, slots=True)
class Way:
    """A way to run the engine, by the worker's own options."""

    name: str
    load: Mapping[str, object] = field(default_factory=dict)
    forward: Mapping[str, bool] = field(default_factory=dict)
    overlap: bool = True

    @property
    def switches(self) -> list[str]:
        """The options that differ from the worker's, in words."""
        words = [f"{name.replace('_', '-')} {_word(value)}" for name, value in {**self.load, **self.forward}.items()]
        return [*words, *([] if self.overlap else ["overlap no"])]


COMPILE = {"compile": True}
GRAPHS = {"compile": True, "cuda_graphs": True}
"""Switches of `ForwardOptions`."""
KERNELS = {"kernels": "triton"}
"""Of `LoadOptions`; graphs need them."""


def components(task: Task, model: str, load: Mapping[str, object] | None = None) -> Components:
    """A model of random numbers, on which speed does not depend. Prompts are encoded on the CPU: UMT5 is 11 GB."""
    options = LoadOptions(random_weights=True, text_device="cpu", **(load or {}))  # type: ignore[arg-type]
    return load_components(
        MODELS[model],
        weights=None,
        device=task.device,
        dtype=task.dtype,
        options=options,
        stream=StreamOptions(),
        progress=lambda line: print(f"    {line}", flush=True),
    )


def engine(task: Task, way: Way) -> DiffusionEngine:
    """An engine as a worker with these options has it. Raises CompileUnavailable and others for what is not here."""
    parts = components(task, task.model, way.load)
    forward = make_forward(parts.transformer, ForwardOptions(**way.forward))
    sizes = [Resolution(width=width, height=height) for width, height in task.sizes]
    has_graphs = isinstance(forward, GraphForward)
    one = DiffusionEngine(
        parts,
        options=StreamOptions(),
        forward=forward,
        memory_limit_bytes=None if task.on_gpu else 2**31,
        clock=SystemClock(),
        overlap=way.overlap,
        set_aside_bytes=graph_bytes(parts.transformer, sizes) if has_graphs else 0,
    )
    one.capture_graphs(sizes, lambda words: print(f"    {words}", flush=True))
    return one


def row_works(parts: Components, count: int, size: Size) -> list[RowWork]:
    """Rows of as many sessions, each with a full ring and a prompt of its own, of random numbers."""
    width, height = size
    pools = Pools.of(parts.transformer)
    return [session_row(parts.transformer, pools, number, width=width, height=height) for number in range(count)]


def frames(task: Task, count: int, size: Size) -> torch.Tensor:
    """Random pictures on the device, (count, height, width, 3) uint8."""
    width, height = size
    return torch.randint(0, 255, (count, height, width, 3), dtype=torch.uint8, device=task.device)


def latents(task: Task, count: int, size: Size) -> torch.Tensor:
    """Random latents on the device, (count, 16, height / 8, width / 8)."""
    width, height = size
    return torch.randn(count, 16, height // 8, width // 8, device=task.device)


class OneStream:
    """An open session that goes on and on: a chunk is fed, then one row of each chunk in flight is run."""

    def __init__(self, driven: Stepwise, session: str, combination: Combination) -> None:
        self.driven = driven
        self.session = session
        self._combination = combination
        self._pictures = later_pictures(combination)
        self._next = 1
        self._undecoded: deque[Future[Frames]] = deque()

    def first_chunk(self) -> None:
        """All steps of the first chunk; its pictures are there afterwards."""
        self.driven.show(self.session, Chunk(0, first_pictures(self._combination)))

    def micro_step(self) -> None:
        """Pictures may be decoded beside the next few of these, as in the worker."""
        newest = self._next
        self._next += 1
        self.driven.feed(self.session, Chunk(newest, self._pictures[newest % len(self._pictures)]))
        steps = range(self._combination.steps)
        rows = [Row(self.session, step, newest - step) for step in steps if newest - step >= 1]
        while len(self._undecoded) >= MOST_UNDECODED:
            self._undecoded.popleft().result()
        self._undecoded += [result.pictures for result in self.driven.run(rows) if result.pictures is not None]

    def wait(self) -> None:
        """Until all pictures are there. Raises EngineFailure."""
        while self._undecoded:
            self._undecoded.popleft().result()


def _word(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
