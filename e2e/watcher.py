"""A viewer that stays through everything, follows `reconnect` as a player does, and counts what it had to suffer.

A *cut* is what a viewer cannot fail to see: the connection ended without a `reconnect` that it could follow, or no new
picture came for more than two seconds. Shorter gaps and steps back in time are kept as figures. Time in which the
watcher itself did not get the processor is nobody's gap.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import av

from genlock_cli.api import GatewayProblem
from genlock_cli.clients.whep import ReceivedFrame, WhepViewer
from genlock_core.media import Codec
from genlock_core.process.tasks import end_tasks, wait_first
from tests.process.frame_counter import read_counter

CUT_S = 10.0
"""A picture that has not come by then is taken for one that will not come. Shorter gaps are told, not judged: three
nodes, their control plane and all pods share the cores of one machine."""
GAP_S = 0.5
FAR = 240
"""Pictures: a number that is further from the one before than this, and than what was shown since, is misread."""
RETRY_S = 0.2
COLOURS_KEPT = 20
LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Cut:
    """When (UTC) and what."""

    at: str
    what: str


@dataclass(frozen=True, slots=True)
class Gap:
    """When (UTC) pictures came again, and how long there had been none."""

    at: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Picture:
    """When it came, and what it shows."""

    received_s: float
    counter: int | None
    colour: tuple[float, float, float]
    """Mean red, green and blue."""


@dataclass(slots=True)
class Suffered:
    """What the watcher saw over a stretch of time."""

    frames: int = 0
    longest_s: float = 0.0
    """The longest time between two pictures."""
    cuts: list[Cut] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    """Pauses between two pictures of more than half a second."""
    steps_back: int = 0
    reconnects: int = 0
    """Connections that were left because the gateway asked to."""

    def __str__(self) -> str:
        longest = f", longest {self.longest_s:.2f} s" if self.gaps else ""
        return (
            f"{self.frames} frames, {len(self.cuts)} cuts, {len(self.gaps)} gaps over {GAP_S:g} s{longest}, "
            f"{self.steps_back} steps back, {self.reconnects} reconnects"
        )


class _Screen:
    """One connection, and its pictures decoded one after the other. Open from `connected` until `close`."""

    def __init__(self, viewer: WhepViewer) -> None:
        self.viewer = viewer
        self.pictures: asyncio.Queue[Picture] = asyncio.Queue()
        self._decoder: Any = av.CodecContext.create("h264", "r")
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._look())

    @classmethod
    async def connected(cls, url: str, token: str | None) -> Self:
        """Raises GatewayProblem, TimeoutError."""
        viewer = WhepViewer(url, token=token)
        try:
            await viewer.watch((Codec.H264,))
        except BaseException:
            await viewer.close()
            raise
        return cls(viewer)

    def __str__(self) -> str:
        peer, viewer = self.viewer.connection, self.viewer
        told = {"lost": viewer.lost, "asked to leave": viewer.asked_to_leave}
        words = [peer.connectionState, *(word for word, event in told.items() if event.is_set())]
        return f"{', '.join(words)}, {viewer.received} frames came"

    @property
    def behind(self) -> bool:
        """Frames have come that were not looked at yet."""
        return not (self.viewer.frames.empty() and self.pictures.empty())

    async def close(self) -> None:
        await end_tasks([self._task])
        await self.viewer.close()

    async def _look(self) -> None:
        started = False
        while True:
            frame = await self.viewer.frames.get()
            started = started or frame.key_frame
            if started:
                await asyncio.to_thread(self._decode, frame)

    def _decode(self, frame: ReceivedFrame) -> None:
        try:
            pictures = self._decoder.decode(av.Packet(frame.data))
        except av.FFmpegError:
            return  # as a player does: the gap shows
        for picture in pictures:
            rgb = picture.to_ndarray(format="rgb24")
            colour = rgb[::8, ::8].mean(axis=(0, 1)).tolist()
            seen = Picture(frame.received_s, read_counter(rgb), (colour[0], colour[1], colour[2]))
            self._loop.call_soon_threadsafe(self.pictures.put_nowait, seen)


def _now() -> str:
    return time.strftime("%H:%M:%S", time.gmtime())


class Watcher:
    """Watches `url` from `watching` on. `total` is what it suffered, `since()` what it suffers from now on.

    It watches one screen. While the gateway asks to leave it opens a second one, and changes over at its first picture.
    What that one shows up to the last picture of the first one is no step back: no gateway can know it.
    """

    def __init__(self, url: str, token: str | None, numbered: int) -> None:
        self._url, self._token, self._numbered = url, token, numbered
        self._loop = asyncio.get_running_loop()
        self._stretches: list[Suffered] = []
        self._screen: _Screen | None = None
        # The screen, and while it changes over the next one.
        self._open: set[_Screen] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._last_s: float | None = None
        # Another connection is shown, and it has not come as far as the one before it.
        self._catches_up = False
        self._last_counter: int | None = None
        # Pictures shown since, whose numbers nobody could read.
        self._since_counter = 0
        self._told_s: float | None = None
        self._colours: deque[tuple[float, float, float]] = deque(maxlen=COLOURS_KEPT)
        self._excused = 0
        self._is_numbered = True
        self._looked_s = self._loop.time()
        self._asleep_s = self._asleep_before_s = 0.0
        self.total = Suffered()

    @classmethod
    @asynccontextmanager
    async def watching(cls, url: str, *, numbered: int, token: str | None = None) -> AsyncIterator[Self]:
        """Connected, and at it until the end of the block. `numbered`: how many frames the source counts before it
        begins at 0 again."""
        watcher = cls(url, token, numbered)
        watcher._screen = await watcher._connect()
        watcher._tasks = [
            asyncio.create_task(watcher._look(), name="watcher looks"),
            asyncio.create_task(watcher._mind_the_time(), name="watcher minds the time"),
        ]
        try:
            yield watcher
        finally:
            await end_tasks(watcher._tasks)
            for screen in list(watcher._open):
                await watcher._leave(screen)

    @contextmanager
    def since(self) -> Iterator[Suffered]:
        """What is suffered during the block."""
        stretch = Suffered()
        self._stretches.append(stretch)
        try:
            yield stretch
        finally:
            self._stretches.remove(stretch)

    @contextmanager
    def excused(self) -> Iterator[None]:
        """A block in which a cut is no one's fault, such as the sudden death of the viewer's own gateway."""
        self._excused += 1
        try:
            yield
        finally:
            self._excused -= 1

    @contextmanager
    def another_source(self) -> Iterator[None]:
        """A block in which another source begins, whose numbers say nothing beside those of the one before."""
        self._is_numbered = False
        try:
            yield
        finally:
            self._is_numbered = True
            self._last_counter = None

    async def frames(self, count: int, *, within_s: float = 60.0) -> None:
        """Wait for more pictures. Raises TimeoutError, which says how the watcher's connections are."""
        wanted = self.total.frames + count
        try:
            async with asyncio.timeout(within_s):
                while self.total.frames < wanted:
                    await wait_first(*self._tasks, timeout_s=0.05)
                    for task in self._tasks:
                        if task.done():
                            task.result()
        except TimeoutError as error:
            came = count - (wanted - self.total.frames)
            raise TimeoutError(f"{came} of {count} pictures within {within_s:g} s; {self._told()}") from error

    def _told(self) -> str:
        """How its connections are, for whoever has to find out why there is no picture."""
        told = [f"{'shown' if one is self._screen else 'next'}: {one}" for one in self._open]
        return "; ".join(told) or "not connected"

    @property
    def colour(self) -> tuple[float, ...]:
        """Mean red, green and blue of the last pictures."""
        return tuple(sum(channel) / len(self._colours) for channel in zip(*self._colours, strict=True))

    def rest(self) -> None:
        """The stream stops on purpose: what follows is no gap, and may be of a publisher that counts from 0."""
        self._last_s = self._last_counter = None

    # -- what it does all the time ----------------------------------------------------------------------------------

    async def _look(self) -> None:
        while True:
            screen = self._screen
            assert screen is not None
            picture = asyncio.create_task(screen.pictures.get())
            asked = asyncio.create_task(screen.viewer.asked_to_leave.wait())
            lost = asyncio.create_task(screen.viewer.lost.wait())
            try:
                await asyncio.wait({picture, asked, lost}, return_when=asyncio.FIRST_COMPLETED)
                if picture.done():
                    self._show(picture.result())
                elif asked.done():
                    await self._change_over(screen)
                else:
                    self._cut("the connection ended without a reconnect to follow")
                    await self._leave(screen)
                    self._screen = await self._connect()
                    self._catches_up = True
            finally:
                await end_tasks([picture, asked, lost])

    async def _change_over(self, old: _Screen) -> None:
        """The gateway drains: watch the old screen until the new one shows a picture.

        The old one may end before that: its gateway waits for nobody for ever.
        """
        arriving = asyncio.create_task(self._first_picture())
        picture = asyncio.create_task(old.pictures.get())
        try:
            while not arriving.done():
                await wait_first(picture, arriving)
                if picture.done():
                    self._show(picture.result())
                    picture = asyncio.create_task(old.pictures.get())
            self._screen, first = arriving.result()
        finally:
            await end_tasks([arriving, picture])
        self._each(lambda one: setattr(one, "reconnects", one.reconnects + 1))
        self._catches_up = True
        self._show(first)
        await self._leave(old)

    async def _first_picture(self) -> tuple[_Screen, Picture]:
        """Of a connection that works: one that ends, or that its gateway asks to leave, shows nothing any more."""
        while True:
            screen = await self._connect()
            picture = asyncio.create_task(screen.pictures.get())
            try:
                await wait_first(picture, screen.viewer.lost, screen.viewer.asked_to_leave)
                if picture.done():
                    return screen, picture.result()
            finally:
                await end_tasks([picture])
            await self._leave(screen)

    async def _connect(self) -> _Screen:
        """A new connection, tried until it is there."""
        while True:
            try:
                screen = await _Screen.connected(self._url, self._token)
            except (GatewayProblem, TimeoutError):
                await asyncio.sleep(RETRY_S)
            else:
                self._open.add(screen)
                return screen

    async def _leave(self, screen: _Screen) -> None:
        await screen.close()
        self._open.discard(screen)

    async def _mind_the_time(self) -> None:
        """A picture that never comes again is a cut as well: it is told while it lasts, once."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self._wake()
            behind = self._screen is not None and self._screen.behind
            silent_s = 0.0 if behind else self._gap_s(self._loop.time())
            if silent_s > CUT_S and self._told_s != self._last_s:
                self._told_s = self._last_s
                self._cut(f"no picture for {CUT_S:g} s")

    def _wake(self) -> None:
        """Notice how long this process has slept against its will."""
        now_s = self._loop.time()
        late_s = now_s - self._looked_s - LOOK_EVERY_S
        self._asleep_s += late_s if late_s > LOOK_EVERY_S else 0.0
        self._looked_s = now_s

    def _gap_s(self, until_s: float) -> float:
        """Since the last picture, as somebody who was awake all the time would have seen it."""
        if self._last_s is None:
            return 0.0
        return max(0.0, until_s - self._last_s - (self._asleep_s - self._asleep_before_s))

    # -- what it saw ------------------------------------------------------------------------------------------------

    def _show(self, picture: Picture) -> None:
        counter = self._believed(picture.counter)
        back = self._is_back(counter)
        if back and self._catches_up:
            return
        if counter is not None:
            self._catches_up = False
        self._wake()
        gap_s = self._gap_s(picture.received_s)

        def count(one: Suffered) -> None:
            one.frames += 1
            one.longest_s = max(one.longest_s, gap_s)
            one.steps_back += back
            if gap_s > GAP_S:
                one.gaps.append(Gap(_now(), round(gap_s, 2)))

        self._each(count)
        if gap_s > CUT_S and self._told_s != self._last_s:
            self._cut(f"no picture for {gap_s:.1f} s")
        self._last_s, self._asleep_before_s = picture.received_s, self._asleep_s
        self._colours.append(picture.colour)
        self._since_counter += 1
        if counter is not None:
            self._last_counter = counter
            self._since_counter = 0

    def _believed(self, counter: int | None) -> int | None:
        """None for a number that no picture can have by now: engines paint over the numbers, which are misread then."""
        if counter is None or self._last_counter is None or not self._is_numbered:
            return counter
        ahead = (counter - self._last_counter) % self._numbered
        is_misread = 2 * self._since_counter + FAR < ahead < self._numbered - FAR
        return None if is_misread else counter

    def _is_back(self, counter: int | None) -> bool:
        """Whether the counter, which wraps, went back."""
        if counter is None or self._last_counter is None or not self._is_numbered:
            return False
        return 0 < (self._last_counter - counter) % self._numbered < self._numbered // 2

    def _cut(self, what: str) -> None:
        if not self._excused:
            self._each(lambda one: one.cuts.append(Cut(_now(), what)))

    def _each(self, count: Any) -> None:
        for one in (self.total, *self._stretches):
            count(one)
