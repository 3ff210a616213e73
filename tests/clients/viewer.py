"""Our own viewer, which proves what a client publishes: it is connected before the client begins, and decodes."""

import asyncio
import time
from types import TracebackType
from typing import Any, Self

import av

from genlock_cli.clients.whep import ReceivedFrame, WhepViewer
from genlock_core.media import Codec
from genlock_core.process.tasks import end_tasks
from tests.clients.proof import FRAMES_WANTED, Picture, moves, rgb, spread

PATIENCE_S = 45.0
"""How long a client may take before it counts as one that does not work; no promise of speed."""


QUIET_S = 0.7
"""Pictures of a session that lives come far closer together than this."""


class Viewer:
    """A WHEP viewer of one session that keeps what it decodes.

    It is connected while the context lasts. Pictures that it kept may be compared and shown; `count` has all of them.
    """

    def __init__(self, url: str, *, token: str | None = None) -> None:
        self._client = WhepViewer(url, token=token)
        self._pictures: list[Picture] = []
        self._looking: asyncio.Task[None] | None = None
        self.count = 0
        self.first_unix_ms: float | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._client.watch((Codec.H264,))
        except BaseException:
            await self._client.close()
            raise
        self._looking = asyncio.create_task(self._look(), name="viewer looks")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._looking is not None:
            await end_tasks([self._looking])
        await self._client.close()

    @property
    def pictures(self) -> list[Picture]:
        """Some of those that were decoded, in their order."""
        return spread(self._pictures)

    async def until_quiet(self) -> None:
        """Wait until no picture comes any more, and forget those that came. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE_S):
            before = -1
            while self.count != before:
                before = self.count
                await asyncio.sleep(QUIET_S)
        self._pictures.clear()
        self.count = 0
        self.first_unix_ms = None

    async def until_seen(self) -> None:
        """Wait until enough pictures came and something moved in them. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE_S):
            while self.count < FRAMES_WANTED or not moves(self.pictures):
                await asyncio.sleep(0.05)

    async def _look(self) -> None:
        decoder = av.CodecContext.create("h264", "r")
        started = False
        while True:
            frame = await self._client.frames.get()
            started = started or frame.key_frame
            if started:
                await asyncio.to_thread(self._decode, decoder, frame)

    def _decode(self, decoder: Any, frame: ReceivedFrame) -> None:
        for picture in decoder.decode(av.Packet(frame.data)):
            if self.first_unix_ms is None:
                self.first_unix_ms = time.time() * 1_000
            self.count += 1
            if self.count % 4 == 1:
                self._pictures.append(rgb(picture))
