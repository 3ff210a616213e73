"""Where latent frames stand in time for the rotary embedding. Pure; decided on the host for every row.

Attention sees differences of these indices only, and a key keeps the index under which it was written. Three ways to
count (`config.Positions`):

- ABSOLUTE: a frame's number since the session began. The distance to the sinks grows without end, beyond anything the
  model was trained with.
- REFRESHED: the same up to 50; from there on the counter returns to the end of the ring every 45 frames, while what the
  ring holds keeps its old index: right after a return the recent past seems to lie in the far future (the reference's
  online demo, kept to be compared with).
- RELATIVE: as if a frame's index were its place in the ring, 0..N-1: the sinks first, then the window up to the newest
  frame. Within the window only differences count, so the frames' numbers do. A sink has its slot's number, and the
  newest frame meets the sinks from the last place, N-1. Equal to ABSOLUTE until the ring is full and the same for ever
  after.
"""

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import Positions

REFRESH_AT = 50
"""The temporal index that is never reached in REFRESHED."""


def frame_index(mode: Positions, layout: RingLayout, frame: int) -> int:
    """Temporal index of latent frame `frame` (0, 1, ...): of its key, and of its query to the window."""
    return _refreshed(frame, layout) if mode is Positions.REFRESHED else frame


def index_to_sinks(mode: Positions, layout: RingLayout, frame: int, newest: int) -> int:
    """Temporal index of frame `frame`'s query to the sinks, while `newest` is the newest frame that was written."""
    if mode is Positions.RELATIVE:
        return frame - max(0, newest - (layout.slots - 1))
    return frame_index(mode, layout, frame)


def sink_index(mode: Positions, layout: RingLayout, sink: int, frame: int) -> int:
    """Temporal index of the key of frame `frame` as the sink in slot `sink`."""
    return sink if mode is Positions.RELATIVE else frame_index(mode, layout, frame)


def _refreshed(frame: int, layout: RingLayout) -> int:
    first = layout.slots - 1
    return frame if frame < REFRESH_AT else first + (frame - REFRESH_AT) % (REFRESH_AT - first)
