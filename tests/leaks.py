"""Names what a test leaves open: a pytest plugin for every suite.

A UDP peer, a connection or a pipe that nobody closed is found by the interpreter when it collects garbage: in the
middle of another test, or after the last, where a run that passed ends with status 1. This plugin keeps a ledger of the
transports that asyncio makes. When the teardown of a test is over, whatever is open on an event loop that has ended is
an error of that test, with the line that opened it. What lives on a loop of a wider scope is looked at when that loop
ends. A transport that was closed, and whose loop ended before the other side said goodbye (TLS), is no error.

Sockets, processes and files without a transport are named by the interpreter alone: a test that opened a transport is
followed by a garbage collection, so that they are errors of this test and not of a later one. So is the last test of
each module. What has survived that one is of all that follows: the collector does not look at it any more, as it took
up to 0.1 s after each test to walk what hundreds of tests before had left in caches.
"""

import asyncio
import gc
import os
import sys
import sysconfig
import warnings
from asyncio import base_subprocess, selector_events, sslproto, unix_events
from collections.abc import Callable, Generator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import pytest

STANDARD_LIBRARY = sysconfig.get_path("stdlib")

# What asyncio makes for a socket (UDP, TCP, and the TCP under TLS), for a child process, and for its pipes.
SOCKET = selector_events._SelectorTransport  # type: ignore[attr-defined]
DATAGRAMS = selector_events._SelectorDatagramTransport  # type: ignore[attr-defined]
PROCESS: Any = base_subprocess.BaseSubprocessTransport
PIPES = (unix_events._UnixReadPipeTransport, unix_events._UnixWritePipeTransport)  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Opened:
    """One transport, and who opened it."""

    transport: Any
    test: str
    where: str


class Ledger:
    """The transports that were opened in this run and were not seen closed yet."""

    def __init__(self) -> None:
        self._opened: list[Opened] = []
        self._test = "before the first test"
        self._patch = pytest.MonkeyPatch()

    def pytest_configure(self) -> None:
        for kind in (SOCKET, PROCESS, *PIPES):
            self._patch.setattr(kind, "__init__", self._noting(kind.__init__))

    def pytest_unconfigure(self) -> None:
        self._patch.undo()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        self._test = item.nodeid
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
        is_last = nextitem is None or nextitem.path != item.path
        try:
            yield
        except BaseException:
            # The teardown has an error of its own, which may well be the reason why things are open.
            self.left_open()
            raise
        if self._opened or is_last:
            leaks = self.left_open() + left_to_the_collector()
            if is_last:
                gc.freeze()
            if leaks:
                pytest.fail("left open:\n" + "\n".join(leaks), pytrace=False)

    def left_open(self) -> list[str]:
        """A line for each transport that is open on a loop that has ended; they are closed then, and forgotten."""
        held = [one for one in self._opened if holds_something(one.transport)]
        left = [one for one in held if one.transport._loop.is_closed()]
        self._opened = [one for one in held if not one.transport._loop.is_closed()]
        lines = [
            f"- {name_of(one.transport)}, opened in {one.test} by {one.where}"
            for one in left
            if not one.transport.is_closing()
        ]
        for one in left:
            end(one.transport)
        return lines

    def _noting(self, init: Callable[..., None]) -> Callable[..., None]:
        """The transport's constructor, with an entry in the ledger."""

        def noting_init(transport: Any, *args: Any, **kwargs: Any) -> None:
            self._opened.append(Opened(transport, self._test, whose_line()))
            init(transport, *args, **kwargs)

        return noting_init


def pytest_configure(config: pytest.Config) -> None:
    ledger = Ledger()
    config.pluginmanager.register(ledger, "leaks-ledger")


def left_to_the_collector() -> list[str]:
    """A line for each thing that warns, when it is collected, that nobody closed it."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", ResourceWarning)
        gc.collect()
    return [f"- {one.message}" for one in found if issubclass(one.category, ResourceWarning)]


def whose_line() -> str:
    """The lines of this project on the way to the transport that is being made, the innermost first.

    A task that a library started has none: then it is that library's line.
    """
    ours: list[str] = []
    libraries: list[str] = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        line = f"{os.path.relpath(code.co_filename)}:{frame.f_lineno} ({code.co_name})"
        if not code.co_filename.startswith((STANDARD_LIBRARY, "<")):
            (libraries if "site-packages" in code.co_filename else ours).append(line)
        elif code is asyncio.Handle._run.__code__ and not ours:
            # Whoever runs the loop has opened nothing.
            break
        frame = frame.f_back
    return ", from ".join(ours[:3] or libraries[:1]) or "asyncio"


def holds_something(transport: Any) -> bool:
    """Whether the interpreter would find a reason to complain if it collected this transport now."""
    if isinstance(transport, PROCESS):
        return not transport._closed
    if isinstance(transport, PIPES):
        return transport._pipe is not None
    # The constructor fails before it takes a socket that was closed meanwhile.
    return getattr(transport, "_sock", None) is not None


def name_of(transport: Any) -> str:
    """What it is, in the field's words, and where it leads."""
    if isinstance(transport, PROCESS):
        return f"a child process {transport._extra['subprocess'].args}"
    if isinstance(transport, PIPES):
        return f"a pipe {transport._pipe!r}"
    protocol = transport.get_protocol()
    tls = isinstance(protocol, sslproto.SSLProtocol)
    what = "UDP peer" if isinstance(transport, DATAGRAMS) else "TLS connection" if tls else "connection"
    user = type(protocol._app_protocol if tls else protocol).__name__
    return f"a {what} of {user}, {transport._extra['sockname']} to {transport._extra['peername']}"


def end(transport: Any) -> None:
    """Close what the transport holds; its loop is no longer there to do that."""
    if isinstance(transport, PROCESS):
        transport._closed = True
        transport._extra["subprocess"].kill()
        transport._extra["subprocess"].wait()
    elif isinstance(transport, PIPES):
        transport._pipe.close()
        transport._pipe = None
        transport._closing = True
    else:
        protocol = transport.get_protocol()
        if isinstance(protocol, sslproto.SSLProtocol) and protocol._app_transport is not None:
            protocol._app_transport._closed = True
        transport._sock.close()
        transport._sock = None
        transport._closing = True
