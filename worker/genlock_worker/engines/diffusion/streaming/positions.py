"""Where latent frames stand in time for the rotary embedding. Pure; decided on the host for every row.

Attention sees differences of these indices only. Three ways to count (`config.Positions`):

- ABSOLUTE: a frame's number since the session began. The distance to the sinks grows without end, beyond anything the
  model was trained with.
- REFRESHED: the same up to 50; from there on the counter returns to the end of the ring every 45 frames, while what the
  ring holds keeps its old index: right after a return the recent past seems to lie in the far future (the reference's
  online demo, kept to be compared with).
- RELATIVE: a frame's place in the ring, 0..N-1: the sinks first, then the window up to the newest frame. Equal to
  ABSOLUTE until the ring is full and the same for ever after; distances within the window are always the true ones.
"""

from collections.abc import Sequence

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import Positions

REFRESH_AT = 50
"""The temporal index that is never reached in REFRESHED."""


def frame_index(mode: Positions, layout: RingLayout, frame: int, newest: int) -> int:
    """Temporal index of latent frame `frame` (0, 1, ...), not a sink's, while `newest` is the newest one written."""
    if mode is Positions.RELATIVE:
        return frame - max(0, newest - (layout.slots - 1))
    return _refreshed(frame, layout) if mode is Positions.REFRESHED else frame


def slot_indices(mode: Positions, layout: RingLayout, slot_frames: Sequence[int], newest: int) -> tuple[int, ...]:
    """Temporal index of what each filled slot holds; `slot_frames[j]` is the frame in slot j.

    In RELATIVE a slot that holds a sink has the slot's own number, also once the sink was replaced by a later frame.
    """
    if mode is Positions.RELATIVE:
        return tuple(
            slot if slot < layout.sinks else frame_index(mode, layout, frame, newest)
            for slot, frame in enumerate(slot_frames)
        )
    return tuple(frame_index(mode, layout, frame, newest) for frame in slot_frames)


def _refreshed(frame: int, layout: RingLayout) -> int:
    first = layout.slots - 1
    return frame if frame < REFRESH_AT else first + (frame - REFRESH_AT) % (REFRESH_AT - first)
