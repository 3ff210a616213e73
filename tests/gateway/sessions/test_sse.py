"""Server-sent events: what one listener gets of what is told, and how a quiet stream is kept open."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from genlock_core.tokens import Role
from genlock_gateway.sessions import sse
from genlock_gateway.sessions.sse import QUEUE_MESSAGES, Listener, event_stream


async def one_message() -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"


async def test_a_listener_gets_what_it_wants_in_the_form_of_the_standard() -> None:
    listener = Listener(["state"], Role.VIEW)
    listener.tell("state", {"phase": "Live", "viewers": 1})
    listener.tell("stats", {"chunk": 7})
    listener.end()
    assert [message async for message in listener.messages()] == [
        b"retry: 1000\n\n",
        b'event: state\ndata: {"phase":"Live","viewers":1}\n\n',
    ]


async def test_a_quiet_stream_has_a_comment_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "COMMENT_EVERY_S", 0.01)
    listener = Listener(["state"], Role.VIEW)
    messages = listener.messages()
    assert [await anext(messages) for _ in range(3)] == [b"retry: 1000\n\n", b": here\n\n", b": here\n\n"]

    listener.tell("state", {})
    assert await anext(messages) == b"event: state\ndata: {}\n\n"
    listener.end()
    with pytest.raises(StopAsyncIteration):
        await anext(messages)


async def test_a_listener_that_does_not_read_loses_the_oldest_and_still_hears_the_end() -> None:
    listener = Listener(["state"], Role.VIEW)
    for number in range(QUEUE_MESSAGES + 5):
        listener.tell("state", number)
    listener.end()
    async with asyncio.timeout(5):
        kept = [message async for message in listener.messages()][1:]
    assert len(kept) == QUEUE_MESSAGES - 1
    assert kept[0] == b"event: state\ndata: 6\n\n"
    assert kept[-1] == f"event: state\ndata: {QUEUE_MESSAGES + 4}\n\n".encode()


def test_no_proxy_keeps_or_holds_back_an_event_stream() -> None:
    response = event_stream(one_message())
    assert response.media_type == "text/event-stream"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-accel-buffering"] == "no"
