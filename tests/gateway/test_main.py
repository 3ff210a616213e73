"""A gateway that cannot serve leaves nothing running: its tasks end, also where a library swallows a cancellation."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from genlock_core.tokens import Keyring, generate_secrets
from genlock_gateway import main
from genlock_gateway.gateway import Gateway, build
from genlock_gateway.settings import GatewaySettings, parse_settings


@pytest.fixture
def settings(redis_url: str) -> GatewaySettings:
    where = ["--http", "127.0.0.1:0", "--udp", "127.0.0.1:0"]
    return parse_settings(["--name", "g0", "--redis", redis_url, *where], {})


@pytest.fixture
def keyring() -> Keyring:
    return Keyring.parse(generate_secrets())


async def test_every_task_of_a_gateway_ends_by_one_cancellation_though_redis_py_swallows_it(
    settings: GatewaySettings, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `asyncio.run` does at its end: it cancels once, and waits for ever."""
    before = asyncio.all_tasks()
    gateway = build(settings, keyring)
    await gateway.start()
    in_a_command = asyncio.Event()

    async def wait_for(sending: Awaitable[None], _timeout: float) -> None:
        """As Python 3.11's: what it waited for is done, it is cancelled before it goes on, and it swallows that."""
        await sending
        in_a_command.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    try:
        with monkeypatch.context() as patched:
            patched.setattr("redis.asyncio.connection.asyncio.wait_for", wait_for)
            await in_a_command.wait()
            tasks = asyncio.all_tasks() - before
            assert {"maintenance sweep", "maintenance events"} <= {task.get_name() for task in tasks}
            for task in tasks:
                task.cancel()
            _, pending = await asyncio.wait(tasks, timeout=5)
            assert not {task.get_name() for task in pending}
    finally:
        await gateway.stop()


def refuse(*_: Any, **__: Any) -> Any:
    raise ValueError("it cannot be made")


async def start_and_fail(gateway: Gateway, start: Callable[[Gateway], Awaitable[None]] = Gateway.start) -> None:
    await start(gateway)
    raise ValueError("it cannot be started")


@pytest.mark.parametrize("fault", [(main, "ports", refuse), (Gateway, "start", start_and_fail)])
async def test_a_gateway_that_fails_half_way_leaves_no_task_behind(
    fault: tuple[Any, str, Any], settings: GatewaySettings, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = asyncio.all_tasks()
    monkeypatch.setattr(*fault)
    with pytest.raises(ValueError, match="it cannot be"):
        await main.serve(settings, keyring)
    assert not {task.get_name() for task in asyncio.all_tasks() - before}
