"""Which input chunk a session may be fed next: the same for every engine."""

import numpy as np

from genlock_worker.engines.contract import Chunk, StreamSettings, chunk_frames


def check_chunk(chunk: Chunk, settings: StreamSettings, *, expected: int) -> None:
    """Raise ValueError unless `chunk` has the number `expected` and the frames that the settings call for."""
    if chunk.index != expected:
        raise ValueError(f"chunk {expected} comes next, not {chunk.index}")
    if chunk.frames is None:
        if not settings.text_only:
            raise ValueError(f"chunk {chunk.index} has no frames, but the session has a source")
        return

    shape = (chunk_frames(chunk.index), settings.height, settings.width, 3)
    if settings.text_only or chunk.frames.shape != shape or chunk.frames.dtype != np.uint8:
        raise ValueError(f"chunk {chunk.index}: uint8 {shape} expected, not {chunk.frames.dtype} {chunk.frames.shape}")
