"""`genlock publish`: a file or the test card as a WHIP publisher, paced by its own frame rate."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from genlock_cli.api import GatewayProblem
from genlock_cli.clients.patience import Patience, let_in
from genlock_cli.clients.whip import Packet, WhipPublisher
from genlock_cli.encoded_source import EncodedSource, EncodingPlan, delay_packet, media_s
from genlock_cli.exit_status import Interrupted
from genlock_cli.options import duration_option
from genlock_cli.output import print_json
from genlock_cli.plain import plain
from genlock_cli.target import Target, parse_session
from genlock_cli.target_options import AsJson, Gateway, Namespace, Session, StateDirectory, Token
from genlock_core.errors import BadInput
from genlock_core.process.signals import StopSignals
from genlock_core.process.tasks import done_before, end_tasks, wait_first
from genlock_core.tokens import Role

LATE_RESTART_S = 0.5
"""Further behind than this (the machine slept), the rest is sent that much later instead of in a burst."""


@dataclass(slots=True)
class Published:
    """What was sent; grows while publishing."""

    frames: int = 0
    bytes: int = 0
    key_frames: int = 0
    key_frames_asked: int = 0
    reconnects: int = 0
    trouble: str = ""
    """Why the gateway makes no picture of it, a word of `media.Trouble`; "" if it does."""


def publish(
    source: Annotated[str, typer.Argument(help="A video file, or testsrc for a moving test card.")],
    session: Session,
    loop: Annotated[bool, typer.Option("--loop", help="Start the file again at its end.")] = False,
    duration: Annotated[float | None, duration_option("Stop after this long.", at_least_s=0.1)] = None,
    fps: Annotated[int, typer.Option(min=1, max=60, help="Frames per second.")] = 30,
    bitrate: Annotated[int, typer.Option(min=100, max=20_000, help="kbit/s.")] = 2_500,
    codec: Annotated[str, typer.Option(help="h264 or vp8.")] = "h264",
    key_frame_every: Annotated[float, duration_option("Time between key frames.", at_least_s=0.1, default="4s")] = 4.0,
    ignore_pli: Annotated[bool, typer.Option("--ignore-pli", help="Do not answer requests for a key frame.")] = False,
    publisher_id: Annotated[
        str | None, typer.Option(help="The key that may take the session over; random if left out.")
    ] = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Take the session from a publisher that is still there.")
    ] = False,
    namespace: Namespace = None,
    gateway: Gateway = None,
    token: Token = None,
    state_dir: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Publish a video file or a test card into a session.

    Where a gateway says when to ask again (another publisher is there, no worker has room), it waits a minute at most.
    """
    if codec not in {"h264", "vp8"}:
        raise BadInput(f"codec {codec!r} is not known; choose h264 or vp8")
    target, key = Target.find(gateway=gateway, token=token, state_dir=state_dir), parse_session(session, namespace)
    plan = EncodingPlan(frame_rate=fps, bitrate=bitrate * 1_000, key_frame_every_s=key_frame_every, codec=codec)
    feed = EncodedSource(source, plan, loop=loop)
    publisher = _Publisher(
        url=f"{target.gateway}/whip/{key}",
        token=target.token_for(key, Role.PUBLISH),
        publisher_id=publisher_id,
        feed=feed,
        plan=plan,
        duration_s=duration,
        answer_pli=not ignore_pli,
        take_over=take_over,
    )
    total = (
        duration
        if loop or feed.info.duration_s is None
        else min(duration or feed.info.duration_s, feed.info.duration_s)
    )
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=Console(stderr=True), disable=as_json) as progress:
        task = progress.add_task(escape(plain(f"{feed.info.name} -> {key}")), total=total, note="connecting")

        def show(done: Published) -> None:
            note = f"{done.frames} frames, {done.key_frames} key frames"
            progress.update(task, completed=done.frames / fps, note=note)

        done = asyncio.run(publisher.run(show))
    if as_json:
        print_json({"session": str(key), "source": feed.info.name, **asdict(done)})


class _Publisher:
    def __init__(
        self,
        *,
        url: str,
        token: str | None,
        publisher_id: str | None,
        feed: EncodedSource,
        plan: EncodingPlan,
        duration_s: float | None,
        answer_pli: bool,
        take_over: bool,
    ) -> None:
        self._url = url
        self._token = token
        self._id = publisher_id
        self._feed = feed
        self._plan = plan
        self._duration_s = duration_s
        self._answer_pli = answer_pli
        self._take_over = take_over
        self._done = Published()
        self._successor: asyncio.Task[WhipPublisher] | None = None

    async def run(self, show: Callable[[Published], None]) -> Published:
        """Publish until the source ends, the time is up, or Ctrl-C. Raises GatewayProblem if it cannot go on."""
        signals = StopSignals.heed(drains=False)
        connecting = asyncio.create_task(self._let_in(before=False), name="connects")
        if not await done_before(signals.stopping, connecting):
            self._feed.close()
            raise Interrupted("interrupted before it was connected")
        current = connecting.result()
        try:
            async for packet in self._paced(signals.stopping):
                current = await self._where_to_send(current)
                await current.send(packet)
                self._count(packet)
                self._note_trouble(current.trouble)
                show(self._done)
        finally:
            await self._end_successor()
            await current.close()
            self._feed.close()
        return self._done

    async def _end_successor(self) -> None:
        """A connection that was made too late to be used is closed as well."""
        if self._successor is None:
            return
        await end_tasks([self._successor])
        if not self._successor.cancelled() and self._successor.exception() is None:
            await self._successor.result().close()

    async def _where_to_send(self, current: WhipPublisher) -> WhipPublisher:
        """`current` while it works, or the connection that takes its publication over (the key is the same).

        A gateway that drains is used until another one answers; without one that works, the source waits. Whoever lost
        the session to another publisher does not fight for it: raises GatewayProblem.
        """
        if self._successor is None:
            # While it reconnects, its own next connection may be what replaced this one.
            if current.replaced:
                raise GatewayProblem(409, "the session was lost", f"{current.replaced}; `--take-over` takes it back")
            if current.lost.is_set() or current.asked_to_leave.is_set():
                self._successor = asyncio.create_task(self._let_in(before=True), name="reconnect")
        if self._successor is None or not (self._successor.done() or current.lost.is_set()):
            return current
        successor = await self._successor
        self._successor = None
        await current.close()
        return successor

    def _note_trouble(self, trouble: str) -> None:
        if trouble not in ("", self._done.trouble):
            sys.stderr.write(f"the gateway makes no picture of this: {trouble}\n")
        self._done.trouble = trouble

    def _count(self, packet: Packet) -> None:
        self._done.frames += 1
        self._done.bytes += packet.size
        self._done.key_frames += bool(packet.is_keyframe)

    async def _paced(self, stop: asyncio.Event) -> AsyncIterator[Packet]:
        clock = asyncio.get_running_loop()
        began = clock.time()
        slept_s = 0.0
        while not stop.is_set():
            packet = await asyncio.to_thread(self._feed.next_packet)
            if packet is None or (self._duration_s is not None and media_s(packet) >= self._duration_s):
                return
            wait = began + slept_s + media_s(packet) - clock.time()
            if wait > 0:
                await wait_first(stop, timeout_s=wait)
            elif wait < -LATE_RESTART_S:
                slept_s -= wait
            delay_packet(packet, slept_s)
            yield packet

    async def _connect(self) -> WhipPublisher:
        publisher = WhipPublisher(self._url, token=self._token, publisher_id=self._id, take_over=self._take_over)
        self._id = publisher.publisher_id
        try:
            await publisher.publish(mime_type=f"video/{self._plan.codec}", on_key_frame_wanted=self._key_frame_wanted)
        except BaseException:
            await publisher.close()
            raise
        self._take_over = False  # once: two that take over whenever they reconnect would never end
        self._feed.want_key_frame()
        return publisher

    async def _let_in(self, *, before: bool) -> WhipPublisher:
        """Connect, under the same key each time; `before`: it published already, and its gateway goes or went away.

        Waits where that helps, and says so. Raises GatewayProblem, TimeoutError.
        """
        patience = Patience(began_s=asyncio.get_running_loop().time(), let_in_before=before)
        prefix = "gateway lost: " if before else ""
        connected = await let_in(
            self._connect, patience, tell=lambda sentence: sys.stderr.write(plain(prefix + sentence) + "\n")
        )
        self._done.reconnects += before
        return connected

    def _key_frame_wanted(self) -> None:
        self._done.key_frames_asked += 1
        if self._answer_pli:
            self._feed.want_key_frame()
