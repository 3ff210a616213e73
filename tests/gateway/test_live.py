"""Streams end to end at the gateway: real HTTP, Redis, links and WebRTC; only the worker merely echoes."""

import asyncio
import contextlib
import json
from dataclasses import replace

import pytest

from genlock_core.claims.facts import MoveCause
from genlock_core.media import Codec
from genlock_core.spec.session import Phase
from genlock_core.tokens import Role
from genlock_gateway.rtc.ingest.receive import IngestPeer
from tests.gateway.installation import Installation, Peer, more_pictures, until, viewer_of
from tests.gateway.rtc.clips import encode
from tests.gateway.rtc.rtp_order import mistakes


async def rtp_order(peer: Peer) -> None:
    """The viewer got one stream whose numbers and timestamps go on; what the network lost may still be repaired."""
    viewer = viewer_of(peer)
    with contextlib.suppress(TimeoutError):
        await until(lambda: not mistakes(viewer.packets, rtx_ssrc=viewer.rtx_ssrc), timeout_s=5)
    assert mistakes(viewer.packets, rtx_ssrc=viewer.rtx_ssrc) == []


async def test_what_is_published_is_seen(installation: Installation) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    await installation.session()
    viewer = await installation.view(gateway)
    publisher = await installation.publish(gateway)
    assert (publisher.response.status_code, viewer.response.status_code) == (201, 201)
    await more_pictures(viewer, 5)
    await rtp_order(viewer)
    assert worker.opens[0].request.gateway == "g0"
    assert worker.sources[-1].present
    shown = (await gateway.http.get("/api/v1/sessions/default/demo")).json()
    assert (shown["phase"], shown["worker"], shown["viewers"], shown["publisher"], shown["gpus"]) == (
        "Live",
        "w0",
        1,
        True,
        4,
    )
    assert shown["stats"]["firstFrameMs"] > 0
    assert shown["stats"]["latencyMs"]["p50"] > 0
    assert shown["stats"]["stages"]["ingest"] >= 0
    assert gateway.metric("genlock_time_to_first_frame_seconds_count") == 1
    record = await installation.claims.record("default/demo")
    assert record is not None
    assert record.phase is Phase.LIVE
    publisher_here = gateway.gateway.hub.streams[0].audience.publisher
    assert publisher_here is not None
    assert isinstance(publisher_here.peer, IngestPeer)
    publisher_here.peer.figures.lost_frames += 1_000
    await until(lambda: gateway.metric("genlock_gateway_frames_dropped_total", reason="incomplete") >= 1_000)


async def test_a_killed_workers_session_moves_and_viewers_stay_connected(installation: Installation) -> None:
    gateway = await installation.gateway()
    first = await installation.worker("w0")
    await installation.session()
    viewer = await installation.view(gateway)
    await installation.publish(gateway)
    await more_pictures(viewer)
    second = await installation.worker("w1")
    await first.kill()
    await until(lambda: bool(second.received))
    await more_pictures(viewer, 5)
    await rtp_order(viewer)
    assert viewer.client.connection.connectionState == "connected"
    after = second.opens[0].request.after
    assert after is not None
    assert second.replayed, "the new worker gets the kept group of pictures"
    assert second.replayed[0].unit.key_frame
    assert gateway.metric("genlock_moves_total", cause="refused", result="won") == 1
    assert gateway.metric("genlock_recovery_gap_seconds_count", cause="refused") == 1
    stats = (await gateway.http.get("/api/v1/sessions/default/demo")).json()["stats"]
    assert (stats["moves"], stats["worker"]) == (1, "w1")


async def test_a_silent_worker_is_left_and_its_late_frames_are_refused(installation: Installation) -> None:
    gateway = await installation.gateway()
    first = await installation.worker("w0")
    await installation.session()
    viewer = await installation.view(gateway)
    await installation.publish(gateway)
    await more_pictures(viewer)
    second = await installation.worker("w1")
    await installation.settle()
    first.stall()
    await until(lambda: bool(second.received))
    await more_pictures(viewer)
    assert gateway.metric("genlock_moves_total", cause="silent", result="won") == 1
    first.go_on()
    await more_pictures(viewer, 10)
    await rtp_order(viewer)
    assert not first.sessions


async def test_a_polite_handover_is_no_freeze(installation: Installation) -> None:
    gateway = await installation.gateway()
    first = await installation.worker("w0")
    # At two frames a second a freeze takes two seconds: no busy machine makes one, and each counted frame would be one.
    session = await installation.session(frameRate=2)
    viewer = await installation.view(gateway)
    await installation.publish(gateway)
    await more_pictures(viewer, 10)
    second = await installation.worker("w1")
    record = await installation.claims.record(session)
    assert record is not None
    await first.hand_over(session, record.epoch)
    await until(lambda: bool(second.received) and not first.sessions)
    await more_pictures(viewer, 10)
    await rtp_order(viewer)
    assert gateway.metric("genlock_recovery_gap_seconds_count", cause="drain") == 0
    assert gateway.metric("genlock_gateway_frames_dropped_total", reason="old") == 0
    stats = (await gateway.http.get("/api/v1/sessions/default/demo")).json()["stats"]
    assert (stats["moves"], stats["worker"]) == (1, "w1")
    assert stats["freezes"] == 0
    assert gateway.metric("genlock_freezes_total", session=session) == 0


async def test_the_leaving_worker_is_shown_for_as_long_as_its_successor_restores(installation: Installation) -> None:
    gateway = await installation.gateway()
    first = await installation.worker("w0")
    session = await installation.session()
    viewer = await installation.view(gateway)
    await installation.publish(gateway)
    await more_pictures(viewer, 5)
    second = await installation.worker("w1")
    second.may_open.clear()
    record = await installation.claims.record(session)
    assert record is not None
    await first.hand_over(session, record.epoch)
    await until(lambda: bool(second.opens))
    await more_pictures(viewer, 20)
    assert session in first.sessions
    second.may_open.set()
    await until(lambda: not first.sessions)
    await more_pictures(viewer, 5)
    await rtp_order(viewer)
    assert gateway.metric("genlock_moves_total", cause="drain", result="won") == 0, "the worker moved it itself"


async def test_without_capacity_the_stream_waits_as_recovering_and_comes_back(installation: Installation) -> None:
    gateway = await installation.gateway()
    first = await installation.worker("w0")
    await installation.session()
    viewer = await installation.view(gateway)
    await installation.publish(gateway)
    await more_pictures(viewer)
    await first.kill()

    def told_recovering() -> bool:
        states = [json.loads(text) for text in viewer.client.messages]
        return any(state["type"] == "state" and state["phase"] == "Recovering" for state in states)

    await until(told_recovering)
    await installation.worker("w1")
    await more_pictures(viewer, 3)
    assert viewer.client.connection.connectionState == "connected"


async def test_publisher_and_viewers_may_be_at_different_gateways(installation: Installation) -> None:
    one, two = await installation.gateway("g0"), await installation.gateway("g1")
    first = await installation.worker("w0")
    await installation.session()
    await installation.publish(one)
    far, near = await installation.view(two), await installation.view(one)
    await more_pictures(far)
    assert {opened.request.gateway for opened in first.opens} == {"g0", "g1"}
    assert [source.present for source in first.sources] == [True]
    second = await installation.worker("w1")
    await first.kill()
    await more_pictures(far, 5)
    await more_pictures(near, 5)
    assert {opened.request.gateway: opened.request.publisher for opened in second.opens} == {"g0": True, "g1": False}
    results = [
        gateway.metric("genlock_moves_total", cause="refused", result=result)
        for gateway in (one, two)
        for result in ("won", "adopted")
    ]
    assert sum(gateway.metric("genlock_moves_total", cause="refused", result="won") for gateway in (one, two)) == 1
    assert sum(results) <= 2


async def test_a_second_publisher_conflicts_and_the_same_one_takes_over(installation: Installation) -> None:
    one, two = await installation.gateway("g0"), await installation.gateway("g1")
    worker = await installation.worker()
    await installation.session()
    first = await installation.publish(one, name="camera")
    viewer = await installation.view(one)
    await more_pictures(viewer)
    for gateway in (one, two):
        refused = await installation.publish(gateway, name="somebody else")
        assert refused.response.status_code == 409
        assert refused.response.headers["content-type"] == "application/problem+json"
        assert refused.response.json()["gateway"] == "g0"
    runs = {media.run for media in worker.received}
    again = await installation.publish(two, name="camera")
    assert again.response.status_code == 201
    await until(lambda: first.client.connection.connectionState == "closed")
    await until(lambda: {media.run for media in worker.received} > runs)
    await more_pictures(viewer)
    last = worker.received[-1].run
    assert last == max(media.run for media in worker.received)


async def test_a_session_with_a_source_of_its_own_needs_no_publisher(installation: Installation) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    session = await installation.session(source={"type": "testPattern"})
    refused = await installation.publish(gateway)
    assert refused.response.status_code == 422
    viewer = await installation.view(gateway)
    await until(lambda: bool(worker.codecs))
    unit = encode(Codec.H264, 1, width=160, height=128)[0]
    seeing = asyncio.create_task(more_pictures(viewer, 5))
    for number in range(1_000):
        worker.send(session, replace(unit, capture_us=number * 33_333), run=0)
        await asyncio.sleep(0.02)
        if seeing.done():
            break
    await seeing


async def test_viewers_that_vanish_leave_nothing_behind(installation: Installation) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    await installation.session()
    viewer = await installation.view(gateway)
    await until(lambda: bool(worker.sessions))
    await viewer.client.close()
    await until(lambda: gateway.gateway.hub.peers == 0)
    assert gateway.gateway.hub.find("default/demo") is None
    await until(lambda: not worker.sessions)
    assert (await gateway.http.get(viewer.location)).status_code == 404


async def test_control_reaches_the_worker_from_data_channel_and_rest(installation: Installation) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    await installation.session()
    publisher, viewer = await installation.publish(gateway), await installation.view(gateway)
    await until(lambda: bool(publisher.client.messages) and bool(viewer.client.messages))
    for peer in (publisher, viewer):
        assert peer.client.channel is not None
        peer.client.channel.send(json.dumps({"type": "control", "number": 1, "prompt": "ink"}))
        peer.client.channel.send(json.dumps({"type": "ping", "sentAt": 5}))
        peer.client.channel.send("{nonsense")

    def heard(peer: Peer, kind: str) -> list[dict[str, object]]:
        return [message for text in peer.client.messages if (message := json.loads(text))["type"] == kind]

    await until(lambda: bool(heard(publisher, "ack")) and len(heard(viewer, "error")) == 2)
    assert heard(publisher, "pong") == [{"type": "pong", "sentAt": 5}]
    assert "publish token" in str(heard(viewer, "error")[0]["detail"])
    await until(lambda: worker.nudges >= 1)
    change = {"steps": 3, "client": "cli", "number": 4}
    headers = installation.token()
    path = "/api/v1/sessions/default/demo/control"
    once, twice = [await gateway.http.patch(path, json=change, headers=headers) for _ in range(2)]
    assert once.status_code == 202
    assert once.json() == twice.json()
    shown = (await gateway.http.get("/api/v1/sessions/default/demo")).json()
    assert (shown["prompt"], shown["steps"]) == ("ink", 3)
    await until(lambda: any(state["prompt"] == "ink" for state in heard(viewer, "state")))


async def test_deleting_a_session_tells_and_closes_its_clients(installation: Installation) -> None:
    gateway, _ = await installation.gateway(), await installation.worker()
    await installation.session()
    viewer, publisher = await installation.view(gateway), await installation.publish(gateway)
    await more_pictures(viewer)
    admin = installation.token(role=Role.ADMIN)
    assert (await gateway.http.delete("/api/v1/sessions/default/demo")).status_code == 401
    assert (await gateway.http.delete("/api/v1/sessions/default/demo", headers=admin)).status_code == 204
    await until(lambda: publisher.client.connection.connectionState == "closed")
    await until(lambda: gateway.gateway.hub.peers == 0)
    assert any(json.loads(text).get("phase") == "Ended" for text in viewer.client.messages)
    assert (await installation.view(gateway)).response.status_code == 410
    assert (await gateway.http.delete("/api/v1/sessions/default/demo", headers=admin)).status_code == 204
    assert (await installation.view(gateway)).response.status_code == 404


async def test_a_move_that_is_asked_for_is_polite(installation: Installation) -> None:
    gateway, first = await installation.gateway(), await installation.worker("w0")
    await installation.session()
    viewer = await installation.view(gateway)
    await installation.publish(gateway)
    await more_pictures(viewer)
    admin = installation.token(role=Role.ADMIN)
    full = await gateway.http.post("/api/v1/sessions/default/demo/move", headers=admin)
    assert (full.status_code, full.json()["reason"]) == (503, "no-capacity")
    await installation.worker("w1")
    moved = await gateway.http.post("/api/v1/sessions/default/demo/move", headers=admin)
    assert moved.json()["worker"] == "w1"
    await until(lambda: not first.sessions)
    await more_pictures(viewer)
    await rtp_order(viewer)


async def test_a_session_that_an_operator_moves_away_does_not_freeze(installation: Installation) -> None:
    gateway, first = await installation.gateway(), await installation.worker("w0")
    session = await installation.session()
    viewer = await installation.view(gateway)
    await installation.publish(gateway)
    await more_pictures(viewer, 10)
    second = await installation.worker("w1")
    view = await installation.claims.worker("w0")
    assert view is not None
    await installation.claims.close(view.identity)
    await installation.claims.move(
        session, expected_epoch=view.sessions[session], suspect="w0", cause=MoveCause.DRAIN
    )  # as the operator does, while the worker lives and serves
    await until(lambda: bool(second.received) and not first.sessions)
    await more_pictures(viewer, 10)
    await rtp_order(viewer)
    assert gateway.metric("genlock_recovery_gap_seconds_count", cause="drain") == 0
    assert gateway.metric("genlock_gateway_frames_dropped_total", reason="old") == 0
    assert await installation.claims.close(view.identity) == ()


@pytest.mark.parametrize("clients_go", [True, False])
async def test_a_drain_asks_clients_to_reconnect_and_takes_nobody_new(
    installation: Installation, clients_go: bool
) -> None:
    gateway, _ = (
        await installation.gateway("g0", "--drain-timeout", "5s" if clients_go else "200ms"),
        await installation.worker(),
    )
    await installation.session()
    viewer = await installation.view(gateway)
    await until(lambda: bool(viewer.client.messages))
    draining = asyncio.create_task(gateway.gateway.drain())
    await until(lambda: any(json.loads(text)["type"] == "reconnect" for text in viewer.client.messages))
    refused = await installation.view(gateway)
    assert (refused.response.status_code, refused.response.json()["reason"]) == (503, "draining")
    assert int(refused.response.headers["Retry-After"]) >= 1
    assert refused.response.headers["Connection"] == "close", "a kept connection would lead back here"
    assert (await gateway.http.get("/readyz")).status_code == 503
    assert (await gateway.http.get("/healthz")).status_code == 200
    if clients_go:
        assert (await gateway.http.delete(viewer.location)).status_code == 200
    await asyncio.wait_for(draining, 5)
