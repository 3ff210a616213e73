"""A session that its user resets: the picture begins anew, and no worker goes back to what was before."""

from genlock_core.claims.claims import MoveCause
from genlock_core.link.messages import After
from genlock_core.stream_state.control import ControlChange, ControlStream
from tests.worker.gateway import FakeGateway, Publisher, Viewer, until
from tests.worker.house import SESSION, House, kill


async def reset(home: House, number: int) -> None:
    control = ControlStream(home.store)
    change = ControlChange(reset=True)
    entry = await control.append(SESSION, client="c", number=number, change=change)
    await home.claims.remember_control(SESSION, change.to_fields(), entry)


def after_what_was_shown(viewer: Viewer) -> After:
    last = viewer.media[-1]
    return After(run=last.run, capture_us=last.unit.capture_us)


async def test_a_reset_gives_the_stream_new_sinks_and_no_new_worker(
    home: House, gateway: FakeGateway, publisher: Publisher
) -> None:
    worker = await home.start_worker("w0")
    await home.session()
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch, publisher=True)
    publisher.aim(gateway.link_of(viewer), viewer.channel)
    await until(lambda: viewer.reports and viewer.reports[-1].chunk > 8, "some chunks")
    before = viewer.reports[-1].sink_digest
    await reset(home, 1)
    gateway.link_of(viewer).nudge_control(viewer.channel)
    await until(lambda: viewer.reports[-1].chunk < 8, "the first chunks once more")
    await until(lambda: viewer.reports[-1].sink_digest not in ("", before), "other sinks")
    positions = [(media.run, media.unit.capture_us) for media in viewer.media]
    assert positions == sorted(set(positions)), "no frame of the source is shown twice"
    await until(lambda: viewer.reports[-1].chunk > 3, "chunks that are stored")
    digest = viewer.reports[-1].sink_digest
    await worker.agent.sessions[SESSION].flush()
    await kill(worker)
    home.workers.remove(worker)
    second = await home.start_worker("w1")
    move = await home.claims.move(SESSION, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.REFUSED)
    again = await gateway.open(
        second.address, SESSION, move.claim.epoch, publisher=True, after=after_what_was_shown(viewer)
    )
    publisher.aim(gateway.link_of(again), again.channel)
    await until(lambda: again.reports and again.reports[-1].sink_digest == digest, "the sinks of after the reset")
    assert again.reports[-1].restored


async def test_a_reset_that_nobody_followed_any_more_is_followed_by_the_next_worker(
    home: House, gateway: FakeGateway, publisher: Publisher
) -> None:
    worker = await home.start_worker("w0")
    await home.session()
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch, publisher=True)
    publisher.aim(gateway.link_of(viewer), viewer.channel)
    await until(lambda: viewer.reports and viewer.reports[-1].chunk > 4, "some chunks")
    digest = viewer.reports[-1].sink_digest
    await worker.agent.sessions[SESSION].flush()
    await kill(worker)
    home.workers.remove(worker)
    await reset(home, 1)
    second = await home.start_worker("w1")
    move = await home.claims.move(SESSION, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.REFUSED)
    again = await gateway.open(
        second.address, SESSION, move.claim.epoch, publisher=True, after=after_what_was_shown(viewer)
    )
    publisher.aim(gateway.link_of(again), again.channel)
    await until(lambda: again.reports and again.reports[-1].sink_digest not in ("", digest), "other sinks")
    assert not again.reports[-1].restored
    assert again.reports[-1].chunk < 5
    third = await home.start_worker("w2")
    await until(lambda: again.reports[-1].chunk > 4, "chunks that are stored")
    digest = again.reports[-1].sink_digest
    await second.agent.sessions[SESSION].flush()
    await kill(second)
    home.workers.remove(second)
    move = await home.claims.move(SESSION, expected_epoch=move.claim.epoch, suspect="w1", cause=MoveCause.REFUSED)
    last = await gateway.open(
        third.address, SESSION, move.claim.epoch, publisher=True, after=after_what_was_shown(again)
    )
    publisher.aim(gateway.link_of(last), last.channel)
    await until(lambda: last.reports and last.reports[-1].sink_digest == digest, "a reset is followed once")
    assert last.reports[-1].restored
