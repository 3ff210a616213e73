"""What a run measures: the models, sizes and counts of a GPU, and the small ones with which all of it is tried."""

from dataclasses import dataclass

import torch

from genlock_worker.engines.diffusion.components import choose_dtype
from genlock_worker.profiling.measure import Effort

Size = tuple[int, int]
"""Width and height of a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What every stage is told."""

    device: torch.device
    model: str
    large_model: str
    sizes: tuple[Size, ...]
    """The first is the one that stages without a table of sizes take."""
    rows: tuple[int, ...]
    """Rows of a forward."""
    graph_rows: tuple[int, ...]
    """Of forwards that are replayed: some fill their graph, some do not, and the last has none."""
    large_rows: tuple[int, ...]
    """The same for the large model."""
    streams: tuple[tuple[int, int], ...]
    """Steps and sessions of the engine as it is without options; those of `few_streams` come first."""
    few_streams: tuple[tuple[int, int], ...]
    """The same for every way to run it."""
    effort: Effort
    repeats: int
    """How often a piece of work is timed; the median counts."""

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def dtype(self) -> torch.dtype:
        """What the models compute in: as a worker chooses it."""
        return choose_dtype("auto", self.device)


def full(device: torch.device, *, model: str = "wan2.1-1.3b") -> Task:
    """A GPU's task."""
    return Task(
        device=device,
        model=model,
        large_model="wan2.1-14b",
        sizes=((512, 512), (832, 480)),
        rows=(1, 2, 4, 8, 16),
        graph_rows=(1, 2, 3, 4, 8, 9, 16, 17),
        large_rows=(1, 2, 4),
        streams=((1, 1), (2, 1), (3, 1), (4, 1), (2, 2), (2, 4), (1, 4), (4, 2), (2, 8), (1, 8)),
        few_streams=((1, 1), (2, 1), (2, 4), (4, 1)),
        effort=Effort(seconds=1.0, chunks=8, warm=6),
        repeats=10,
    )


def dry(device: torch.device) -> Task:
    """The same stages with as little work as shows that they run."""
    return Task(
        device=device,
        model="tiny",
        large_model="tiny",
        sizes=((64, 64),),
        rows=(1, 2),
        graph_rows=(1, 3, 17),
        large_rows=(1,),
        streams=((1, 1), (2, 2)),
        few_streams=((2, 1),),
        effort=Effort(seconds=0.0, chunks=2, warm=2),
        repeats=1,
    )
