"""Where the source frames of what is in flight stand, as every format of a snapshot has them: in the head's facts.

The formats name the last frame of each chunk. The others are not evenly before it: a source may have had a gap there. A
picture that is taken for a newer one than it is would be shown after a newer one.
"""

from collections.abc import Mapping

from genlock_core.errors import SnapshotRefused
from genlock_core.media import SourcePosition
from genlock_core.stream_state.snapshot import Snapshot


def positions_of(snapshot: Snapshot, last: Mapping[int, SourcePosition]) -> Mapping[int, tuple[SourcePosition, ...]]:
    """The places of each chunk's frames, the last of which is known. Raises SnapshotRefused where the two differ.

    A snapshot of the release before has the last one of each chunk alone.
    """
    positions = {index: snapshot.places.get(index) or (place,) for index, place in last.items()}
    for index, places in positions.items():
        if places[-1] != last[index]:
            raise SnapshotRefused(snapshot.session, f"chunk {index} ends at {places[-1]} and at {last[index]}")
    return positions
