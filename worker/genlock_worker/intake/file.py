"""Source `file`: a video below the worker's media root, once or in a loop, at its own speed.

Its media time runs on through the loops, so a position says both the loop and the place in it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

import av
from av.error import FFmpegError

from genlock_core.media import SourcePosition
from genlock_core.spec.session import PictureFit
from genlock_worker.intake.chunks import SourceFrame
from genlock_worker.intake.decode import fit_frame
from genlock_worker.intake.picture import Picture
from genlock_worker.intake.source import OWN_RUN, Metronome, SourceFailed


def find_media(root: Path | None, path: str) -> Path:
    """The file at `path` below `root`. Raises SourceFailed for anything else, whatever links lead there."""
    if root is None:
        raise SourceFailed("file sources need a media root; start the worker with --media-root DIR")
    if Path(path).is_absolute():
        raise SourceFailed(f"source.path {path!r} is absolute; write it relative to the worker's media root")
    try:
        base = root.resolve(strict=True)
        found = (base / path).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceFailed(f"source.path {path!r} is not below the worker's media root, or is not there") from error
    if not found.is_relative_to(base):
        raise SourceFailed(f"source.path {path!r} leads out of the worker's media root")
    if not found.is_file():
        raise SourceFailed(f"source.path {path!r} is not a file")
    return found


class _Timed(NamedTuple):
    media_us: int
    picture: Picture


class FileSource:
    """The pictures of a file at the session's size, from the first one after `after` on."""

    def __init__(
        self,
        path: Path,
        *,
        loop: bool,
        width: int,
        height: int,
        fit: PictureFit,
        metronome: Metronome,
        executor: Executor,
        after: SourcePosition | None = None,
    ) -> None:
        self._path = path
        self._loop = loop
        self._width = width
        self._height = height
        self._fit = fit
        self._metronome = metronome
        self._executor = executor
        self._after_us = -1 if after is None else after.capture_us

    async def frames(self) -> AsyncIterator[SourceFrame]:
        """Ends after the last picture unless looped. Raises SourceFailed for a file without readable video."""
        loop = asyncio.get_running_loop()
        pictures = self._pictures()
        while (timed := await loop.run_in_executor(self._executor, next, pictures, None)) is not None:
            now_s = await self._metronome.wait(timed.media_us / 1_000_000)
            yield SourceFrame(SourcePosition(OWN_RUN, timed.media_us), timed.picture, now_s)

    def _pictures(self) -> Iterator[_Timed]:
        try:
            duration_us = self._duration_us()
            lap = max(0, self._after_us) // duration_us if self._loop else 0
            while True:
                yield from self._lap(lap * duration_us)
                if not self._loop:
                    return
                lap += 1
        except (FFmpegError, OSError, IndexError) as error:
            raise SourceFailed(f"{self._path.name} has no readable video ({type(error).__name__})") from error

    def _duration_us(self) -> int:
        """How long one lap is: from the container, else by reading through it."""
        with av.open(str(self._path)) as container:
            stream = container.streams.video[0]
            if container.duration:
                return max(1, int(container.duration))
            end = max((p.pts + (p.duration or 0)) * p.time_base for p in container.demux(stream) if p.pts is not None)
            return max(1, int(end * 1_000_000))

    def _lap(self, start_us: int) -> Iterator[_Timed]:
        shown = 0
        with av.open(str(self._path)) as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            skip_us = self._after_us - start_us
            if skip_us > 0:
                container.seek(skip_us, backward=True)
            for frame in container.decode(stream):
                if frame.pts is None:
                    continue
                media_us = start_us + max(0, round(frame.time * 1_000_000))
                if media_us > self._after_us:
                    shown += 1
                    yield _Timed(media_us, fit_frame(frame, width=self._width, height=self._height, fit=self._fit))
        if not shown and start_us > self._after_us:
            raise SourceFailed(f"{self._path.name} has no pictures")
