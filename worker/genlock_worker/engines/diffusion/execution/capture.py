"""Work that is captured once and repeated with one launch: what a graph needs of a device, and CUDA's way to do it.

What captures is handed over from outside, since only a GPU can: without one the tests repeat the work itself over the
same tensors.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from genlock_worker.engines.diffusion.network.row_batch import Denoised

Work = Callable[[], Denoised]


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """A forward over tensors whose addresses are fixed."""

    results: Denoised
    """What it gives, at fixed addresses: of the last replay, until any graph is replayed that shares its memory."""
    replay: Callable[[], None]
    """Queue all of it on the current stream; nothing is waited for."""
    bytes: int
    """What it has taken of the device's memory beyond what was there for the graphs before it."""


class Capture(Protocol):
    """Captures forwards whose intermediate results share one memory: they may never run beside each other."""

    def capture(self, work: Work) -> Captured:
        """Run `work`, then capture it. Raises torch.OutOfMemoryError; what there was before is as it was then."""
        ...


class CudaCapture:
    """CUDA graphs on one GPU, with a pool of memory of their own which all of them share.

    To be used by one thread, whose current stream is the same for every replay: so no two graphs run at once, and what
    is queued between two replays is done between them.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # the library has no types
        self._pool: Any = None
        """The graphs' memory, once one of them has taken some."""

    def capture(self, work: Work) -> Captured:
        """As `Capture.capture`. Waits for the device, and gives back what PyTorch holds of memory without using it."""
        # Kernels are compiled and chosen, and libraries take their memory, with the first call: not in a graph.
        here = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            work()
        here.wait_stream(self._stream)
        before_bytes = self._free_bytes()

        graph = torch.cuda.CUDAGraph()
        try:
            results = self._captured(graph, work)
            graph.replay()
        except torch.AcceleratorError as error:
            if "out of memory" in str(error):  # what CUDA takes for the graph itself
                raise torch.OutOfMemoryError(str(error)) from error
            raise
        if self._pool is None:
            self._pool = graph.pool()
        return Captured(results, graph.replay, max(0, before_bytes - self._free_bytes()))

    def _captured(self, graph: torch.cuda.CUDAGraph, work: Work) -> Denoised:
        with torch.cuda.stream(self._stream):
            # Other threads may take memory meanwhile, which has nothing to do with this.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                results = work()
            except BaseException:
                # The first error is the one to tell; this one only says that there was one.
                with suppress(RuntimeError):
                    graph.capture_end()
                raise
            graph.capture_end()
        return results

    def _free_bytes(self) -> int:
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(self._device)
        return free
