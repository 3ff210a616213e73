"""A worker whose sessions decode out of process: one decoder's death is one session's pause, and nothing is left."""

import asyncio
import signal

from genlock_worker.intake.out_of_process.decoder import OutOfProcessDecoder
from genlock_worker.intake.out_of_process.nursery import Nursery
from genlock_worker.worker import Worker
from tests.worker.gateway import FakeGateway, Publisher, Viewer, until
from tests.worker.house import House, kill
from tests.worker.intake.out_of_process.nurseries import children_of, is_gone, pid_of, send

MINE, OTHER = "default/mine", "default/other"


def decoder_of(worker: Worker, session: str) -> OutOfProcessDecoder:
    publisher = worker.agent.sessions[session].intake.publisher
    assert publisher is not None
    assert isinstance(publisher._decoder, OutOfProcessDecoder)
    return publisher._decoder


def processes(worker: Worker) -> list[int]:
    """The nursery and its decoders."""
    live = next(iter(worker.agent.sessions.values()))
    nursery = live._services.decoding
    assert isinstance(nursery, Nursery)
    assert nursery._process is not None
    return [nursery._process.pid, *children_of(nursery._process.pid)]


async def watch(home: House, gateway: FakeGateway, session: str, publisher: Publisher) -> Viewer:
    await home.session(session)
    claim = await home.claims.claim(session)
    viewer = await gateway.open(claim.address, session, claim.epoch, publisher=True)
    publisher.aim(gateway.link_of(viewer), viewer.channel)
    await until(lambda: len(viewer.media) >= 9, f"pictures of {session}")
    return viewer


async def test_one_decoder_dies_and_the_other_sessions_pictures_go_on(home: House, gateway: FakeGateway) -> None:
    worker = await home.start_worker("w0", decode_process=True)
    mine, other = Publisher(), Publisher()
    try:
        viewer = await watch(home, gateway, MINE, mine)
        neighbour = await watch(home, gateway, OTHER, other)
        asked = viewer.key_frames_wanted
        had = len(neighbour.media)
        send(pid_of(decoder_of(worker, MINE)), signal.SIGSEGV)
        await until(lambda: viewer.key_frames_wanted > asked, "a key frame is asked for")
        lost_at = mine.index
        await until(lambda: len(neighbour.media) >= had + 17, "the other's pictures")
        assert neighbour.key_frames_wanted == 0
        assert viewer.media[-1].unit.capture_us < lost_at * 1_000_000 / mine.rate, "it waits for its key frame"

        again_at = mine.index
        mine.force_key_frame()
        await until(
            lambda: viewer.media[-1].unit.capture_us > (again_at + 8) * 1_000_000 / mine.rate, "its pictures again"
        )
        value = worker.registry.get_sample_value("genlock_worker_decoder_losses_total", {"reason": "died"})
        assert value == 1
        assert {viewer.closed, neighbour.closed} == {None}, "nobody moved"
    finally:
        await mine.stop()
        await other.stop()


async def test_a_session_that_ends_takes_its_decoder_with_it(home: House, gateway: FakeGateway) -> None:
    worker = await home.start_worker("w0", decode_process=True)
    publisher = Publisher()
    try:
        await watch(home, gateway, MINE, publisher)
        pid = pid_of(decoder_of(worker, MINE))
        send(pid, signal.SIGSTOP)  # it would not end by itself
        await worker.agent.sessions[MINE].close("the test wants it")
        await until(lambda: is_gone(pid), "its end")
    finally:
        await publisher.stop()


async def test_a_worker_that_drains_leaves_no_process_behind(home: House, gateway: FakeGateway) -> None:
    leaving = await home.start_worker("w0", decode_process=True)
    publisher = Publisher()
    try:
        await watch(home, gateway, MINE, publisher)
        everybody = processes(leaving)
        assert len(everybody) == 3, "the nursery, the session's decoder and a spare one"
        await home.start_worker("w1", decode_process=True)
        drained = asyncio.create_task(leaving.drain())
        await publisher.stop()
        await gateway.close()
        assert await drained
        await leaving.stop()
        for pid in everybody:
            await until(lambda pid=pid: is_gone(pid), f"the end of {pid}")  # type: ignore[misc]
    finally:
        await publisher.stop()


async def test_a_worker_that_is_cut_short_leaves_no_process_behind(home: House, gateway: FakeGateway) -> None:
    worker = await home.start_worker("w0", decode_process=True)
    publisher = Publisher()
    try:
        await watch(home, gateway, MINE, publisher)
        everybody = processes(worker)
        await kill(worker)
        await worker.stop()
        for pid in everybody:
            await until(lambda pid=pid: is_gone(pid), f"the end of {pid}")  # type: ignore[misc]
    finally:
        await publisher.stop()
