"""The pictures of chunks that are finished: decoded one after the other, each told apart if it cannot be shown."""

import logging
from collections.abc import Mapping

import torch
from torch import Tensor

from genlock_worker.engine import Frames, Row
from genlock_worker.engines.diffusion.network.vae import StreamingVae, VaeStream
from genlock_worker.engines.diffusion.streaming.device_progress import DeviceProgress

logger = logging.getLogger(__name__)


def decode(
    vae: StreamingVae, finished: Mapping[Row, tuple[VaeStream, Tensor]], *, progress: DeviceProgress
) -> dict[Row, Frames]:
    """The pictures (frames, height, width, 3) of each chunk's last row, of its session's stream and output latents.

    A chunk that cannot be decoded, or whose pictures are not finite, is left out, and logged. Waits for the device once
    all work is queued, for one chunk after the other.
    """
    decoded: dict[Row, tuple[Tensor, Tensor]] = {}
    for row, (stream, latents) in finished.items():
        try:
            pixels = vae.decode(stream, latents)
            decoded[row] = _download(pixels), _download(_is_finite(stream.finite, vae.device))
        except RuntimeError as problem:  # torch.OutOfMemoryError is one
            logger.error("%s: chunk %d cannot be decoded: %s", row.session, row.chunk, problem)
        else:
            progress.queued()
    progress.wait()
    outputs: dict[Row, Frames] = {}
    for row, (pixels, finite) in decoded.items():
        if bool(finite):
            outputs[row] = pixels.numpy()
        else:
            logger.error("%s: chunk %d cannot be shown: its pictures are not finite", row.session, row.chunk)
    return outputs


def _download(tensor: Tensor) -> Tensor:
    """Queue a copy to the host, to be read once the device was waited for."""
    if tensor.device.type != "cuda":
        return tensor
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)


def _is_finite(told: Tensor | None, device: torch.device) -> Tensor:
    return torch.ones((), dtype=torch.bool, device=device) if told is None else told
