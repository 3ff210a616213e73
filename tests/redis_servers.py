"""Real Redis servers for the tests, each run with its own on free ports: nothing is shared between two runs.

- `redis_url`: an empty Redis, the usual case.
- `redis_server`: a server of the test's own, to kill, stop and restart; it keeps its data.
- `forgetful_redis_server`: the same, but a restart loses all.
- `redis_cluster`: an empty Redis Cluster of three masters.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from genlock_cli.redis_server import RedisProcess

CLUSTER_SLOTS = 16_384
CLUSTER_MASTERS = 3
CLUSTER_TIMEOUT_S = 30.0


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """The server behind `redis_url`; ask for that one instead."""
    with RedisProcess(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(shared_redis: RedisProcess) -> str:
    """The URL of an empty Redis; what the test leaves there is gone before the next one."""
    _flush(shared_redis)
    return shared_redis.url


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisProcess]:
    """A running server of the test's own that keeps every write over `kill`, `stop`, `start` and `restart`."""
    with RedisProcess(tmp_path / "redis", append_only=True) as server:
        yield server


@pytest.fixture
def forgetful_redis_server(tmp_path: Path) -> Iterator[RedisProcess]:
    """A running server of the test's own that is empty, and has another run id, after a restart."""
    with RedisProcess(tmp_path / "forgetful-redis") as server:
        yield server


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisProcess, ...]]:
    """The three masters behind `redis_cluster`; ask for that one instead."""
    directory = tmp_path_factory.mktemp("redis-cluster")
    with ExitStack() as stack:
        nodes = tuple(
            stack.enter_context(RedisProcess(directory / str(index), cluster=True)) for index in range(CLUSTER_MASTERS)
        )
        form_cluster(nodes)
        yield nodes


@pytest.fixture
def redis_cluster(shared_cluster: tuple[RedisProcess, ...]) -> list[str]:
    """The URLs of the masters of an empty Redis Cluster; any of them is enough to join it."""
    for node in shared_cluster:
        _flush(node)
    return [node.url for node in shared_cluster]


def form_cluster(nodes: tuple[RedisProcess, ...]) -> None:
    """Make empty servers in cluster mode one cluster of masters with equal shares of the slots, and wait for it."""
    share = -(-CLUSTER_SLOTS // len(nodes))
    first = nodes[0]
    for index, node in enumerate(nodes):
        slots = range(index * share, min((index + 1) * share, CLUSTER_SLOTS))
        with redis.Redis(port=node.port) as client:
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", index + 1)
            client.execute_command("CLUSTER ADDSLOTS", *slots)  # ADDSLOTSRANGE is younger than Redis 6.2
            if node is not first:
                client.execute_command("CLUSTER MEET", "127.0.0.1", first.port)
    deadline = time.monotonic() + CLUSTER_TIMEOUT_S
    while not all(_is_joined(node, masters=len(nodes)) for node in nodes):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the Redis Cluster did not form within {CLUSTER_TIMEOUT_S:g} s")
        time.sleep(0.05)


def _is_joined(node: RedisProcess, *, masters: int) -> bool:
    """Whether this node serves every slot and knows every master."""
    with redis.Redis(port=node.port) as client:
        facts: dict[str, str] = client.execute_command("CLUSTER INFO")
    return facts["cluster_state"] == "ok" and facts["cluster_size"] == str(masters)


def _flush(server: RedisProcess) -> None:
    with redis.Redis(port=server.port) as client:
        client.flushall()
