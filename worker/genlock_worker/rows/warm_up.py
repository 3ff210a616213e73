"""What an engine does once before its first user comes: kernels are chosen, memory is taken, code is compiled."""

import numpy as np

from genlock_worker.engines.contract import Chunk, Engine, StreamSettings, chunk_frames
from genlock_worker.engines.stepwise import Stepwise

WARM_UP = "warm-up"
"""The session's name."""


def run_first_chunks(engine: Engine, settings: StreamSettings) -> None:
    """Open a session that no user has, generate its first chunk and a later one, restore it, and forget it.

    It is restored because the first restore takes twice as long as a later one, and the first session that needs one
    has just lost its worker. Raises what the engine raises, BatchLost.
    """
    stepwise = Stepwise(engine)
    try:
        stepwise.open(WARM_UP, settings)
        for index in (0, 1):
            black = np.zeros((chunk_frames(index), settings.height, settings.width, 3), np.uint8)
            stepwise.show(WARM_UP, Chunk(index, black))
        state = stepwise.snapshot(WARM_UP)
        stepwise.close(WARM_UP)
        stepwise.restore(f"{WARM_UP} again", settings, state)
    finally:
        stepwise.close(WARM_UP)
        stepwise.close(f"{WARM_UP} again")
