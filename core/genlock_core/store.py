"""The connection to Redis: a single server or a Redis Cluster behind one type, with timeouts, retries and a check.

`connect` does no I/O; a part calls `check` once when it starts, so that a server that would lose data or cannot run the
scripts is named at once and not found out by a session that is gone.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import Pipeline
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from genlock_core.errors import GenlockError
from genlock_core.process.tasks import cancellable

logger = logging.getLogger(__name__)

Store: TypeAlias = Redis | RedisCluster
"""A client of either kind; replies are bytes."""

OLDEST_VERSION = (6, 2)
SOCKET_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
MAX_BLOCK_MS = 2_000
"""The longest that one read may block: below the socket's timeout, so that a quiet stream is not taken for a fault."""
HEALTH_CHECK_S = 10
RETRIES = 3
COMMANDS_AT_ONCE: Final = 100
"""Commands of one client that are under way at a time, unless it is made with fewer; each takes a connection."""
_CLUSTER_SCHEMES = {"redis+cluster": "redis", "rediss+cluster": "rediss"}


class StoreUnusable(GenlockError):
    """A Redis that Genlock cannot run on, or an address that is none."""


class StoreBusy(GenlockError):
    """This client has as many commands under way as it may; nothing is said of Redis, which was not asked."""


def connect(url: str, *, at_once: int = COMMANDS_AT_ONCE, wait_s: float | None = None) -> Store:
    """A client for `redis://`, `rediss://`, `unix://`, or `redis+cluster://host:port,host:port` (`rediss+cluster://`).

    At most `at_once` commands are under way: the next ones wait their turn, and raise StoreBusy where that takes longer
    than `wait_s` (None: they wait as long as their caller does). So a burst is never taken for a Redis that is away,
    and one that answers nothing meanwhile is never taken for a burst.

    A command is tried again (at most `RETRIES` times, with backoff) when the connection breaks, so it may run twice:
    every script of Genlock is written to allow that. Raises StoreUnusable for an address that cannot be read.
    """
    scheme = url.partition("://")[0]
    turns = _Turns(at_once, wait_s)
    try:
        return _connect_cluster(url, turns) if scheme in _CLUSTER_SCHEMES else _connect_single(url, turns)
    except ValueError as error:
        raise StoreUnusable(f"not the address of a Redis: {_without_password(url)} ({error})") from error


async def check(store: Store) -> None:
    """Raise StoreUnusable if Redis is older than 6.2; warn if it may evict keys. Raises RedisError if it is away."""
    version = _text((await _info(store, "server"))["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise StoreUnusable(f"Redis is {version}, but Genlock's scripts need {oldest} or newer; upgrade the server")
    policy = _text((await _info(store, "memory")).get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        logger.warning(
            "Redis has maxmemory-policy %s and may drop claims and snapshots when it is full; set it to noeviction",
            policy,
        )


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one server, in bytes."""

    used: int
    limit: int
    """Its maxmemory; 0: it has none."""

    @property
    def fullness(self) -> float:
        """0 to 1, or a little above; 0 for a server without a limit."""
        return self.used / self.limit if self.limit else 0.0


async def fullest(store: Store) -> Memory:
    """The memory of the server, or of that master of a cluster which is the fullest. Raises RedisError."""
    if isinstance(store, RedisCluster):
        await store.initialize()  # it knows its masters only then
        told = [await store.info("memory", target_nodes=node) for node in store.get_primaries()]
    else:
        told = [await store.info("memory")]
    each = [Memory(int(one["used_memory"]), int(one.get("maxmemory", 0))) for one in told]
    return max(each, key=lambda memory: (memory.fullness, memory.used))


# redis-py may swallow a cancellation (see `process.tasks`), and a loop over Redis would then go on for ever. With these
# clients a cancelled task gets no further than the command that it waits for. The pipeline of a cluster needs no help:
# it sends from tasks of its own.


class _Turns:
    """Who may send a command now, in the order in which they asked."""

    def __init__(self, at_once: int, wait_s: float | None) -> None:
        self.at_once = at_once
        self._wait_s = wait_s
        self._free = asyncio.Semaphore(at_once)
        self._answered = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Raises StoreBusy; RedisTimeoutError where nothing was answered while this one waited: Redis is away."""
        answered = self._answered
        try:
            async with asyncio.timeout(self._wait_s):
                await self._free.acquire()
        except TimeoutError:
            waited = f"{self.at_once} commands to Redis have been under way for {self._wait_s:g} s"
            if self._answered == answered:
                raise RedisTimeoutError(f"{waited}, and none was answered") from None
            raise StoreBusy(waited) from None
        try:
            yield
            self._answered += 1
        finally:
            self._free.release()


class _SingleClient(Redis):
    turns: _Turns

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        async with self.turns.turn():
            command: Awaitable[Any] = super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
            return await cancellable(command)

    def pipeline(
        self,
        transaction: bool = True,  # noqa: FBT001, FBT002 - redis-py's signature
        shard_hint: str | None = None,
    ) -> Pipeline:
        made = _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        made.turns = self.turns
        return made


class _Pipeline(Pipeline):
    turns: _Turns

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis-py's signature
        async with self.turns.turn():
            return await cancellable(super().execute(raise_on_error))


class _ClusterClient(RedisCluster):
    turns: _Turns

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        async with self.turns.turn():
            return await cancellable(super().execute_command(*args, **kwargs))


def _connect_single(url: str, turns: _Turns) -> Redis:
    client = cast(
        "_SingleClient",
        _SingleClient.from_url(
            url,
            max_connections=turns.at_once,
            protocol=2,
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_keepalive=True,
            health_check_interval=HEALTH_CHECK_S,
            retry=_retry(),
            retry_on_error=[RedisConnectionError, RedisTimeoutError],
        ),
    )
    client.turns = turns
    return client


def _connect_cluster(url: str, turns: _Turns) -> RedisCluster:
    scheme, _, rest = url.partition("://")
    credentials, _, hosts = rest.rstrip("/").rpartition("@")
    parts = [urlsplit(f"//{host}") for host in hosts.split(",")]
    if not all(part.hostname for part in parts):
        raise ValueError("a host is missing")
    user = urlsplit(f"//{credentials}@host") if credentials else None
    client = _ClusterClient(
        startup_nodes=[ClusterNode(str(part.hostname), part.port or 6_379) for part in parts],
        username=unquote(user.username) if user and user.username else None,
        password=unquote(user.password) if user and user.password else None,
        ssl=_CLUSTER_SCHEMES[scheme] == "rediss",
        protocol=2,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_keepalive=True,
        health_check_interval=HEALTH_CHECK_S,
        retry=_retry(),
    )
    client.turns = turns
    return client


def _retry() -> Retry:
    return Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.5), RETRIES)


async def _info(store: Store, section: str) -> dict[str, object]:
    """One section of INFO, of any node of a cluster: its masters are set up alike."""
    if isinstance(store, RedisCluster):
        told = await store.info(section, target_nodes=RedisCluster.RANDOM)
    else:
        told = await store.info(section)
    if not isinstance(told, dict):
        raise RedisError(f"INFO {section} answered {type(told).__name__}")
    return told


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://***{at}{tail}" if at else url
