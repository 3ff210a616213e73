"""How a micro-step's forward is run: as it is, with compiled blocks, as CUDA graphs.

Laid over the network from outside: the transformer knows nothing of it, and the result is the same to rounding.
"""

import logging
from collections.abc import Callable

import torch

from genlock_core.errors import GenlockError
from genlock_worker.engines.diffusion.execution.capture import CudaCapture
from genlock_worker.engines.diffusion.execution.graphs import GraphForward
from genlock_worker.engines.diffusion.network.ring_ops import TorchRingOps
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.engines.diffusion.network.transformer import CausalWan
from genlock_worker.engines.diffusion.options import ForwardOptions

logger = logging.getLogger(__name__)

Forward = Callable[[RowBatch], Denoised]

PURE_PARTS = ("before_ring", "between", "after_prompt")
"""What of a block is compiled: the parts without side effects. Attention has kernels of its own."""


class CompileUnavailable(GenlockError):
    """torch.compile does not work on this machine."""


class GraphsUnavailable(GenlockError):
    """The network's attention cannot be captured in a CUDA graph."""


def make_forward(model: CausalWan, options: ForwardOptions) -> Forward:
    """The forward that the engine calls. Changes `model` if it is to be compiled: one model, one forward.

    Compiling itself happens with the first batches (seconds each time that a shape is new); graphs are there once they
    are captured (`GraphForward`). Raises CompileUnavailable where it cannot work, and GraphsUnavailable.
    """
    device = next(model.parameters()).device
    if options.compile:
        _check_compiler(device)
        _compile(model)
    if options.cuda_graphs and device.type != "cuda":
        logger.warning("CUDA graphs are switched on, but the model is on %s: every forward runs as it is", device)
    elif options.cuda_graphs and not model.ops.static:
        raise GraphsUnavailable(
            "a CUDA graph fixes the sizes of all that it reads, and PyTorch's attention is called with those of each "
            "row's ring: start with --kernels triton, or without --cuda-graphs"
        )
    elif options.cuda_graphs:
        return GraphForward(model, CudaCapture(device))
    return model


def _compile(model: CausalWan) -> None:
    """Rows come and go, so their number is a symbol of the compiled code; the blocks share it."""
    for block in model.blocks:
        for part in PURE_PARTS:
            setattr(block, part, torch.compile(getattr(block, part), dynamic=True))
    if isinstance(model.ops, TorchRingOps):
        model.ops.normed = torch.compile(model.ops.normed, dynamic=True)


def _check_compiler(device: torch.device) -> None:
    """Compile next to nothing, so that a missing compiler is known at start and not with the first viewer."""
    one = torch.ones(16, device=device)
    try:
        torch.compile(_probe)(one)
    except Exception as error:  # whatever the compiler's many layers raise
        reason = str(error).strip().splitlines()[0]
        raise CompileUnavailable(
            f"torch.compile does not work on {device}: {reason}; install a C compiler, or leave compile off"
        ) from error


def _probe(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + 1.0
