"""A publisher and viewers for tests: real clients, and what the viewers saw."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import av

from genlock_cli.clients.whep import ReceivedFrame, WhepViewer
from genlock_core.media import Codec
from genlock_core.process.tasks import end_tasks
from tests.process.frame_counter import read_counter


@dataclass(slots=True)
class Seen:
    """One decoded picture: when it came, its media time, and the frame counter that it shows."""

    received_s: float
    media_s: float
    key_frame: bool
    size: tuple[int, int]
    counter: int | None


@dataclass(slots=True)
class Eyes:
    """A WHEP viewer that decodes everything and remembers what it saw."""

    url: str
    token: str | None = None
    codec: Codec = Codec.H264
    seen: list[Seen] = field(default_factory=list)
    undecodable: int = 0
    viewer: WhepViewer | None = None
    _task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.viewer = WhepViewer(self.url, token=self.token)
        try:
            await self.viewer.watch((self.codec,))
        except BaseException:
            await self.viewer.close()
            raise
        self._task = asyncio.create_task(self._look(self.viewer))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        assert self.viewer is not None
        await end_tasks([self._task])
        await self.viewer.close()

    @property
    def connection_state(self) -> str:
        assert self.viewer is not None
        return str(self.viewer.connection.connectionState)

    @property
    def longest_gap_s(self) -> float:
        return max((b.received_s - a.received_s for a, b in pairwise(self.seen)), default=0.0)

    def counters(self) -> list[int]:
        """The frame counters that could be read, in the order in which they were shown."""
        return [one.counter for one in self.seen if one.counter is not None]

    async def until(self, count: int) -> None:
        """Wait until `count` pictures were seen in all."""
        async with asyncio.timeout(60):
            while len(self.seen) < count:
                await asyncio.sleep(0.02)

    async def more(self, count: int) -> None:
        await self.until(len(self.seen) + count)

    async def _look(self, viewer: WhepViewer) -> None:
        decoder = av.CodecContext.create("h264" if self.codec is Codec.H264 else "vp8", "r")
        started = False
        while True:
            frame = await viewer.frames.get()
            started = started or frame.key_frame
            if started:
                await asyncio.to_thread(self._decode, decoder, frame)

    def _decode(self, decoder: Any, frame: ReceivedFrame) -> None:
        try:
            pictures = decoder.decode(av.Packet(frame.data))
        except av.FFmpegError:
            self.undecodable += 1
            return
        for picture in pictures:
            rgb = picture.to_ndarray(format="rgb24")
            self.seen.append(
                Seen(
                    frame.received_s, frame.media_s, frame.key_frame, (picture.width, picture.height), read_counter(rgb)
                )
            )


@asynccontextmanager
async def publishing(
    gateway: str, *options: str, source: str = "testsrc", session: str = "demo"
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`genlock publish` as a process; stopped, and its JSON summary checked, at the end."""
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "genlock_cli.main",
            "publish",
            source,
            session,
            "--gateway",
            gateway,
            "--json",
            *options,
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, err.decode()
    assert json.loads(out)["frames"] > 0
