"""A whole worker with a real Redis and a real link: what a gateway sees of it."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from genlock_core.claims.claims import MoveCause
from genlock_core.link.messages import After, RefusalReason
from genlock_core.media import Codec
from genlock_core.spec.session import Phase
from genlock_core.stream_state.control import ControlChange, ControlStream
from genlock_core.stream_state.snapshot_store import SnapshotStore
from genlock_worker.engines.contract import Row
from genlock_worker.engines.mock.device import DeviceLost, Faults
from genlock_worker.intake.pattern import draw
from genlock_worker.session.live_session import End, State
from tests.worker.gateway import FakeGateway, Publisher, Viewer, until
from tests.worker.house import SESSION, House, house, kill


def shown_after(viewer: Viewer) -> After:
    last = viewer.media[-1]
    return After(run=last.run, capture_us=last.unit.capture_us)


class Faulty(Faults):
    """A device that fails or hangs when it is told to."""

    def __init__(self) -> None:
        self.fail_next: str | None = None
        self.broken = False
        self.hang = threading.Event()
        self.go_on = threading.Event()

    def begins(self, number: int, rows: Sequence[Row]) -> None:
        if self.hang.is_set():
            self.go_on.wait(30)
        if self.broken:
            raise DeviceLost("the device is lost")

    def verdict(self, row: Row) -> str | None:
        if row.session.partition("@")[0] != self.fail_next:
            return None
        self.fail_next = None
        return "NaN in row 0"


async def test_published_frames_come_back_generated_in_order(
    home: House, gateway: FakeGateway, publisher: Publisher
) -> None:
    worker = await home.start_worker("w0")
    await home.session()
    claim = await home.claims.claim(SESSION)
    assert claim.address == worker.address
    viewer = await gateway.open(claim.address, SESSION, claim.epoch, publisher=True)
    assert viewer.opened is not None
    publisher.aim(gateway.link_of(viewer), viewer.channel)
    await until(lambda: len(viewer.media) >= 17 and viewer.reports, "17 frames and a report")
    assert viewer.media[0].unit.key_frame
    captured = [media.unit.capture_us for media in viewer.media]
    assert captured == sorted(set(captured))
    assert {media.epoch for media in viewer.media} == {claim.epoch}
    assert viewer.pictures[0].shape == (96, 128, 3)
    assert float(np.std(viewer.pictures[0])) > 5.0, "a picture has something in it"
    report = viewer.reports[-1]
    assert report.sink_digest
    assert report.frames_out > 0
    assert report.first_frame_ms is not None
    assert {"decode", "chunk", "queue", "engine", "pace", "encode"} <= set(report.stages)
    assert await home.phase() == "Live"
    (seen,) = await home.claims.workers()
    assert (seen.engine, seen.gpus) == ("mock", worker.settings.devices)
    await until(
        lambda: worker.registry.get_sample_value("genlock_worker_sessions", {"phase": "Live"}) == 1,
        "a live session in the metrics",
    )
    live = worker.agent.sessions[SESSION]
    await live.flush()
    stored = await worker.agent._services.snapshots.take_over(SESSION, claim.epoch)
    assert stored is not None
    assert stored.chunk >= 3


async def test_a_session_is_live_only_while_somebody_publishes(
    home: House, gateway: FakeGateway, publisher: Publisher
) -> None:
    worker = await home.start_worker("w0")
    await home.session()
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch, publisher=True)
    link = gateway.link_of(viewer)
    publisher.aim(link, viewer.channel)
    await until(lambda: viewer.media, "a first picture")
    await until_phase(home, "Live")
    await publisher.stop()
    link.send_source(viewer.channel, present=False, run=1)
    await until_phase(home, "Assigned")


async def test_an_idle_session_that_is_moved_ends_in_assigned(home: House) -> None:
    await home.start_worker("w0")
    await home.session()
    claim = await home.claims.claim(SESSION)
    await home.start_worker("w1")
    move = await home.claims.move(SESSION, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.REQUESTED)
    assert (move.claim.worker.name, await home.phase()) == ("w1", "Draining")
    await until_phase(home, "Assigned")


async def until_phase(home: House, phase: str) -> None:
    async with asyncio.timeout(60):
        while await home.phase() != phase:
            await asyncio.sleep(0.05)


async def test_two_sessions_share_a_worker_and_two_gateways_a_session(
    home: House, gateway: FakeGateway, publisher: Publisher
) -> None:
    worker = await home.start_worker("w0")
    await home.session()
    await home.session("default/other", source={"type": "testPattern"}, output={"codec": "vp8"})
    one = await home.claims.claim(SESSION)
    other = await home.claims.claim("default/other")
    published = await gateway.open(worker.address, SESSION, one.epoch, publisher=True)
    publisher.aim(gateway.link_of(published), published.channel)
    pattern = await gateway.open(worker.address, "default/other", other.epoch, codecs=("vp8", "h264"))
    second = FakeGateway("g1")
    try:
        watching = await second.open(worker.address, SESSION, one.epoch)
        await until(lambda: len(watching.media) > 8 and len(pattern.media) > 16, "frames of both sessions")
        assert watching.media[0].unit.key_frame
        assert {media.unit.codec for media in pattern.media} == {Codec.H264, Codec.VP8}
        workers = await home.claims.workers()
        assert set(worker.agent._links()[SESSION]) == {"g0", "g1"}
        assert workers[0].free == 1_000 - 600
    finally:
        await second.close()
    await until(lambda: worker.agent._links()[SESSION] == ["g0"], "the second gateway's end noticed")


async def test_an_open_is_answered_by_the_record(home: House, gateway: FakeGateway) -> None:
    worker = await home.start_worker("w0")
    await home.session()
    unknown = await gateway.open(worker.address, "default/nobody", 1)
    assert unknown.refused is not None
    assert unknown.refused.reason is RefusalReason.NOT_OWNER
    claim = await home.claims.claim(SESSION)
    stale = await gateway.open(worker.address, SESSION, claim.epoch - 1)
    assert stale.refused is not None
    assert (stale.refused.reason, stale.refused.epoch) == (RefusalReason.NOT_OWNER, claim.epoch)


async def test_prompt_change_and_pause_reach_the_picture(
    home: House, gateway: FakeGateway, publisher: Publisher
) -> None:
    worker = await home.start_worker("w0")
    await home.session(prompt="watercolour")
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch, publisher=True)
    publisher.aim(gateway.link_of(viewer), viewer.channel)
    await until(lambda: len(viewer.media) >= 8, "frames")
    control = ControlStream(home.store)
    await control.append(SESSION, client="c", number=1, change=ControlChange(prompt="neon", steps=1))
    gateway.link_of(viewer).nudge_control(viewer.channel)
    await until(
        lambda: viewer.reports and (viewer.reports[-1].prompt, viewer.reports[-1].steps) == ("neon", 1),
        "the report of the change",
    )
    await control.append(SESSION, client="c", number=2, change=ControlChange(paused=True))
    gateway.link_of(viewer).nudge_control(viewer.channel)
    await until(lambda: viewer.reports[-1].paused and viewer.reports[-1].output_fps == 0, "the picture to stand")
    frames = len(viewer.media)
    gateway.link_of(viewer).request_key_frame(viewer.channel, Codec.H264)
    await until(lambda: len(viewer.media) > frames, "the last picture once more")
    assert viewer.media[-1].unit.key_frame
    await control.append(SESSION, client="c", number=3, change=ControlChange(paused=False))
    gateway.link_of(viewer).nudge_control(viewer.channel)
    frames = len(viewer.media)
    await until(lambda: len(viewer.media) > frames + 8, "the picture to move again")


async def test_a_killed_workers_session_goes_on_elsewhere_with_its_sinks(
    home: House, gateway: FakeGateway, publisher: Publisher
) -> None:
    first = await home.start_worker("w0")
    await home.session()
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(first.address, SESSION, claim.epoch, publisher=True)
    publisher.aim(gateway.link_of(viewer), viewer.channel)
    await until(lambda: viewer.reports and viewer.reports[-1].chunk > 3, "a few chunks")
    digest = viewer.reports[-1].sink_digest
    second = await home.start_worker("w1")
    await first.agent.sessions[SESSION].flush()
    await kill(first)
    home.workers.remove(first)

    move = await home.claims.move(SESSION, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.REFUSED)
    assert (move.won, move.claim.worker.name) == (True, "w1")
    after = shown_after(viewer)
    again = await gateway.open(second.address, SESSION, move.claim.epoch, publisher=True, after=after)
    publisher.aim(gateway.link_of(again), again.channel)
    await until(lambda: again.reports and len(again.media) > 8, "frames of the new worker")
    assert again.media[0].unit.key_frame
    assert all((m.run, m.unit.capture_us) > (after.run, after.capture_us) for m in again.media)
    assert again.reports[-1].restored
    assert again.reports[-1].sink_digest == digest
    assert again.reports[-1].recovery_ms is not None
    assert await home.phase() == "Live"


async def test_a_drain_moves_everybody_and_nobody_is_cut(
    home: House, gateway: FakeGateway, publisher: Publisher
) -> None:
    first = await home.start_worker("w0")
    await home.session()
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(first.address, SESSION, claim.epoch, publisher=True)
    publisher.aim(gateway.link_of(viewer), viewer.channel)
    await until(lambda: viewer.reports and viewer.reports[-1].chunk > 2, "a few chunks")
    second = await home.start_worker("w1")
    draining = asyncio.create_task(first.drain())
    await until(lambda: viewer.handovers, "the handover")
    handover, frames = viewer.handovers[0], len(viewer.media)
    assert handover.address == second.address
    await until(lambda: len(viewer.media) > frames, "the old worker to go on after the handover")
    again = await gateway.open(second.address, SESSION, handover.epoch, publisher=True, after=shown_after(viewer))
    publisher.aim(gateway.link_of(again), again.channel)
    await until(lambda: again.media and again.reports, "frames of the new worker")
    gateway.link_of(viewer).close_channel(viewer.channel, "the new worker sends")
    assert await draining is True
    assert again.reports[-1].restored
    assert again.reports[-1].sink_digest == viewer.reports[-1].sink_digest
    refused = await gateway.open(first.address, SESSION, claim.epoch)
    assert refused.refused is not None


class SlowStore:
    """A worker's snapshot store whose writes wait until the test lets them go."""

    def __init__(self, inner: SnapshotStore) -> None:
        self._inner = inner
        self.go_on = asyncio.Event()
        self.waiting = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def write(self, session: str, **snapshot: Any) -> int:
        self.waiting.set()
        await self.go_on.wait()
        return await self._inner.write(session, **snapshot)


@pytest.mark.parametrize("cause", [MoveCause.DRAIN, MoveCause.REQUESTED])
async def test_a_session_that_somebody_else_moves_politely_keeps_the_chunk_that_was_being_stored(
    home: House, gateway: FakeGateway, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, cause: MoveCause
) -> None:
    monkeypatch.setattr("genlock_worker.session.opening.LAST_CHUNK_S", 2.0)
    first = await home.start_worker("w0")
    slow = SlowStore(first.agent._services.snapshots)
    first.agent._services = replace(first.agent._services, snapshots=slow)  # type: ignore[arg-type]
    await home.session()
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(first.address, SESSION, claim.epoch, publisher=True)
    publisher.aim(gateway.link_of(viewer), viewer.channel)
    await until(slow.waiting.is_set, "the very first snapshot to be under way")
    await until(lambda: viewer.reports and viewer.reports[-1].sink_digest, "the sinks to be there")
    second = await home.start_worker("w1")
    move = await home.claims.move(SESSION, expected_epoch=claim.epoch, suspect="w0", cause=cause)
    await until(lambda: viewer.handovers, "the old worker to tell its gateway")
    slow.go_on.set()
    again = await gateway.open(second.address, SESSION, move.claim.epoch, publisher=True, after=shown_after(viewer))
    publisher.aim(gateway.link_of(again), again.channel)
    await until(lambda: again.media and again.reports, "frames of the new worker")
    gateway.link_of(viewer).close_channel(viewer.channel, "the new worker sends")
    await until(lambda: not first.agent.session_drain._leaving, "the old worker to be alone")
    assert again.reports[-1].restored
    assert again.reports[-1].sink_digest == viewer.reports[-1].sink_digest
    assert first.registry.get_sample_value("genlock_snapshot_failures_total", {"reason": "fenced"}) is None


async def test_nobody_watches_and_the_chunk_that_was_being_stored_is_kept_all_the_same(
    home: House, gateway: FakeGateway, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genlock_worker.session.opening.LAST_CHUNK_S", 2.0)
    first = await home.start_worker("w0")
    slow = SlowStore(first.agent._services.snapshots)
    first.agent._services = replace(first.agent._services, snapshots=slow)  # type: ignore[arg-type]
    await home.session()
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(first.address, SESSION, claim.epoch, publisher=True)
    publisher.aim(gateway.link_of(viewer), viewer.channel)
    await until(slow.waiting.is_set, "the very first snapshot to be under way")
    gateway.link_of(viewer).close_channel(viewer.channel, "nobody watches")
    live = first.agent.sessions[SESSION]
    await until(live.alone.is_set, "the gateway to have left")
    second = await home.start_worker("w1")
    await home.claims.move(SESSION, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.DRAIN)
    await until(lambda: live.state is State.HANDED_OVER, "the old worker to hear of it")
    slow.go_on.set()
    await until(lambda: SESSION in second.agent.sessions, "the new worker to hear of it")
    await second.agent.sessions[SESSION].opened
    assert second.registry.get_sample_value("genlock_restores_total", {"result": "restored"}) == 1


async def test_a_session_that_is_moved_to_and_fro_goes_on(
    home: House, gateway: FakeGateway, publisher: Publisher
) -> None:
    workers = [await home.start_worker(name) for name in ("w0", "w1")]
    await home.session()
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(claim.address, SESSION, claim.epoch, publisher=True)
    publisher.aim(gateway.link_of(viewer), viewer.channel)
    await until(lambda: viewer.reports and viewer.reports[-1].snapshot.chunk > 1, "a snapshot")
    digest = viewer.reports[-1].sink_digest
    for turn in range(8):
        after = shown_after(viewer)
        for _ in range(1 + turn % 2):  # there, or there and back at once
            move = await home.claims.move(
                SESSION, expected_epoch=claim.epoch, suspect=claim.worker.name, cause=MoveCause.REQUESTED
            )
            assert move.won
            claim = move.claim
        again = await gateway.open(claim.address, SESSION, claim.epoch, publisher=True, after=after)
        assert again.opened is not None, again.refused
        publisher.aim(gateway.link_of(again), again.channel)
        await until(lambda now=again: now.media, "frames after the move")  # type: ignore[misc]
        gateway.link_of(viewer).close_channel(viewer.channel, "the new worker sends")
        viewer = again
    await until(lambda: viewer.reports and len(viewer.media) > 8, "the stream to have gone on")
    assert viewer.reports[-1].restored
    assert viewer.reports[-1].sink_digest == digest
    assert await home.phase() == "Live"
    assert sum(len(worker.agent.sessions) for worker in workers) == 1
    assert [worker.registry.get_sample_value("genlock_engine_failures_total") for worker in workers] == [0, 0]


async def test_a_session_that_one_worker_cannot_run_goes_on_in_another(
    home: House, gateway: FakeGateway, publisher: Publisher
) -> None:
    faults = Faulty()
    first = await home.start_worker("w0", faults=faults)
    await home.session()
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(first.address, SESSION, claim.epoch, publisher=True)
    publisher.aim(gateway.link_of(viewer), viewer.channel)
    await until(lambda: viewer.reports and viewer.reports[-1].snapshot.chunk > 0, "a snapshot")
    digest = viewer.reports[-1].sink_digest
    second = await home.start_worker("w1")
    faults.broken = True
    await until(lambda: SESSION in second.agent.sessions, "the other worker to have it")
    epoch = second.agent.sessions[SESSION].epoch
    again = await gateway.open(second.address, SESSION, epoch, publisher=True, after=shown_after(viewer))
    publisher.aim(gateway.link_of(again), again.channel)
    await until(lambda: again.media and again.reports, "frames of the other worker")
    assert again.reports[-1].sink_digest == digest
    assert SESSION not in first.agent.sessions


async def test_a_stuck_engine_stops_the_progress_and_nothing_else(home: House, gateway: FakeGateway) -> None:
    faults = Faulty()
    worker = await home.start_worker("w0", faults=faults)
    await home.session(source={"type": "testPattern"})
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch)
    await until(lambda: len(viewer.media) > 4, "frames")
    faults.hang.set()
    await until(lambda: gateway.link_of(viewer).silence.quiet_s > 0.6, "silence on the link")
    stuck = worker.engine_loop.progress
    view = await home.claims.worker("w0")
    assert view is not None
    await until(lambda: gateway.link_of(viewer).silence.quiet_s > 1.2, "more silence")
    assert worker.engine_loop.progress == stuck
    later = await home.claims.worker("w0")
    assert later is not None
    assert later.heartbeat_age_ms > 500
    faults.hang.clear()
    faults.go_on.set()
    await until(lambda: gateway.link_of(viewer).silence.quiet_s < 0.3, "progress again")


async def test_a_failed_row_resets_its_session_alone(home: House, gateway: FakeGateway) -> None:
    faults = Faulty()
    worker = await home.start_worker("w0", faults=faults)
    viewers = []
    for name in (SESSION, "default/other"):
        await home.session(name, source={"type": "testPattern"})
        claim = await home.claims.claim(name)
        viewers.append(await gateway.open(worker.address, name, claim.epoch))
    await until(lambda: all(len(viewer.reports) > 1 and viewer.reports[-1].chunk > 3 for viewer in viewers), "chunks")
    digest = viewers[0].reports[-1].sink_digest
    faults.fail_next = SESSION
    await until(lambda: faults.fail_next is None, "the failure")
    counts = [len(viewer.media) for viewer in viewers]
    await until(
        lambda: all(len(viewer.media) > count + 12 for viewer, count in zip(viewers, counts, strict=True)),
        "both to go on",
    )
    assert viewers[0].reports[-1].sink_digest == digest
    assert worker.registry.get_sample_value("genlock_engine_failures_total") == 1


async def test_a_zombie_is_fenced_and_leaves(home: House, gateway: FakeGateway, publisher: Publisher) -> None:
    first = await home.start_worker("w0")
    await home.session()
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(first.address, SESSION, claim.epoch, publisher=True)
    publisher.aim(gateway.link_of(viewer), viewer.channel)
    await until(lambda: viewer.reports and viewer.reports[-1].snapshot.chunk > 0, "a snapshot")
    second = await home.start_worker("w1")
    zombie = first.agent.sessions[SESSION]
    for task in first._tasks:  # deaf and mute towards Redis: it does not learn that it lost the session
        task.cancel()
    move = await home.claims.move(SESSION, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.REFUSED)
    again = await gateway.open(second.address, SESSION, move.claim.epoch, publisher=False, after=shown_after(viewer))
    assert again.opened is not None
    await until(lambda: SESSION not in first.agent.sessions, "the fence to tell the zombie")
    await until(lambda: viewer.closed is not None, "its channel closed")
    assert zombie.epoch < move.claim.epoch
    assert SESSION in second.agent.sessions


async def test_a_worker_reasserts_what_it_serves_when_redis_lost_all(home: House, gateway: FakeGateway) -> None:
    worker = await home.start_worker("w0")
    await home.session(source={"type": "testPattern"})
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch)
    await until(lambda: len(viewer.media) > 4, "frames")
    await home.store.flushall()
    frames = len(viewer.media)

    async def is_back() -> bool:
        record = await home.claims.record(SESSION)
        return record is not None and record.epoch == claim.epoch and record.owner == worker.identity

    async with asyncio.timeout(15):
        while not await is_back():
            await asyncio.sleep(0.05)
    await until(lambda: len(viewer.media) > frames + 16, "the stream to have gone on")
    snapshots = worker.agent._services.snapshots
    await until(lambda: viewer.reports[-1].snapshot.error == "", "a snapshot stored again")
    stored = await snapshots.take_over(SESSION, claim.epoch)
    assert stored is not None
    assert viewer.closed is None


async def test_a_file_that_plays_once_ends_its_session(redis_url: str, gateway: FakeGateway, tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", frames=18)
    async with house(redis_url, media_root=tmp_path) as home:
        worker = await home.start_worker("w0")
        await home.session(source={"type": "file", "path": "clip.mp4", "loop": False})
        claim = await home.claims.claim(SESSION)
        viewer = await gateway.open(worker.address, SESSION, claim.epoch)
        await until(lambda: viewer.closed is not None, "the session's end")
        assert len(viewer.media) == 21, "a chunk of 5 and four of 4, the last of which repeats the last picture"
        await until(lambda: not worker.agent.sessions, "the worker to let it go")
        async with asyncio.timeout(5):
            while await home.phase() != "Ended":
                await asyncio.sleep(0.02)


async def test_a_file_outside_the_media_root_fails_the_session_with_the_reason(
    redis_url: str, gateway: FakeGateway, tmp_path: Path
) -> None:
    (tmp_path / "media").mkdir()
    write_clip(tmp_path / "secret.mp4", frames=6)
    async with house(redis_url, media_root=tmp_path / "media") as home:
        worker = await home.start_worker("w0")
        await home.session(source={"type": "file", "path": "../secret.mp4"})
        claim = await home.claims.claim(SESSION)
        viewer = await gateway.open(worker.address, SESSION, claim.epoch)
        await until(lambda: viewer.closed is not None, "the session's end")
        assert not viewer.media
        async with asyncio.timeout(5):
            while await home.phase() != "Failed":
                await asyncio.sleep(0.02)
        record = await home.claims.record(SESSION)
        assert record is not None
        assert "leads out of the worker's media root" in record.reason


async def test_a_prompt_alone_makes_a_stream(home: House, gateway: FakeGateway) -> None:
    worker = await home.start_worker("w0")
    await home.session(source={"type": "none"}, prompt="a neon city in the rain")
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch)
    await until(lambda: len(viewer.media) > 12, "frames")
    assert float(np.std(viewer.pictures[-1])) > 5.0


async def test_work_without_a_slot_is_refused(home: House, gateway: FakeGateway) -> None:
    worker = await home.start_worker("w0")
    await home.session(cost=600)
    await home.session("default/other", cost=400)
    one, other = await home.claims.claim(SESSION), await home.claims.claim("default/other")
    await until(lambda: len(worker.agent.sessions) == 2, "both sessions")
    worker.agent.offer = replace(worker.agent.offer, capacity=999)
    worker.agent.session_drain.drop(worker.agent.sessions["default/other"], "the test takes it away")
    refused = await gateway.open(worker.address, "default/other", other.epoch)
    assert refused.refused is not None
    assert refused.refused.reason in (RefusalReason.NO_SLOT, RefusalReason.NOT_OWNER)
    served = await gateway.open(worker.address, SESSION, one.epoch)
    assert served.opened is not None


async def test_the_figures_of_a_session_that_came_straight_back_go_on(home: House, gateway: FakeGateway) -> None:
    worker = await home.start_worker("w0")
    await home.session(source={"type": "testPattern"})
    claim = await home.claims.claim(SESSION)

    def frames_out() -> float | None:
        return worker.registry.get_sample_value("genlock_worker_frames_out_total", {"session": SESSION})

    await gateway.open(worker.address, SESSION, claim.epoch)
    await until(lambda: (frames_out() or 0) >= 16, "frames of the first")
    first, record, before = worker.agent.sessions[SESSION], await home.claims.record(SESSION), frames_out()
    assert record is not None
    assert before is not None
    worker.agent.session_drain.drop(first, "the test takes it away")
    again = worker.agent._start(record)
    assert again is not first
    viewer = await gateway.open(worker.address, SESSION, claim.epoch)
    await until(lambda: len(viewer.media) >= 2, "frames of the second")
    assert (frames_out() or 0) > before
    worker.agent.session_drain.ended(again, End(Phase.ENDED, "the test is over"))
    await until(lambda: frames_out() is None, "its series to go with it")


def write_clip(path: Path, *, frames: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=16)
        stream.width = 128
        stream.height = 96
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            picture = av.VideoFrame.from_ndarray(draw(index, width=128, height=96), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


async def test_the_last_picture_of_a_source_that_stands_still_is_shown_and_then_the_engine_idles(
    home: House, gateway: FakeGateway, publisher: Publisher
) -> None:
    worker = await home.start_worker("w0")
    await home.session()
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(claim.address, SESSION, claim.epoch, publisher=True)
    begun = publisher.index
    publisher.aim(gateway.link_of(viewer), viewer.channel)
    await until(lambda: len(viewer.media) > 12, "frames")
    await publisher.stop()
    last_us = round((publisher.index - 1) * 1_000_000 / publisher.rate)

    await until(lambda: viewer.media[-1].replay, "the last picture once more")
    shown = [media.unit.capture_us for media in viewer.media]
    assert last_us in shown
    after = shown[shown.index(last_us) :]
    assert after == [last_us + again for again in range(len(after))], "what follows it is the same picture"
    assert len(after) <= 1 + 3 + 1, "it completes its chunk, and goes out once more"
    assert [media.replay for media in viewer.media[-len(after) :]] == [False] * (len(after) - 1) + [True]

    chunks = worker.agent.sessions[SESSION].figures.chunk
    await until(lambda: viewer.reports and viewer.reports[-1].output_fps == 0, "a report of the rest")
    assert worker.agent.sessions[SESSION].figures.chunk == chunks
    assert len(viewer.media) == len(shown)
    taken_in = worker.registry.get_sample_value("genlock_worker_frames_in_total", {"session": SESSION})
    assert taken_in == publisher.index - begun, "repeated pictures are nobody's frames"

    # A single picture later: it is shown as well, and nothing of the time between is made up for.
    publisher.index += 160
    publisher.send_one()
    await until(lambda: viewer.media[-1].replay and len(viewer.media) > len(shown), "the next slide")
    slide_us = round((publisher.index - 1) * 1_000_000 / publisher.rate)
    assert [media.unit.capture_us for media in viewer.media[len(shown) :]] == [slide_us + k for k in range(5)]


async def test_a_slide_that_came_during_the_pause_is_shown_after_it(
    home: House, gateway: FakeGateway, publisher: Publisher
) -> None:
    await home.start_worker("w0")
    await home.session()
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(claim.address, SESSION, claim.epoch, publisher=True)
    publisher.aim(gateway.link_of(viewer), viewer.channel)
    await until(lambda: len(viewer.media) > 8, "frames")

    control = ControlStream(home.store)
    await control.append(SESSION, client="c", number=1, change=ControlChange(paused=True))
    gateway.link_of(viewer).nudge_control(viewer.channel)
    await until(lambda: viewer.reports and viewer.reports[-1].paused, "the pause")
    await publisher.stop()
    publisher.index += 160
    publisher.send_one()
    slide_us = round((publisher.index - 1) * 1_000_000 / publisher.rate)
    await until(lambda: viewer.reports[-1].output_fps == 0, "nothing goes out")
    assert viewer.media[-1].unit.capture_us < slide_us

    await control.append(SESSION, client="c", number=2, change=ControlChange(paused=False))
    gateway.link_of(viewer).nudge_control(viewer.channel)
    await until(lambda: viewer.media[-1].replay, "the last picture once more")
    assert [media.unit.capture_us for media in viewer.media[-5:]] == [slide_us + k for k in range(5)]
