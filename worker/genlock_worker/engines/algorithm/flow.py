"""Flow matching: how much noise a timestep stands for, and which timesteps the denoising steps have.

A row at timestep t holds x_t = (1 - sigma) * x0 + sigma * eps; the network is asked for v = eps - x0. The schedule has
1000 levels, shifted by 8 towards noise, as the published models were distilled (StreamDiffusionV2, configurations).
"""

import numpy as np

SHIFT = 8.0
V2V_STEPS = (700, 500, 400, 200)
"""Timesteps of rows 0-3 that repaint a camera; row 0 takes the noise controller's, from the second chunk on."""
T2V_STEPS = (1000, 750, 500, 250, 0)
"""Timesteps of rows 0-3 that start from noise alone; the last is that of the row that writes a clean cache."""
MAX_STEPS = len(V2V_STEPS)

_RAW = np.linspace(1.0, 0.0, 1001)[:-1]
_LEVELS = SHIFT * _RAW / (1.0 + (SHIFT - 1.0) * _RAW)
_LEVELS.setflags(write=False)


def sigma(timestep: float) -> float:
    """Noise level (0.0079 to 1) of a timestep (0-1000): the nearest of the schedule's 1000 levels."""
    return float(_LEVELS[np.argmin(np.abs(1000.0 * _LEVELS - timestep))])


def step_list(steps: int, *, text_only: bool) -> tuple[int, ...]:
    """Timesteps of a chunk's rows: the first `steps` of the list, and the clean row where there is no camera.

    Raises ValueError unless 1 <= steps <= 4.
    """
    if not 1 <= steps <= MAX_STEPS:
        raise ValueError(f"steps must be 1 to {MAX_STEPS}, not {steps}")
    return (*T2V_STEPS[:steps], T2V_STEPS[-1]) if text_only else V2V_STEPS[:steps]
