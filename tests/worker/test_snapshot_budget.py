"""A worker whose snapshots have no room: the stream goes on and says so, and what is stored is of use."""

from genlock_core.claims.claims import MoveCause
from genlock_core.claims.snapshot_budget import SnapshotBudget
from genlock_core.link.messages import After
from tests.worker.gateway import FakeGateway, Publisher, until
from tests.worker.house import SESSION, House, kill

OTHER = "default/other"


async def test_a_stream_without_room_for_its_snapshot_goes_on_and_is_stored_once_there_is_room(
    home: House, gateway: FakeGateway, publisher: Publisher
) -> None:
    budget = SnapshotBudget(home.store)
    await budget.settle(1_000)
    worker = await home.start_worker("w0")
    await home.session()
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch, publisher=True)
    publisher.aim(gateway.link_of(viewer), viewer.channel)

    await until(lambda: viewer.reports and viewer.reports[-1].snapshot.short, "a snapshot without room")
    said = viewer.reports[-1].snapshot
    assert said.error.startswith("room: no room for "), said
    assert said.error.endswith(" bytes, none is stored")
    shown = len(viewer.media)
    await until(lambda: len(viewer.media) > shown + 16, "pictures go on")
    await until(
        lambda: worker.registry.get_sample_value("genlock_snapshot_short_sessions") == 1, "a session without room"
    )
    assert await worker.agent._services.snapshots.take_over(SESSION, claim.epoch) is None

    await budget.settle(None)
    await until(lambda: viewer.reports[-1].snapshot.chunk > 3, "a snapshot that is stored")
    assert (viewer.reports[-1].snapshot.short, viewer.reports[-1].snapshot.error) == (False, "")

    def room(part: str) -> float:
        return worker.registry.get_sample_value("genlock_snapshot_room_bytes", {"part": part}) or 0.0

    await until(lambda: room("granted") >= room("held") > 1_000, "its room in the metrics")
    assert (await budget.bookings()).booked >= room("held")


async def test_a_session_whose_worker_dies_goes_on_from_what_is_stored_and_takes_its_bytes_along(
    home: House, gateway: FakeGateway, publisher: Publisher
) -> None:
    budget = SnapshotBudget(home.store)
    worker = await home.start_worker("w0")
    await home.session()
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch, publisher=True)
    publisher.aim(gateway.link_of(viewer), viewer.channel)
    await until(lambda: viewer.reports and viewer.reports[-1].snapshot.chunk > 3, "some chunks are stored")
    digest = viewer.reports[-1].sink_digest
    await worker.agent.sessions[SESSION].flush()
    await kill(worker)
    home.workers.remove(worker)

    # While nobody has the session its bytes are counted, and they are all that there is.
    booked = (await budget.bookings()).booked
    await budget.settle(booked)
    second = await home.start_worker("w1")
    move = await home.claims.move(SESSION, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.REFUSED)
    last = viewer.media[-1]
    again = await gateway.open(
        second.address,
        SESSION,
        move.claim.epoch,
        publisher=True,
        after=After(run=last.run, capture_us=last.unit.capture_us),
    )
    publisher.aim(gateway.link_of(again), again.channel)
    await until(lambda: again.reports and again.reports[-1].restored, "a restored session")
    assert again.reports[-1].sink_digest == digest
    chunk = again.reports[-1].snapshot.chunk
    await until(lambda: again.reports[-1].snapshot.chunk > chunk, "it is stored on")
    assert (await budget.bookings()).booked <= booked
