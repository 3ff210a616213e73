"""From the worker's settings to a diffusion engine: the one place that knows how its parts are put together."""

import logging

import torch

from genlock_core.clock import Clock
from genlock_core.errors import GenlockError
from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.components import LoadOptions, choose_device, choose_dtype, load_components
from genlock_worker.engines.diffusion.config import StreamOptions
from genlock_worker.engines.diffusion.engine import DiffusionEngine
from genlock_worker.engines.diffusion.execution.forward import ForwardOptions, make_forward
from genlock_worker.engines.diffusion.options import DiffusionSettings
from genlock_worker.engines.diffusion.weights.model_files import model_config

logger = logging.getLogger(__name__)


class ModelTooLarge(GenlockError):
    """The device has too little memory for the model itself."""


def load_engine(model: str, settings: DiffusionSettings, clock: Clock) -> DiffusionEngine:
    """Load a model and make the engine that serves it; its progress is in the log. Takes seconds to minutes.

    Sets the number of PyTorch's CPU threads, which is the process'. Raises GenlockError: UnknownModel, MissingWeights,
    WrongCheckpoint, DeviceMissing, ModelTooLarge and others that say what the machine lacks.
    """
    config = model_config(model)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    dtype = choose_dtype(settings.dtype, device)
    options = stream_options(settings)
    try:
        components = load_components(
            config,
            weights=settings.weights,
            device=device,
            dtype=dtype,
            options=load_options(settings),
            progress=lambda line: logger.info("%s", line),
        )
        forward = make_forward(components.transformer, forward_options(settings, device))
    except torch.OutOfMemoryError as error:
        raise ModelTooLarge(f"{model} does not fit into the memory of {device}: {error}") from error
    return DiffusionEngine(
        components,
        options=options,
        forward=forward,
        memory_limit_bytes=settings.memory_limit_bytes,
        clock=clock,
        overlap=settings.overlap,
    )


def stream_options(settings: DiffusionSettings) -> StreamOptions:
    """The streaming algorithm's options."""
    return StreamOptions(
        ring=RingLayout(settings.ring_frames, settings.sink_frames),
        positions=settings.positions,
        sink_threshold=settings.sink_threshold,
        normalise_latents=settings.normalise_latents,
        primed_chunks=settings.primed_chunks,
        refresh_on_prompt=settings.refresh_on_prompt,
    )


def load_options(settings: DiffusionSettings) -> LoadOptions:
    """How the model is put together."""
    return LoadOptions(
        random_weights=settings.random_weights,
        text_device=settings.text_device,
        keep_text_encoder=settings.keep_text_encoder,
        decoder=settings.decoder,
        channels_last=settings.channels_last,
        fp8=settings.fp8,
        normalise_latents=settings.normalise_latents,
        attention=settings.attention,
        ring=RingLayout(settings.ring_frames, settings.sink_frames),
    )


def forward_options(settings: DiffusionSettings, device: torch.device) -> ForwardOptions:
    """How its forwards are run: graphs are for GPUs."""
    return ForwardOptions(compile=settings.compile, cuda_graphs=settings.cuda_graphs and device.type == "cuda")
