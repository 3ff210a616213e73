"""What an engine does once before its first user comes: kernels are chosen, memory is taken, code is compiled."""

import numpy as np

from genlock_worker.engines.contract import Chunk, Engine, Row, StreamSettings, chunk_frames

WARM_UP = "warm-up"
"""The session's name."""


def run_first_chunks(engine: Engine, settings: StreamSettings) -> None:
    """Open a session that no user has, generate its first chunk and a later one, restore it, and forget it.

    It is restored because the first restore takes twice as long as a later one, and the first session that needs one
    has just lost its worker.
    """
    try:
        engine.prepare(settings.prompt)
        engine.open(WARM_UP, settings)
        for index in (0, 1):
            black = np.zeros((chunk_frames(index), settings.height, settings.width, 3), np.uint8)
            for step in range(engine.feed(WARM_UP, Chunk(index, black))):
                results = engine.run([Row(WARM_UP, step, index)])
            if results[0].pictures is not None:
                results[0].pictures.result()
        state = engine.snapshot(WARM_UP)
        engine.close(WARM_UP)
        engine.restore(WARM_UP, settings, state)
    finally:
        engine.close(WARM_UP)
