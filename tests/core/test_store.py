"""Connecting to Redis."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from typing import Any, cast

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import TimeoutError as RedisTimeoutError

from genlock_core import store


async def test_a_single_server_is_checked_and_used(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    client = store.connect(redis_url)
    try:
        assert isinstance(client, Redis)
        with caplog.at_level(logging.WARNING):
            await store.check(client)
        assert not caplog.records
    finally:
        await client.aclose()


async def test_a_cluster_is_checked_and_used(redis_cluster: list[str]) -> None:
    hosts = [url.removeprefix("redis://").removesuffix("/0") for url in redis_cluster]
    client = store.connect("redis+cluster://" + ",".join(hosts))
    try:
        assert isinstance(client, RedisCluster)
        await store.check(client)
        for key in ("{a}x", "{b}x", "{c}x", "{d}x"):
            await cast("Any", client.set(key, "1"))
    finally:
        await client.aclose()


@pytest.mark.parametrize("servers", ["redis_url", "redis_cluster"])
@pytest.mark.parametrize("pipeline", [False, True])
async def test_a_task_that_is_cancelled_in_a_command_never_goes_on_after_it(
    servers: str, pipeline: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = request.getfixturevalue(servers)
    client = store.connect(urls if isinstance(urls, str) else urls[0].replace("redis://", "redis+cluster://"))
    sent = asyncio.Event()
    went_on = []

    async def wait_for(sending: Awaitable[None], _timeout: float) -> None:
        """As Python 3.11's: what it waited for is done, it is cancelled before it goes on, and it swallows that."""
        await sending
        sent.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    async def work() -> None:
        if pipeline:
            async with client.pipeline(transaction=False) as commands:
                commands.get("{a}1")
                await cast("Any", commands.execute())
        else:
            await client.get("{a}1")
        went_on.append("went on")

    try:
        await work()  # connected from here on
        assert went_on.pop() == "went on"
        monkeypatch.setattr("redis.asyncio.connection.asyncio.wait_for", wait_for)
        task = asyncio.create_task(work())
        await sent.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not went_on
    finally:
        await client.aclose()


@pytest.mark.parametrize("servers", ["redis_url", "redis_cluster"])
@pytest.mark.parametrize("pipeline", [False, True])
async def test_a_burst_of_commands_waits_its_turn(servers: str, pipeline: bool, request: pytest.FixtureRequest) -> None:
    urls = request.getfixturevalue(servers)
    client = store.connect(
        urls if isinstance(urls, str) else urls[0].replace("redis://", "redis+cluster://"), at_once=2
    )

    async def ask() -> Any:
        if not pipeline:
            return await client.get("{a}1")
        async with client.pipeline(transaction=False) as commands:
            commands.get("{a}1")
            return (await cast("Any", commands.execute()))[0]

    try:
        await client.set("{a}1", "there")
        assert set(await asyncio.gather(*(ask() for _ in range(300)))) == {b"there"}
    finally:
        await client.aclose()


async def test_whose_turn_does_not_come_is_told_whether_redis_answers(redis_url: str) -> None:
    client = store.connect(redis_url, at_once=1, wait_s=0.3)

    async def wait(seconds: float) -> None:
        await cast("Any", client.blpop(["nothing"], timeout=seconds))

    try:
        await client.get("1")  # connected from here on
        others = [asyncio.create_task(wait(0.05)) for _ in range(20)]
        await asyncio.sleep(0)
        with pytest.raises(store.StoreBusy):
            await client.get("1")
        for one in others:
            one.cancel()
        await asyncio.wait(others)

        holder = asyncio.create_task(wait(5.0))
        await asyncio.sleep(0)
        with pytest.raises(RedisTimeoutError):
            await client.get("1")
        holder.cancel()
        await asyncio.wait([holder])
        assert await client.get("1") is None, "a cancelled command gives its turn back"
    finally:
        await client.aclose()


async def test_a_server_that_evicts_keys_is_warned_about(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    client = store.connect(redis_url)
    try:
        await client.config_set("maxmemory-policy", "allkeys-lru")
        with caplog.at_level(logging.WARNING):
            await store.check(client)
        assert "noeviction" in caplog.text
    finally:
        await client.config_set("maxmemory-policy", "noeviction")
        await client.aclose()


async def test_a_server_that_is_too_old_is_refused(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = store.connect(redis_url)
    monkeypatch.setattr(store, "OLDEST_VERSION", (99, 0))
    try:
        with pytest.raises(store.StoreUnusable, match=r"need 99\.0 or newer"):
            await store.check(client)
    finally:
        await client.aclose()


@pytest.mark.parametrize("url", ["ftp://host", "redis+cluster://", "redis+cluster://host,", "redis://host:port"])
def test_an_address_that_is_none_is_named_without_its_password(url: str) -> None:
    with pytest.raises(store.StoreUnusable) as refused:
        store.connect(url.replace("://", "://user:hunter2@"))
    assert "hunter2" not in str(refused.value)


def test_a_clusters_credentials_and_default_port_are_read() -> None:
    client = store.connect("rediss+cluster://user:p%40ss@one,two:7001")
    assert isinstance(client, RedisCluster)
    assert {(node.host, node.port) for node in client.get_nodes() or client.nodes_manager.startup_nodes.values()} == {
        ("one", 6_379),
        ("two", 7_001),
    }
    assert client.connection_kwargs["username"] == "user"
    assert client.connection_kwargs["password"] == "p@ss"
