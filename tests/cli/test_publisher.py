"""Which connection `genlock publish` sends to, while its gateway goes and another one takes it in. No WebRTC here."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from genlock_cli.api import GatewayProblem
from genlock_cli.clients.whip import WhipPublisher
from genlock_cli.encoded_source import EncodedSource, EncodingPlan
from genlock_cli.publish import _Publisher


@dataclass(eq=False)
class Connection:
    """What `genlock publish` looks at of one of its connections."""

    lost: asyncio.Event = field(default_factory=asyncio.Event)
    asked_to_leave: asyncio.Event = field(default_factory=asyncio.Event)
    replaced: str = ""
    closed: bool = False

    async def close(self) -> None:
        self.closed = True

    def replace(self) -> None:
        """The gateway says on this connection that another publication took over."""
        self.replaced = "another publication took over"
        self.lost.set()


class Publisher:
    """`genlock publish`, whose next connection comes when `answer` is called."""

    def __init__(self) -> None:
        plan = EncodingPlan(frame_rate=20, bitrate=800_000, key_frame_every_s=4.0, codec="h264")
        self._own = _Publisher(
            url="http://gateway/whip/a/b",
            token=None,
            publisher_id=None,
            feed=cast(EncodedSource, None),
            plan=plan,
            duration_s=None,
            answer_pli=True,
            take_over=False,
        )
        self._next: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        setattr(self._own, "_reconnect", self._reconnect)  # noqa: B010 - its connections are WebRTC

    async def _reconnect(self) -> Any:
        return await self._next

    async def answer(self, with_what: Connection | GatewayProblem) -> None:
        if isinstance(with_what, Connection):
            self._next.set_result(with_what)
        else:
            self._next.set_exception(with_what)
        await asyncio.sleep(0.01)

    async def where_to_send(self, current: Connection) -> Any:
        return await self._own._where_to_send(cast(WhipPublisher, current))


async def test_one_that_drains_is_used_until_the_next_answers() -> None:
    publisher, old, new = Publisher(), Connection(), Connection()
    old.asked_to_leave.set()
    assert await publisher.where_to_send(old) is old
    await publisher.answer(new)
    assert await publisher.where_to_send(old) is new
    assert old.closed


async def test_a_publisher_that_its_own_next_connection_replaced_goes_on() -> None:
    """The old gateway hears of the new connection, and says so, before the next frame is due."""
    publisher, old, new = Publisher(), Connection(), Connection()
    old.asked_to_leave.set()
    assert await publisher.where_to_send(old) is old
    await publisher.answer(new)
    old.replace()
    assert await publisher.where_to_send(old) is new


async def test_a_publisher_that_is_replaced_while_it_reconnects_waits_for_the_answer() -> None:
    publisher, old, new = Publisher(), Connection(), Connection()
    old.asked_to_leave.set()
    assert await publisher.where_to_send(old) is old
    old.replace()
    waiting = asyncio.create_task(publisher.where_to_send(old))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await publisher.answer(new)
    assert await waiting is new


async def test_a_publisher_that_another_one_replaced_ends() -> None:
    publisher, old = Publisher(), Connection()
    old.replace()
    with pytest.raises(GatewayProblem, match="another publication took over; `--take-over` takes it back"):
        await publisher.where_to_send(old)


async def test_a_publisher_that_another_one_replaced_while_it_reconnects_ends_with_the_gateways_answer() -> None:
    publisher, old = Publisher(), Connection()
    old.asked_to_leave.set()
    assert await publisher.where_to_send(old) is old
    old.replace()
    await publisher.answer(GatewayProblem(409, "Conflict", "another publisher is there"))
    with pytest.raises(GatewayProblem, match="another publisher is there"):
        await publisher.where_to_send(old)
