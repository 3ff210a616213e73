"""Links over real sockets: what reaches the other side, and how each kind of end is told."""

import asyncio

import pytest

from genlock_core.clock import SystemClock
from genlock_core.link.client import connect
from genlock_core.link.closure import CloseCause, LinkDown
from genlock_core.link.connection import LinkConnection, Meter
from genlock_core.link.events import (
    ChannelOpened,
    Event,
    KeyFrameWanted,
    LinkIdentity,
    MediaDropped,
    MediaReceived,
    OpenRequested,
    PeerLeft,
    PeerSilent,
    PictureReceived,
    SubscriptionRequested,
)
from genlock_core.link.messages import LinkRole, Open, Subscribe
from genlock_core.link.outbox import OutboxLimits
from genlock_core.media import AccessUnit, Codec, SourcePosition, StillPicture
from genlock_core.subscriptions.preview import preview_of
from tests.core.link.sockets import GATEWAY, QUICK, SECRETS, WORKER, Engine, echo, link, until, worker


async def test_a_meter_is_told_of_every_byte() -> None:
    told: dict[str, list[int]] = {"in": [], "out": []}
    async with worker(echo) as server:
        connection = await connect(
            server.address,
            identity=GATEWAY,
            secrets=SECRETS,
            clock=SystemClock(),
            meter=Meter(received=told["in"].append, sent=told["out"].append),
        )
        channel = connection.open(Open(session="default/demo", epoch=1, gateway="g0", publisher=True, codecs=("h264",)))
        await until(connection, ChannelOpened)
        before = {way: sum(counts) for way, counts in told.items()}
        connection.send_media(channel, AccessUnit(Codec.H264, b"x" * 5_000, key_frame=True, capture_us=0), run=1)
        await until(connection, MediaReceived)
        assert all(5_000 < sum(counts) - before[way] < 6_000 for way, counts in told.items())
        await connection.close()


async def test_media_and_requests_go_both_ways() -> None:
    async with worker(echo) as server:
        connection = await link(server)
        assert connection.peer == WORKER
        channel = connection.open(Open(session="default/demo", epoch=7, gateway="g0"))
        assert not connection.send_media(channel, AccessUnit(Codec.H264, b"early", key_frame=True, capture_us=0), run=1)
        assert await until(connection, ChannelOpened) == ChannelOpened(channel, "default/demo", 7)
        unit = AccessUnit(Codec.H264, bytes(range(256)) * 4_000, key_frame=True, capture_us=-5)
        assert connection.send_media(channel, unit, run=3)
        echoed = await until(connection, MediaReceived)
        assert isinstance(echoed, MediaReceived)
        assert (echoed.unit, echoed.run, echoed.sequence, echoed.epoch) == (unit, 3, 0, 7)
        connection.send_codecs(channel, frozenset({Codec.VP8}))
        assert await until(connection, KeyFrameWanted) == KeyFrameWanted(channel, "default/demo", Codec.VP8)
        assert (await connection.close("done")).cause is CloseCause.CLOSED


async def opened(connection: LinkConnection) -> int:
    channel = connection.open(Open(session="default/demo", epoch=7, gateway="g0"))
    await until(connection, ChannelOpened)
    return channel


def numbered(number: int) -> AccessUnit:
    return AccessUnit(Codec.H264, b"x", key_frame=True, capture_us=number)


async def test_a_channels_media_goes_to_its_sink_in_its_place_among_the_other_events() -> None:
    async def ask_between(connection: LinkConnection) -> None:
        async for event in connection.events():
            if isinstance(event, OpenRequested):
                connection.accept(event.channel, event.request.epoch)
            elif isinstance(event, MediaReceived):
                connection.send_media(event.channel, numbered(1), run=1)
                connection.request_key_frame(event.channel, Codec.VP8)
                connection.send_media(event.channel, numbered(2), run=1)

    happened: list[object] = []
    async with worker(ask_between) as server:
        connection = await link(server)
        sunk, shown = await opened(connection), await opened(connection)
        connection.deliver_media(sunk, lambda media: happened.append((media.channel, media.unit.capture_us)))
        for channel in (sunk, shown):
            connection.send_media(channel, numbered(0), run=1)
        async for event in connection.events():
            happened.append((event.channel, event.unit.capture_us) if isinstance(event, MediaReceived) else type(event))
            if len(happened) == 6:
                break
        assert happened == [
            (sunk, 1),
            KeyFrameWanted,
            (sunk, 2),
            (shown, 1),
            KeyFrameWanted,
            (shown, 2),
        ]
        await connection.close()


async def test_a_sink_hears_nothing_more_of_a_channel_that_it_closed() -> None:
    heard: list[int] = []
    async with worker(echo) as server:
        connection = await link(server)
        closed, going = await opened(connection), await opened(connection)

        def hear_one(media: MediaReceived) -> None:
            heard.append(media.unit.capture_us)
            connection.close_channel(closed)

        connection.deliver_media(closed, hear_one)
        for channel, number in ((closed, 1), (closed, 2), (going, 3)):
            connection.send_media(channel, numbered(number), run=1)
        while (media := await until(connection, MediaReceived)) and isinstance(media, MediaReceived):
            if media.channel == going:
                break
        assert heard == [1]
        await connection.close()


async def test_a_sink_that_fails_costs_its_own_session_alone(caplog: pytest.LogCaptureFixture) -> None:
    def fail(media: MediaReceived) -> None:
        raise ValueError(media.channel)

    async with worker(echo) as server:
        connection = await link(server)
        failing, going = await opened(connection), await opened(connection)
        connection.deliver_media(failing, fail)
        for channel in (failing, going):
            connection.send_media(channel, numbered(1), run=1)
        media = await until(connection, MediaReceived)
        assert isinstance(media, MediaReceived)
        assert media.channel == going
        assert "an access unit was not handled" in caplog.text
        await connection.close()


async def test_a_goodbye_reaches_the_other_side_with_its_reason() -> None:
    heard: asyncio.Future[Event] = asyncio.get_running_loop().create_future()

    async def serving(connection: LinkConnection) -> None:
        heard.set_result(await until(connection, PeerLeft))

    async with worker(serving) as server:
        connection = await link(server)
        await connection.close("drained")
        assert await heard == PeerLeft("drained")


async def test_a_worker_that_drains_says_so() -> None:
    async with worker(echo) as server:
        connection = await link(server)
        await server.close("draining")
        closure = await connection.closed
        assert (closure.cause, closure.detail) == (CloseCause.LEFT, "draining")
        with pytest.raises(LinkDown, match="left"):
            connection.open(Open(session="default/demo", epoch=7, gateway="g0"))
        assert not connection.nudge_control(1)
        assert [type(event) async for event in connection.events()] == [PeerLeft]


async def test_a_port_where_nobody_listens_is_refused() -> None:
    async with worker(echo) as server:
        address = server.address
    with pytest.raises(LinkDown) as down:
        await connect(address, identity=GATEWAY, secrets=SECRETS, clock=SystemClock())
    assert down.value.cause is CloseCause.REFUSED


async def test_another_incarnation_at_the_address_is_refused() -> None:
    async with worker(echo) as server:
        with pytest.raises(LinkDown, match="that process is gone") as down:
            await connect(
                server.address,
                identity=GATEWAY,
                secrets=SECRETS,
                clock=SystemClock(),
                expect=LinkIdentity(LinkRole.WORKER, "w0", "w0-before"),
            )
        assert down.value.cause is CloseCause.REFUSED


async def test_a_wrong_secret_is_told_as_such() -> None:
    async with worker(echo) as server:
        with pytest.raises(LinkDown, match="secret") as down:
            await connect(server.address, identity=GATEWAY, secrets=(b"x" * 32,), clock=SystemClock())
        assert down.value.cause is CloseCause.AUTH
        assert not server.connections


async def test_an_end_without_a_goodbye_is_a_reset() -> None:
    async def die(connection: LinkConnection) -> None:
        connection._writer.transport.abort()
        await connection.closed

    async with worker(die) as server:
        connection = await link(server)
        assert (await connection.closed).cause is CloseCause.RESET


async def test_the_end_of_a_link_is_told_also_if_its_task_is_cancelled_again_in_its_goodbye(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    goodbye = asyncio.Event()

    async def takes_for_ever() -> None:
        goodbye.set()
        await asyncio.Event().wait()

    async with worker(echo) as server:
        connection = await link(server)
        monkeypatch.setattr(connection, "_farewell", takes_for_ever)
        connection._serving.cancel()
        await goodbye.wait()
        connection._serving.cancel()
        async with asyncio.timeout(1):
            assert (await connection.closed).cause is CloseCause.CLOSED


async def test_a_stuck_engine_is_silent_though_its_heartbeats_come() -> None:
    engine = Engine()
    async with worker(echo, engine=engine, timings=QUICK) as server:
        connection = await link(server, timings=QUICK)
        engine.stuck = True
        assert isinstance(await until(connection, PeerSilent), PeerSilent)
        assert (await connection.closed).cause is CloseCause.SILENT


async def test_a_peer_that_does_not_read_costs_bounded_memory_and_asks_for_an_idr() -> None:
    release = asyncio.Event()

    async def sleepy(connection: LinkConnection) -> None:
        request = await until(connection, OpenRequested)
        assert isinstance(request, OpenRequested)
        connection.accept(request.channel, 1)
        await release.wait()

    async with worker(sleepy) as server:
        connection = await connect(
            server.address,
            identity=GATEWAY,
            secrets=SECRETS,
            clock=SystemClock(),
            limits=OutboxLimits(lane_frames=8, lane_bytes=1_000_000),
        )
        channel = connection.open(Open(session="default/demo", epoch=1, gateway="g0"))
        await until(connection, ChannelOpened)
        unit = AccessUnit(Codec.H264, bytes(100_000), key_frame=False, capture_us=0)
        for _ in range(1_000):
            assert connection.send_media(channel, unit, run=1)
            assert connection._protocol.buffered_bytes < 2_000_000
            await asyncio.sleep(0)
        dropped = await until(connection, MediaDropped)
        assert isinstance(dropped, MediaDropped)
        assert dropped.channel == channel
        assert dropped.count > 100
        release.set()
        await connection.close()


async def test_a_subscriber_that_never_reads_costs_one_picture() -> None:
    subscribed: asyncio.Future[tuple[LinkConnection, int]] = asyncio.get_running_loop().create_future()

    async def serving(connection: LinkConnection) -> None:
        request = await until(connection, SubscriptionRequested)
        assert isinstance(request, SubscriptionRequested)
        connection.accept(request.channel, 1)
        subscribed.set_result((connection, request.channel))
        await connection.closed

    async with worker(serving) as server:
        gateway = await link(server)
        gateway.subscribe(Subscribe.of(preview_of("default/demo", epoch=1, subscriber="g0"), ttl_s=5.0))
        await until(gateway, ChannelOpened)
        gateway._writer.transport.pause_reading()  # type: ignore[attr-defined]
        connection, channel = await subscribed
        for number in range(500):
            assert connection.send_picture(channel, StillPicture(bytes(100_000), SourcePosition(1, number)))
            await asyncio.sleep(0)
        assert connection._protocol.buffered_bytes <= 100_000
        gateway._writer.transport.resume_reading()  # type: ignore[attr-defined]
        async for event in gateway.events():
            if isinstance(event, PictureReceived) and event.picture.position.capture_us == 499:
                break
        await gateway.close()


async def test_a_slow_owner_slows_the_peer_and_loses_nothing() -> None:
    async with worker(echo) as server:
        connection = await link(server)
        channel = connection.open(Open(session="default/demo", epoch=1, gateway="g0"))
        await until(connection, ChannelOpened)
        for count in range(2_000):
            connection.send_media(
                channel, AccessUnit(Codec.VP8, b"%d" % count, key_frame=True, capture_us=count), run=1
            )
            await asyncio.sleep(0)
        seen = 0
        async for event in connection.events():
            if isinstance(event, MediaReceived):
                seen += 1
                assert len(connection._events) <= 256
            if seen == 2_000 or (isinstance(event, MediaReceived) and event.unit.capture_us == 1_999):
                break
        await connection.close()
