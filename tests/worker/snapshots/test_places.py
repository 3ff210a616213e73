"""What was in flight is shown where it stands in the source, also by the worker that has it from a snapshot."""

import numpy as np
import pytest

from genlock_core.errors import SnapshotRefused
from genlock_core.media import SourcePosition
from genlock_core.stream_state.snapshot import Snapshot, decode, encode_delta
from genlock_worker.engines.contract import ChunkState, EngineState
from genlock_worker.output.pacing import Pacer
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.rows.listener import GeneratedChunk
from genlock_worker.rows.session_rows import SessionChunk
from genlock_worker.snapshots.places import positions_of
from genlock_worker.snapshots.writer import to_checkpoint, to_snapshot

FPS = 20
UNEVEN = tuple(SourcePosition(1, ms * 1_000) for ms in (0, 50, 100, 900))
"""Of a source that brought nothing for a while."""


def restored(places: tuple[SourcePosition, ...]) -> Checkpoint:
    """A checkpoint with one chunk in flight, as a worker reads it that another one wrote."""
    chunk = ChunkState(7, 4, 4, 1, first_frame=8, latents=1, pictures=4, attributes={})
    written = Checkpoint(EngineState(7, (chunk,), {}, {}), {7: places}, places[-1])
    snapshot = to_snapshot(written, session="s", model="m", version=2, epoch=5, control_id="0-0")
    delta = encode_delta(snapshot, written={})
    return to_checkpoint(decode(delta.head, delta.blocks, session="s", model="m"))


def shown(checkpoint: Checkpoint) -> list[SourcePosition]:
    """Where the pictures of its chunk stand when they go out."""
    chunk = SessionChunk(index=7, steps=4, rows=4, complete_s=1.0, positions=checkpoint.positions[7])
    generated = GeneratedChunk(np.zeros((4, 2, 2, 3), np.uint8), chunk, 1.0, checkpoint)
    return [frame.position for frame in Pacer(frame_rate=FPS, deadline_s=1.0).frames(generated)]


def test_pictures_of_a_restored_chunk_stand_where_their_source_frames_do() -> None:
    assert shown(restored(UNEVEN)) == list(UNEVEN), "taken for even, the first would come after the third"


def test_of_what_the_release_before_has_stored_the_last_picture_is_known_and_the_others_are_taken_for_even() -> None:
    places = [place.capture_us for place in shown(restored(UNEVEN[-1:]))]
    assert places == [750_000, 800_000, 850_000, 900_000]


def test_a_snapshot_that_names_two_ends_of_a_chunk_is_refused() -> None:
    snapshot = Snapshot("s", "m", 2, 5, 7, "0-0", {}, {}, {}, UNEVEN[-1], {7: UNEVEN[:2]})
    with pytest.raises(SnapshotRefused, match="chunk 7 ends at"):
        positions_of(snapshot, {7: UNEVEN[-1]})
