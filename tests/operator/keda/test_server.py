"""The scaler, asked by a real client over loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from redis.exceptions import ConnectionError as RedisAway

from genlock_core.levelling.scaling import ScalingTold
from genlock_core.process.address import Address
from genlock_core.spec.autoscaling import ScalingMode
from genlock_operator.keda import server as served
from genlock_operator.keda.server import ScalerServer
from genlock_operator.keda.wire import Messages, ScaledObject
from tests.operator.keda.requests import metric_wanted, reference

MESSAGES = Messages()
OUR_POOL = reference(ScaledObject("follow", "live", {"pool": "warm"}))
Ask = Callable[[str, bytes], Awaitable[bytes]]


def told(desired: int, mode: str = ScalingMode.EXTERNAL) -> ScalingTold:
    return ScalingTold(at_ms=0, mode=mode, desired=desired, reason="Sessions", terms={}, speed=1.0, sentences=())


class Pools:
    """Stands for what is told in Redis."""

    def __init__(self) -> None:
        self.pools: dict[str, ScalingTold] = {"live/warm": told(3)}
        self.away = False
        self.hangs = False

    async def scaling(self, pool: str) -> ScalingTold | None:
        if self.away:
            raise RedisAway
        if self.hangs:
            await asyncio.Event().wait()
        return self.pools.get(pool)


@pytest.fixture
def pools() -> Pools:
    return Pools()


@pytest.fixture
async def channel(pools: Pools) -> AsyncIterator[grpc.aio.Channel]:
    server = ScalerServer(pools.scaling)
    port = await server.start(Address("127.0.0.1", 0))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop()


@pytest.fixture
def ask(channel: grpc.aio.Channel) -> Ask:
    async def ask(method: str, request: bytes) -> bytes:
        call: Any = channel.unary_unary(f"/externalscaler.ExternalScaler/{method}")
        answer: bytes = await call(request, timeout=10)
        return answer

    return ask


async def refused(asked: Awaitable[bytes]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await asked
    return refusal.value.code(), refusal.value.details() or ""


def about(pool: str = "warm", metric: str = "workers") -> bytes:
    return metric_wanted(ScaledObject("follow", "live", {"pool": pool}), metric)


async def test_keda_learns_how_many_workers_there_should_be(ask: Ask, pools: Pools) -> None:
    assert await ask("GetMetricSpec", OUR_POOL) == MESSAGES.spec("workers", 1)
    assert await ask("GetMetrics", about()) == MESSAGES.metric("workers", 3)
    assert await ask("IsActive", OUR_POOL) == MESSAGES.active(active=True)

    pools.pools["live/warm"] = told(0)
    assert await ask("GetMetrics", about()) == MESSAGES.metric("workers", 0)
    assert await ask("IsActive", OUR_POOL) == MESSAGES.active(active=False)


async def test_a_metric_is_answered_under_the_name_that_keda_gave_it(ask: Ask) -> None:
    assert await ask("GetMetrics", about(metric="s0-workers")) == MESSAGES.metric("s0-workers", 3)


async def test_who_can_be_told_nothing_gets_an_error_and_no_number(ask: Ask, pools: Pools) -> None:
    assert await refused(ask("GetMetrics", about("other"))) == (
        grpc.StatusCode.UNAVAILABLE,
        "nobody has told of a pool live/other within the last half minute",
    )
    assert (await refused(ask("GetMetrics", about(""))))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert (await refused(ask("GetMetricSpec", b"")))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert (await refused(ask("GetMetrics", b"\xff")))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert (await refused(ask("IsActive", b"\xff")))[0] is grpc.StatusCode.INVALID_ARGUMENT

    pools.pools["live/warm"] = told(3, ScalingMode.SLO)
    assert (await refused(ask("GetMetrics", about())))[0] is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_redis_that_is_away_or_hangs_is_no_zero(
    ask: Ask, pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.away = True
    assert await refused(ask("GetMetrics", about())) == (grpc.StatusCode.UNAVAILABLE, "Redis does not answer")
    monkeypatch.setattr(served, "ANSWER_S", 0.05)
    pools.away, pools.hangs = False, True
    assert await refused(ask("IsActive", OUR_POOL)) == (
        grpc.StatusCode.UNAVAILABLE,
        "Redis does not answer",
    )


async def test_a_stream_tells_when_it_changes(
    channel: grpc.aio.Channel, pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "LOOK_EVERY_S", 0.01)
    call = _stream(channel)
    assert await call.read() == MESSAGES.active(active=True)
    pools.pools["live/warm"] = told(5)
    await asyncio.sleep(0.05)  # the number changes, that there is one does not
    pools.pools["live/warm"] = told(0)
    assert await call.read() == MESSAGES.active(active=False)
    pools.pools["live/warm"] = told(1)
    assert await call.read() == MESSAGES.active(active=True)
    call.cancel()


async def test_streams_that_nobody_ends_keep_no_request_out(
    channel: grpc.aio.Channel, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "STREAMS_AT_ONCE", 2)
    held = [_stream(channel) for _ in range(2)]
    for one in held:
        await one.read()
    with pytest.raises(grpc.aio.AioRpcError, match="2 streams") as refusal:
        await _stream(channel).read()
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await ask("GetMetrics", about()) == MESSAGES.metric("workers", 3)

    # One that ends makes room for the next.
    held[0].cancel()
    async with asyncio.timeout(10):
        while True:
            with_room = _stream(channel)
            try:
                await with_room.read()
                break
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.01)
    for one in (held[1], with_room):
        one.cancel()


@pytest.mark.parametrize("method", ["IsActive", "GetMetrics", "GetMetricSpec", "StreamIsActive"])
async def test_requests_that_are_never_sent_to_their_end_keep_nobody_out(
    method: str, pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "AT_ONCE", 2)
    monkeypatch.setattr(served, "MESSAGE_S", 0.3)
    server = ScalerServer(pools.scaling)
    port = await server.start(Address("127.0.0.1", 0))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.stream_unary(f"/externalscaler.ExternalScaler/{method}")
        for _ in range(3):
            half_sent = [call(timeout=30) for _ in range(2)]
            ended = await asyncio.gather(*half_sent, return_exceptions=True)
            assert [one.code() for one in ended if isinstance(one, grpc.aio.AioRpcError)] == [
                grpc.StatusCode.DEADLINE_EXCEEDED
            ] * 2
            assert [one.details() for one in ended if isinstance(one, grpc.aio.AioRpcError)] == [
                "no message has come within 0.3 s"
            ] * 2
        empty = call(timeout=30)
        await empty.done_writing()
        assert (await refused(empty))[0] is grpc.StatusCode.INVALID_ARGUMENT
    await server.stop()


async def test_redis_is_asked_a_few_questions_at_a_time(pools: Pools) -> None:
    asked = most = 0
    told_of = pools.scaling

    async def counted(pool: str) -> ScalingTold | None:
        nonlocal asked, most
        asked += 1
        most = max(most, asked)
        await asyncio.sleep(0.02)  # long enough for all of them to be there
        asked -= 1
        return await told_of(pool)

    server = ScalerServer(counted)
    port = await server.start(Address("127.0.0.1", 0))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_unary("/externalscaler.ExternalScaler/GetMetrics")
        answers = await asyncio.gather(*(call(about(), timeout=30) for _ in range(60)))
    await server.stop()
    assert answers == [MESSAGES.metric("workers", 3)] * 60
    assert most == served.READS_AT_ONCE


async def test_a_message_that_is_too_large_is_not_taken(ask: Ask) -> None:
    large = reference(ScaledObject("x" * 70_000, "live", {"pool": "warm"}))
    assert (await refused(ask("IsActive", large)))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_port_that_is_taken_is_an_error(pools: Pools) -> None:
    first, second = ScalerServer(pools.scaling), ScalerServer(pools.scaling)
    port = await first.start(Address("127.0.0.1", 0))
    try:
        with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
            await second.start(Address("127.0.0.1", port))
    finally:
        await first.stop()


def _stream(channel: grpc.aio.Channel) -> Any:
    call: Any = channel.unary_stream("/externalscaler.ExternalScaler/StreamIsActive")
    return call(OUR_POOL, timeout=30)
