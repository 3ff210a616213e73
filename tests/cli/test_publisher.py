"""Which connection `genlock publish` sends to, while its gateway goes and another one takes it in. No WebRTC here."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from genlock_cli import publish
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


def made(*, take_over: bool = False) -> _Publisher:
    """`genlock publish`, which was not connected yet."""
    plan = EncodingPlan(frame_rate=20, bitrate=800_000, key_frame_every_s=4.0, codec="h264")
    return _Publisher(
        url="http://gateway/whip/a/b",
        token=None,
        publisher_id=None,
        feed=cast(EncodedSource, SimpleNamespace(want_key_frame=lambda: None)),
        plan=plan,
        duration_s=None,
        answer_pli=True,
        take_over=take_over,
    )


class Publisher:
    """`genlock publish`, whose next connection comes when `answer` is called."""

    def __init__(self) -> None:
        self._own = made()
        self._next: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        setattr(self._own, "_let_in", self._let_in)  # noqa: B010 - its connections are WebRTC

    async def _let_in(self, *, before: bool) -> Any:
        assert before
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


@pytest.fixture
def offers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """The offers that were made: who made it, and whether it takes over. Two are refused, the third is let in."""
    made_offers: list[tuple[str, bool]] = []

    class Whip:
        def __init__(self, url: str, *, token: str | None, publisher_id: str | None, take_over: bool) -> None:
            self.publisher_id = publisher_id or f"key {len(made_offers)}"
            made_offers.append((self.publisher_id, take_over))

        async def publish(self, **_: object) -> None:
            if len(made_offers) < 3:
                raise GatewayProblem(
                    409, "Conflict", "somebody publishes", retry_after_s=0.01, reason="another-publisher"
                )

        async def close(self) -> None:
            pass

    monkeypatch.setattr(publish, "WhipPublisher", Whip)
    return made_offers


@pytest.mark.parametrize("before", [False, True], ids=["the first try", "a later one"])
async def test_a_publisher_waits_as_long_as_it_is_told_and_says_so(
    before: bool, offers: list[tuple[str, bool]], capsys: pytest.CaptureFixture[str]
) -> None:
    await made()._let_in(before=before)
    assert offers == [("key 0", False)] * 3
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all("somebody publishes. Trying again in " in line for line in said)
    assert all(line.startswith("gateway lost: ") == before for line in said)


async def test_a_publisher_that_takes_over_does_so_until_it_is_let_in_and_never_again(
    offers: list[tuple[str, bool]],
) -> None:
    publisher = made(take_over=True)
    await publisher._let_in(before=False)
    await publisher._let_in(before=True)
    assert [take_over for _, take_over in offers] == [True, True, True, False]


async def test_what_does_not_help_to_wait_for_ends_a_first_try(
    offers: list[tuple[str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise GatewayProblem(404, "Not Found", "no such session")

    monkeypatch.setattr(getattr(publish, "WhipPublisher"), "publish", unknown)  # noqa: B009 - the fixture's
    with pytest.raises(GatewayProblem, match="no such session"):
        await made()._let_in(before=False)
    assert len(offers) == 1
