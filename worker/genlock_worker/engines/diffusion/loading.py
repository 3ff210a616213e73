"""From the worker's settings to a diffusion engine: the one place that knows how its parts are put together."""

import logging
from collections.abc import Sequence

import torch

from genlock_core.clock import Clock
from genlock_core.errors import GenlockError
from genlock_core.spec.session import Resolution
from genlock_worker.engines.diffusion.components import choose_device, choose_dtype, load_components
from genlock_worker.engines.diffusion.engine import DiffusionEngine
from genlock_worker.engines.diffusion.execution.capturing import graph_bytes
from genlock_worker.engines.diffusion.execution.forward import make_forward
from genlock_worker.engines.diffusion.execution.graphs import GraphForward
from genlock_worker.engines.diffusion.options import DiffusionSettings
from genlock_worker.engines.diffusion.weights.model_files import model_config, size_words

logger = logging.getLogger(__name__)


class ModelTooLarge(GenlockError):
    """The device has too little memory for the model itself."""


def load_engine(
    model: str, settings: DiffusionSettings, clock: Clock, *, sizes: Sequence[Resolution] = ()
) -> DiffusionEngine:
    """Load a model and make the engine that serves it; its progress is in the log. Takes seconds to minutes. `sizes`:
    those for which graphs will be captured, if the settings want any.

    Sets the number of PyTorch's CPU threads, which is the process'. Raises GenlockError: UnknownModel, MissingWeights,
    WrongCheckpoint, DeviceMissing, ModelTooLarge and others that say what the machine lacks.
    """
    config = model_config(model)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)

    device = choose_device(settings.device)
    dtype = choose_dtype(settings.dtype, device)
    try:
        components = load_components(
            config,
            weights=settings.weights,
            device=device,
            dtype=dtype,
            options=settings.load,
            stream=settings.stream,
            progress=lambda line: logger.info("%s", line),
        )
        forward = make_forward(components.transformer, settings.forward)
        set_aside_bytes = 0
        if isinstance(forward, GraphForward):
            set_aside_bytes = graph_bytes(components.transformer, sizes)
            logger.info("%s of memory are kept for CUDA graphs", size_words(set_aside_bytes))
    except torch.OutOfMemoryError as error:
        raise ModelTooLarge(f"{model} does not fit into the memory of {device}: {error}") from error

    return DiffusionEngine(
        components,
        options=settings.stream,
        forward=forward,
        memory_limit_bytes=settings.memory_limit_bytes,
        clock=clock,
        overlap=settings.overlap,
        set_aside_bytes=set_aside_bytes,
    )
