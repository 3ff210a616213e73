"""The server that KEDA's external scalers call, over gRPC without TLS, as the installation's other inner ports.

Whoever can connect may ask, and learns numbers of workers. What a stranger can take is bounded: the size of a message
and of its headers, requests at the same time, streams at the same time, how long a message may take to come, how many
questions Redis is asked at the same time, and how long a connection is kept. Requests and streams have bounds of their
own, so that streams that nobody ends keep no request out.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NoReturn, TypeAlias

import grpc
from redis.exceptions import RedisError

from genlock_core.levelling.scaling import ScalingTold
from genlock_core.process.address import Address
from genlock_operator.keda.answers import METRIC, TARGET, NoAnswer, NoAnswerReason, pool_of, workers
from genlock_operator.keda.wire import SERVICE, Messages, NoMessage, ScaledObject

logger = logging.getLogger(__name__)

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Requests: TypeAlias = AsyncIterator[bytes]
Read = Callable[[str], Awaitable[ScalingTold | None]]
"""What was told of a pool last. Raises RedisError."""

LARGEST_MESSAGE_BYTES: Final = 64 * 1_024
LARGEST_HEADERS_BYTES: Final = 8 * 1_024
AT_ONCE: Final = 256
"""Requests and streams together; the next one is refused."""
STREAMS_AT_ONCE: Final = 64
AT_ONCE_OF_A_CONNECTION: Final = 100
LONGEST_CONNECTION_S: Final = 600
"""KEDA connects again by itself. Who only holds a connection is rid of by that."""

MESSAGE_S: Final = 5.0
"""How long the message of a request may take to come: a request that is never sent to its end is none."""
ANSWER_S: Final = 2.0
"""How long Redis may take, the wait for a turn included."""
READS_AT_ONCE: Final = 8
"""Questions to Redis at the same time. The operator's own work goes over the same connections."""
LOOK_EVERY_S: Final = 2.0
"""How often a stream looks whether the pool should have any worker."""
GOODBYE_S: Final = 1.0

_CODES: Final = {
    NoAnswerReason.NO_POOL: grpc.StatusCode.INVALID_ARGUMENT,
    NoAnswerReason.UNKNOWN: grpc.StatusCode.UNAVAILABLE,
    NoAnswerReason.NOT_EXTERNAL: grpc.StatusCode.FAILED_PRECONDITION,
}


class ScalerServer:
    """Serves from `start` to `stop`. Both are called on the event loop that serves."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._messages = Messages()
        self._streams = 0
        self._turns = asyncio.Semaphore(READS_AT_ONCE)
        self._server: grpc.aio.Server | None = None

    async def start(self, address: Address) -> int:
        """The port. Raises OSError."""
        server = grpc.aio.server(options=_options(), maximum_concurrent_rpcs=AT_ONCE)
        server.add_generic_rpc_handlers((self._handlers(),))
        try:
            port = server.add_insecure_port(str(address))
        except RuntimeError as error:
            raise OSError(f"no scaler can be served at {address}: {error}") from error
        await server.start()
        self._server = server
        logger.info("KEDA's external scaler is served at %s", Address(address.host, port))
        return port

    async def stop(self) -> None:
        """Streams are ended, requests get a moment."""
        if self._server is not None:
            await self._server.stop(GOODBYE_S)
            self._server = None

    def _handlers(self) -> grpc.GenericRpcHandler:
        # Without serializers: what cannot be read is answered as such, and not as a fault of this side. Taken as
        # streams of requests, which lie on the wire alike: only so does a handler run before the message is there, and
        # can end a request that never brings it.
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "IsActive": grpc.stream_unary_rpc_method_handler(self._is_active),
                "StreamIsActive": grpc.stream_stream_rpc_method_handler(self._stream_is_active),
                "GetMetricSpec": grpc.stream_unary_rpc_method_handler(self._metric_spec),
                "GetMetrics": grpc.stream_unary_rpc_method_handler(self._metrics),
            },
        )

    async def _is_active(self, requests: Requests, context: Context) -> bytes:
        """KEDA asks it of a pool without workers, and of one that it may bring to none."""
        asking = await self._asking(requests, context)
        return self._messages.active(active=await self._workers(asking, context) > 0)

    async def _stream_is_active(self, requests: Requests, context: Context) -> AsyncIterator[bytes]:
        """For triggers `external-push`: first as it is, then whenever it changes."""
        asking = await self._asking(requests, context)
        if self._streams >= STREAMS_AT_ONCE:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{STREAMS_AT_ONCE} streams are open already")
        self._streams += 1
        try:
            before: bool | None = None
            while True:
                active = await self._workers(asking, context) > 0
                if active is not before:
                    yield self._messages.active(active=active)
                before = active
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            self._streams -= 1

    async def _metric_spec(self, requests: Requests, context: Context) -> bytes:
        """Also for a pool of which nothing is told now: what is asked for would be the same."""
        asking = await self._asking(requests, context)
        try:
            pool_of(asking)
        except NoAnswer as error:
            await _refuse(context, error)
        return self._messages.spec(METRIC, TARGET)

    async def _metrics(self, requests: Requests, context: Context) -> bytes:
        """There is one metric; it is answered under the name that KEDA has given it."""
        try:
            wanted = self._messages.metric_wanted(await _message(requests, context))
        except NoMessage as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return self._messages.metric(wanted.metric or METRIC, await self._workers(wanted.of, context))

    async def _asking(self, requests: Requests, context: Context) -> ScaledObject:
        """Who asks. Ends the request for who cannot be read."""
        try:
            return self._messages.scaled_object(await _message(requests, context))
        except NoMessage as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    async def _workers(self, asking: ScaledObject, context: Context) -> int:
        """How many workers its pool should have. Ends the request where nobody can say that."""
        try:
            pool = pool_of(asking)
            async with asyncio.timeout(ANSWER_S), self._turns:
                told = await self._read(pool)
            return workers(pool, told)
        except NoAnswer as error:
            await _refuse(context, error)
        except (RedisError, TimeoutError) as error:
            logger.warning("KEDA gets no answer, Redis does not answer: %s", type(error).__name__)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Redis does not answer")


async def _message(requests: Requests, context: Context) -> bytes:
    """The one message of a request. Ends the request where it does not come."""
    try:
        async with asyncio.timeout(MESSAGE_S):
            return await anext(requests)
    except StopAsyncIteration:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request has no message")
    except TimeoutError:
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"no message has come within {MESSAGE_S:g} s")


async def _refuse(context: Context, error: NoAnswer) -> NoReturn:
    await context.abort(_CODES[error.why], error.message)


def _options() -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", LARGEST_MESSAGE_BYTES),
        ("grpc.max_metadata_size", LARGEST_HEADERS_BYTES),
        ("grpc.absolute_max_metadata_size", LARGEST_HEADERS_BYTES),
        ("grpc.max_concurrent_streams", AT_ONCE_OF_A_CONNECTION),
        ("grpc.max_connection_age_ms", LONGEST_CONNECTION_S * 1_000),
        ("grpc.max_connection_age_grace_ms", round(GOODBYE_S * 1_000)),
        # A port that is taken is an error, and not shared.
        ("grpc.so_reuseport", 0),
    ]
