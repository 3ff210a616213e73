"""Sessions that an earlier release left in Redis go on in today's worker: sinks, what was in flight, the place."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from genlock_core.store import connect
from genlock_core.stream_state.snapshot import decode
from genlock_core.stream_state.snapshot_store import SnapshotStore
from tests.releases.record import ENGINES, SESSIONS, watched
from tests.releases.recorded import RecordedSnapshot, recorded_snapshots
from tests.worker.gateway import Viewer, until

RECORDED = list(recorded_snapshots())
MORE_CHUNKS = 3


def in_flight(recorded: RecordedSnapshot) -> list[list[int]]:
    """(index, steps, done, run, capture_us) of each chunk in flight, as format 1 has them."""
    snapshot = decode(recorded.head, recorded.blocks, session=recorded.session, model=recorded.facts["model"])
    flights = snapshot.attributes["flights"]
    assert isinstance(flights, list)
    return flights  # type: ignore[return-value]


async def leave_in_redis(recorded: RecordedSnapshot, redis_url: str) -> None:
    """Store it as the worker that wrote it did."""
    store = connect(redis_url)
    session = recorded.session
    snapshot = decode(recorded.head, recorded.blocks, session=session, model=recorded.facts["model"])
    await SnapshotStore(store).take_over(session, snapshot.epoch)
    await SnapshotStore(store).write(
        session,
        epoch=snapshot.epoch,
        chunk=snapshot.chunk,
        head=recorded.head,
        blocks=recorded.blocks,
        keep=frozenset(),
    )
    await store.aclose()


@pytest.mark.process
@pytest.mark.parametrize("engine", list(ENGINES))
async def test_recorded_sessions_go_on_with_their_sinks_and_lose_no_chunk_that_was_in_flight(
    redis_url: str, tmp_path: Path, engine: str
) -> None:
    of_engine = {one.facts["name"]: one for one in RECORDED if one.facts["engine"] == engine}
    assert set(of_engine) == set(SESSIONS)
    for one in of_engine.values():
        await leave_in_redis(one, redis_url)
    async with watched(engine, redis_url=redis_url, logs=tmp_path, code=None) as viewers:
        for name, viewer in viewers.items():
            await _assert_goes_on(of_engine[name], viewer)


async def _assert_goes_on(recorded: RecordedSnapshot, viewer: Viewer) -> None:
    snapshot = decode(recorded.head, recorded.blocks, session=recorded.session, model=recorded.facts["model"])
    await until(
        lambda: viewer.media and viewer.reports and viewer.reports[-1].chunk >= snapshot.chunk + MORE_CHUNKS,
        f"{recorded.name} going on",
    )
    report = viewer.reports[-1]
    assert report.restored, recorded.name
    assert report.sink_digest == recorded.facts["sinkDigest"], recorded.name

    # The first pictures are those of the oldest chunk that was in flight, or else of the first one after the snapshot.
    assert snapshot.source is not None
    flights = in_flight(recorded)
    first, last = viewer.media[0].unit.capture_us, snapshot.source.capture_us
    assert first <= flights[0][4] if flights else first > last, recorded.name


def test_chunks_were_in_flight_when_the_sessions_were_recorded() -> None:
    """Otherwise the test above shows less than it says."""
    counts: dict[str, Sequence[tuple[int, int]]] = {
        one.name: [(steps, done) for _, steps, done, _, _ in in_flight(one)] for one in RECORDED
    }
    assert max(len(of_one) for of_one in counts.values()) >= 3
    assert any({2, 4} <= {steps for steps, _ in of_one} for of_one in counts.values())
    assert {done for of_one in counts.values() for _, done in of_one} >= {1, 2, 3}
