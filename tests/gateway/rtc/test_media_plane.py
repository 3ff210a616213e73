"""Whole paths over loopback with real aiortc clients: publishers in, viewers out."""

import asyncio
import contextlib
import re
import socket
from itertools import pairwise

import aioice.ice
import aioice.stun
import numpy as np
import pytest
from aioice import stun

from genlock_core.clock import SystemClock
from genlock_core.media import Codec
from genlock_gateway.rtc.egress.fanout import Fanout
from genlock_gateway.rtc.egress.viewer import ViewerPeer
from genlock_gateway.rtc.ingest.receive import IngestPeer
from genlock_gateway.rtc.media_plane import MediaPlane
from genlock_gateway.rtc.sdp.offer_error import OfferError
from genlock_gateway.rtc.transport.demultiplexer import Route
from genlock_gateway.rtc.transport.own_addresses import LOOPBACK, own_addresses
from tests.gateway.rtc.clients import Client, Clients, Viewer, until
from tests.gateway.rtc.clips import decode, encode
from tests.gateway.rtc.listeners import Heard

CODECS = [Codec.H264, Codec.VP8]


def fanout(codec: Codec) -> tuple[Fanout, list[None]]:
    """A fan-out and the list that grows by one with each request for a key frame."""
    asked: list[None] = []
    return Fanout(codec=codec, clock=SystemClock(), on_key_frame_wanted=lambda: asked.append(None)), asked


async def publish(plane: MediaPlane, client: Client, heard: Heard) -> IngestPeer:
    peer, answer = await plane.publish(await client.offer(), listener=heard, sink=heard)
    await client.take(answer)
    await client.connected.wait()
    await until(lambda: peer.state == "connected")
    return peer


async def view(
    plane: MediaPlane, client: Viewer, fan: Fanout, heard: Heard | None = None, *, gcm: bool = True
) -> ViewerPeer:
    offer = await client.offer()
    if not gcm:
        client.without_gcm()
    peer, answer = await plane.view(offer, {fan.codec: fan}, listener=heard or Heard())
    await client.take(answer)
    await client.receiving.wait()
    await until(lambda: peer.state == "connected")
    return peer


@pytest.mark.parametrize("codec", CODECS)
async def test_a_publisher_arrives_as_the_access_units_it_sent(
    plane: MediaPlane, clients: Clients, codec: Codec
) -> None:
    units, heard = encode(codec, 12), Heard()
    client = clients.publisher(codec)
    peer = await publish(plane, client, heard)
    client.send(units)
    await until(lambda: len(heard.units) == len(units))
    assert [unit.data for unit in heard.units] == [unit.data for unit in units]
    assert [unit.key_frame for unit in heard.units] == [True] + [False] * 11
    assert {unit.codec for unit in heard.units} == {codec}
    assert peer.figures.access_units == 12
    steps = np.diff([unit.capture_us for unit in heard.units])
    assert (steps > 0).all()
    await client.close()
    await until(lambda: peer.state == "closed")


async def test_a_publisher_through_loss_is_repaired_by_retransmission(plane: MediaPlane, clients: Clients) -> None:
    units, heard = encode(Codec.H264, 40), Heard()  # aiortc keeps 128 packets only
    client = clients.publisher(Codec.H264)
    peer = await publish(plane, client, heard)
    client.send(units[:1])
    await until(lambda: len(heard.units) == 1)
    deliver, count = plane.udp_port.demultiplexer.datagram, 0

    def lossy(data: bytes, route: Route) -> None:
        nonlocal count
        if 128 <= data[0] < 192 and not 192 <= data[1] <= 208:
            count += 1
            if count % 7 == 0:
                return
        deliver(data, route)

    plane.udp_port.demultiplexer.datagram = lossy  # type: ignore[method-assign]
    for unit in units[1:]:
        client.send([unit])
        await asyncio.sleep(0.01)
    client.send(encode(Codec.H264, 1, first_us=2_000_000))  # or nobody would notice a loss at the very end
    await until(lambda: len(heard.units) >= 40)
    assert [unit.data for unit in heard.units][:40] == [unit.data for unit in units]
    assert peer.figures.nacked_packets > 0
    assert peer.figures.lost_frames == 0


@pytest.mark.parametrize("codec", CODECS)
async def test_three_viewers_see_the_same_pictures(plane: MediaPlane, clients: Clients, codec: Codec) -> None:
    fan, asked = fanout(codec)
    units = encode(codec, 10)
    three = [clients.viewer(codec) for _ in range(3)]
    peers = [await view(plane, client, fan) for client in three]
    assert len(fan._viewers) == 3
    assert asked
    for unit in units:
        fan.push(unit)
        await asyncio.sleep(0.005)
    fan.push(encode(codec, 1, first_us=1_000_000)[0])  # aiortc's receiver gives a frame out when the next one begins
    await until(lambda: all(len(client.pictures) >= 10 for client in three))
    wanted = decode(units)
    for client in three:
        assert all(np.array_equal(have, want) for have, want in zip(client.pictures[:10], wanted, strict=True))
    assert all(peer.transport.srtp_keys.is_gcm and peer.figures.frames == 11 for peer in peers)
    for client in three:
        await client.close()
    await until(lambda: not plane._peers)
    assert len(fan._viewers) == 0
    fan.close()
    assert fan._ring.get(0) is None


@pytest.mark.parametrize("rtx", [True, False])
@pytest.mark.parametrize("gcm", [True, False])
async def test_a_viewer_through_loss_is_repaired(plane: MediaPlane, clients: Clients, *, gcm: bool, rtx: bool) -> None:
    fan, _ = fanout(Codec.H264)
    units = encode(Codec.H264, 30)
    client = clients.viewer(Codec.H264, rtx=rtx)
    peer = await view(plane, client, fan, gcm=gcm)
    assert peer.transport.srtp_keys.is_gcm is gcm
    send_run, count = plane.udp_port.send_run, 0

    def lossy(packets: list[bytes], route: Route) -> None:
        nonlocal count
        for packet in packets:
            count += 1
            if count % 6:
                send_run([packet], route)

    plane.udp_port.send_run = lossy  # type: ignore[method-assign,assignment]
    for unit in units:
        fan.push(unit)
        await asyncio.sleep(0.01)
    plane.udp_port.send_run = send_run  # type: ignore[method-assign]
    for unit in encode(Codec.H264, 2, first_us=2_000_000):
        fan.push(unit)
    await until(lambda: len(client.pictures) >= 30)
    assert all(np.array_equal(a, b) for a, b in zip(client.pictures[:30], decode(units), strict=True))
    assert peer.figures.retransmitted > 0


async def test_another_worker_continues_the_numbers_with_another_resolution(
    plane: MediaPlane, clients: Clients
) -> None:
    fan, _ = fanout(Codec.H264)
    client = clients.viewer(Codec.H264)
    await view(plane, client, fan)
    for unit in encode(Codec.H264, 5):
        fan.push(unit)
        await asyncio.sleep(0.01)
    late = encode(Codec.H264, 5, width=128, height=160, first_us=777)
    for unit in late:
        fan.push(unit)
        await asyncio.sleep(0.01)
    fan.push(encode(Codec.H264, 1, width=128, height=160, first_us=1_000_000)[0])
    await until(lambda: len(client.pictures) >= 10)
    sequence = [packet.sequence_number for packet in client.packets]
    assert np.diff(sequence).tolist() == [1] * (len(sequence) - 1)
    stamps = list(dict.fromkeys(packet.timestamp for packet in client.packets))
    steps = [(after - before) & 0xFFFFFFFF for before, after in pairwise(stamps)]
    assert len(stamps) == 11
    assert all(0 < step < 2 * 90_000 for step in steps)
    assert client.pictures[9].shape == decode(late)[0].shape != client.pictures[0].shape


async def test_a_pli_of_a_viewer_asks_for_a_key_frame(plane: MediaPlane, clients: Clients) -> None:
    fan, asked = fanout(Codec.H264)
    client = clients.viewer(Codec.H264)
    peer = await view(plane, client, fan)
    for unit in encode(Codec.H264, 2):
        fan.push(unit)
    await until(lambda: bool(client.packets))
    before = len(asked)
    await client.pli(client.packets[0].ssrc)
    await until(lambda: len(asked) == before + 1)
    assert peer.figures.key_frame_requests == 1


async def test_a_late_viewer_gets_nothing_before_a_key_frame(plane: MediaPlane, clients: Clients) -> None:
    fan, asked = fanout(Codec.H264)
    units = encode(Codec.H264, 6)
    fan.push(units[0])
    client = clients.viewer(Codec.H264)
    peer = await view(plane, client, fan)
    await until(lambda: len(asked) == 1)
    for unit in units[1:]:
        fan.push(unit)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert peer.figures.packets == 0
    fan.push(units[0])
    await until(lambda: bool(client.packets))
    assert peer.figures.frames == 1


async def test_messages_go_both_ways_over_the_control_channel(plane: MediaPlane, clients: Clients) -> None:
    fan, _ = fanout(Codec.VP8)
    heard = Heard()
    viewer, publisher = clients.viewer(Codec.VP8), clients.publisher(Codec.VP8)
    viewer.open_channel()
    publisher.open_channel()
    watching = await view(plane, viewer, fan, heard)
    sending = await publish(plane, publisher, heard)
    await until(lambda: watching.send("to the viewer") and sending.send("to the publisher"))
    await until(lambda: bool(viewer.messages and publisher.messages))
    assert set(viewer.messages + publisher.messages) == {"to the viewer", "to the publisher"}
    assert viewer.channel is not None
    assert publisher.channel is not None
    viewer.channel.send("from the viewer")
    publisher.channel.send("from the publisher")
    await until(lambda: len(heard.messages) == 2)
    assert not watching.send("x" * 300_000)


async def test_a_client_that_leaves_is_noticed_and_forgotten(plane: MediaPlane, clients: Clients) -> None:
    fan, _ = fanout(Codec.H264)
    heard = Heard()
    client = clients.viewer(Codec.H264)
    client.open_channel()
    peer = await view(plane, client, fan, heard)
    await client.close()
    await until(lambda: bool(heard.reasons))
    assert peer.state == "closed"
    assert not plane._peers
    assert len(plane.udp_port.demultiplexer._by_route) == 0
    await peer.close()
    assert len(heard.reasons) == 1


async def test_a_client_that_never_comes_is_given_up(plane: MediaPlane, clients: Clients) -> None:
    hasty = MediaPlane(hosts=["127.0.0.1"], port=0, clock=SystemClock(), connect_timeout_s=0.05)
    await hasty.start()
    heard = Heard()
    client = clients.publisher(Codec.H264)
    await hasty.publish(await client.offer(), listener=heard, sink=heard)
    await until(lambda: heard.reasons == ["not connected within 0.05 s"])
    assert len(hasty.udp_port.demultiplexer._by_ufrag) == 0
    await client.close()
    await hasty.stop()


async def test_a_passive_client_is_connected_to(plane: MediaPlane, clients: Clients) -> None:
    heard = Heard()
    client = clients.publisher(Codec.H264)
    offer = (await client.offer()).replace("a=setup:actpass", "a=setup:passive")
    peer, answer = await plane.publish(offer, listener=heard, sink=heard)
    assert "a=setup:active" in answer
    await client.take(answer)
    await client.connected.wait()
    await until(lambda: peer.state == "connected")
    client.send(encode(Codec.H264, 2))
    await until(lambda: bool(heard.units))


async def test_a_request_for_a_key_frame_reaches_the_publisher(plane: MediaPlane, clients: Clients) -> None:
    client = clients.publisher(Codec.VP8)
    asked: list[None] = []
    client.connection.getSenders()[0]._send_keyframe = lambda: asked.append(None)  # type: ignore[method-assign]
    heard = Heard()
    peer = await publish(plane, client, heard)
    client.send(encode(Codec.VP8, 1))
    await until(lambda: bool(heard.units))
    for _ in range(5):
        peer.request_key_frame()
    await until(lambda: bool(asked))
    assert peer.figures.key_frame_requests == 1


async def test_candidates_may_come_later(plane: MediaPlane, clients: Clients) -> None:
    client = clients.publisher(Codec.H264)
    offer = await client.offer()
    lines = [line for line in offer.split("\r\n") if not line.startswith(("a=candidate", "a=end-of-candidates"))]
    peer, answer = await plane.publish("\r\n".join(lines), listener=Heard(), sink=Heard())
    candidates = [line for line in offer.split("\r\n") if line.startswith("a=candidate")]
    ufrag = next(line for line in lines if line.startswith("a=ice-ufrag"))
    assert await plane.patch(peer, "\r\n".join([ufrag, *candidates, ""]), of_any=False) is None
    await client.take(answer)
    await until(lambda: peer.state == "connected")


async def test_a_viewer_of_a_codec_that_is_not_served_is_refused(plane: MediaPlane, clients: Clients) -> None:
    fan, _ = fanout(Codec.H264)
    client = clients.viewer(Codec.VP8)
    with pytest.raises(OfferError, match="VP8") as error:
        await plane.view(await client.offer(), {Codec.H264: fan}, listener=Heard())
    assert error.value.kind == "unsupported"
    assert len(plane.udp_port.demultiplexer._by_ufrag) == 0
    await client.close()


async def test_a_client_that_falls_silent_is_closed_when_consent_runs_out(
    plane: MediaPlane, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.02)
    monkeypatch.setattr(aioice.stun, "RETRY_RTO", 0.02)
    heard = Heard()
    fan, _ = fanout(Codec.H264)
    await view(plane, clients.viewer(Codec.H264), fan, heard)
    plane.udp_port.demultiplexer.datagram = lambda data, route: None  # type: ignore[method-assign]
    await until(lambda: bool(heard.reasons))
    assert "ICE" in heard.reasons[0] or "DTLS" in heard.reasons[0]
    assert len(fan._viewers) == 0


async def test_a_lost_first_flight_is_sent_again_before_the_timer_of_openssl(
    plane: MediaPlane, clients: Clients
) -> None:
    client = clients.publisher(Codec.H264)
    offer = (await client.offer()).replace("a=setup:actpass", "a=setup:passive")
    send, flights = plane.udp_port.send, list[bytes]()

    def losing(data: bytes, route: Route) -> None:
        if data[0] == 22:
            flights.append(data)
        if len(flights) != 1:
            send(data, route)

    plane.udp_port.send = losing  # type: ignore[method-assign]
    peer, answer = await plane.publish(offer, listener=Heard(), sink=Heard())
    await client.take(answer)
    await until(lambda: peer.state == "connected")
    assert flights[0] == flights[1]  # OpenSSL would have numbered its records anew


async def test_a_small_offer_and_one_check_bring_little_to_whom_they_name(plane: MediaPlane, clients: Clients) -> None:
    named, asks = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for one in (named, asks):
        one.bind(("127.0.0.1", 0))
        one.setblocking(False)
    lines = (await clients.publisher(Codec.H264).offer()).split("\r\n")
    kept = [line for line in lines if not line.startswith("a=candidate")]
    at = next(number for number, line in enumerate(kept) if line.startswith("a=ice-ufrag"))
    kept[at:at] = [f"a=candidate:{n} 1 udp {n} 127.0.0.1 {named.getsockname()[1]} typ host" for n in range(1, 30)]
    peer, _ = await plane.publish("\r\n".join(kept), listener=Heard(), sink=Heard())

    message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    local = peer.transport._ice.local
    message.attributes["USERNAME"] = f"{local.ufrag}:x"
    message.attributes["PRIORITY"] = 1
    message.add_message_integrity(local.password.encode())
    asks.sendto(bytes(message), ("127.0.0.1", plane.port))
    await asyncio.sleep(2.5)  # the check of the address is sent again after 0.5 and 1.5 s

    def came(one: socket.socket) -> int:
        size = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                size += len(one.recv(2_000))
        return size

    assert came(named) == 0
    assert 0 < came(asks) <= 3 * len(bytes(message))
    for one in (named, asks):
        one.close()


async def test_only_the_fan_out_sends_rtp(plane: MediaPlane, clients: Clients) -> None:
    fan, _ = fanout(Codec.H264)
    peer = await view(plane, clients.viewer(Codec.H264), fan)
    with pytest.raises(RuntimeError, match="only the fan-out"):
        await peer.transport._dtls._send_rtp(b"\x80\x60" + bytes(20))


async def test_a_publisher_with_holes_that_stay_is_asked_for_a_key_frame(plane: MediaPlane, clients: Clients) -> None:
    heard = Heard()
    client = clients.publisher(Codec.VP8)
    peer = await publish(plane, client, heard)
    asked: list[None] = []
    sender = client.connection.getSenders()[0]
    sender._send_keyframe = lambda: asked.append(None)  # type: ignore[method-assign]
    sender._retransmit = lambda _sequence: asyncio.sleep(0)  # type: ignore[method-assign,assignment]
    units = encode(Codec.VP8, 6)
    client.send(units[:2])
    await until(lambda: len(heard.units) == 2)
    deliver = plane.udp_port.demultiplexer.datagram

    lost: list[bytes] = []

    def deaf(data: bytes, route: Route) -> None:
        if not 128 <= data[0] < 192 or 192 <= data[1] <= 208:
            deliver(data, route)
        else:
            lost.append(data)

    plane.udp_port.demultiplexer.datagram = deaf  # type: ignore[method-assign]
    client.send(units[2:3])
    await until(lambda: bool(lost) and bool(lost[-1][1] & 0x80))  # the marker bit: the last packet of the frame
    plane.udp_port.demultiplexer.datagram = deliver  # type: ignore[method-assign]
    client.send(units[3:])
    await until(lambda: bool(asked))
    await until(lambda: len(heard.units) == 5)
    assert [unit.data for unit in heard.units] == [unit.data for number, unit in enumerate(units) if number != 2]
    assert peer.figures.lost_frames == 1


async def test_a_client_that_pairs_no_loopback_address_connects_to_one_of_the_machine(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = [address for address in own_addresses() if address != LOOPBACK]
    if not own:
        pytest.skip("this machine has no address but loopback")
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: own)
    plane = MediaPlane(hosts=["::"], port=0, clock=SystemClock())
    await plane.start()
    told = [address.ip for address in plane.udp_port.addresses]
    client = clients.publisher(Codec.H264)
    peer, answer = await plane.publish(await client.offer(), listener=Heard(), sink=Heard())
    found = re.findall(r"a=candidate:\d+ 1 udp \d+ (\S+) (\d+) typ host", answer)
    assert list(dict.fromkeys(found)) == [(ip, str(plane.port)) for ip in told]
    await client.take("\r\n".join(line for line in answer.split("\r\n") if LOOPBACK not in line or line[0] != "a"))
    await until(lambda: peer.state == "connected")
    route = peer.transport.route
    assert route is not None
    assert told[route.local] in own
    await plane.stop()


async def test_packets_that_its_keys_do_not_open_are_noticed(plane: MediaPlane, clients: Clients) -> None:
    heard, client = Heard(), clients.publisher(Codec.VP8)
    peer = await publish(plane, client, heard)
    told: list[None] = []
    peer.unreadable = lambda: told.append(None)  # type: ignore[method-assign]
    await client.send_raw(b"\x80\x60" + bytes(range(60)))
    await until(lambda: len(told) == 1)

    client.send(encode(Codec.VP8, 2))
    await until(lambda: len(heard.units) == 2)
    assert len(told) == 1
