"""`genlock record`: watch a session by WHEP and write what arrives into a file, without encoding it again."""

import asyncio
import io
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import av
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from genlock_cli.clients.patience import Patience, let_in
from genlock_cli.clients.whep import ReceivedFrame, WhepViewer
from genlock_cli.exit_status import Interrupted
from genlock_cli.options import duration_option
from genlock_cli.output import print_json
from genlock_cli.plain import plain
from genlock_cli.target import Target, parse_session
from genlock_cli.target_options import AsJson, Gateway, Namespace, Session, StateDirectory, Token
from genlock_core.errors import BadInput, GenlockError
from genlock_core.media import VIDEO_CLOCK_HZ, Codec
from genlock_core.process.signals import StopSignals
from genlock_core.process.tasks import done_before, end_tasks, wait_first
from genlock_core.tokens import Role

FIRST_FRAME_TIMEOUT_S = 30.0
_CODECS_OF = {".mp4": (Codec.H264,), ".mov": (Codec.H264,), ".mkv": (Codec.H264, Codec.VP8), ".webm": (Codec.VP8,)}
_FORMAT_OF = {Codec.H264: "h264", Codec.VP8: "ivf"}


class NothingReceived(GenlockError):
    """The session showed no picture in time."""


@dataclass(slots=True)
class Recorded:
    """What was written; grows while recording. `longest_gap_s` is between two arrivals."""

    frames: int = 0
    seconds: float = 0.0
    bytes: int = 0
    key_frames: int = 0
    longest_gap_s: float = 0.0
    first_frame_s: float = 0.0


def record(
    session: Session,
    output: Annotated[Path, typer.Argument(help="File to write: .mp4, .mov, .mkv or .webm.", dir_okay=False)],
    duration: Annotated[float | None, duration_option("Stop after this much video.", at_least_s=0.1)] = None,
    wait: Annotated[
        float, duration_option("How long to wait for room and for the first frame.", at_least_s=1.0, default="30s")
    ] = FIRST_FRAME_TIMEOUT_S,
    namespace: Namespace = None,
    gateway: Gateway = None,
    token: Token = None,
    state_dir: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Record a session into a file."""
    codecs = _CODECS_OF.get(output.suffix.lower())
    if codecs is None:
        raise BadInput(f"{output} has no suffix that says how to write it; use {', '.join(_CODECS_OF)}")
    target, key = Target.find(gateway=gateway, token=token, state_dir=state_dir), parse_session(session, namespace)
    url, access = f"{target.gateway}/whep/{key}", target.token_for(key, Role.VIEW)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=Console(stderr=True), disable=as_json) as progress:
        task = progress.add_task(escape(plain(f"{key} -> {output.name}")), total=duration, note="connecting")

        def show(done: Recorded) -> None:
            progress.update(task, completed=done.seconds, note=f"{done.frames} frames")

        done = asyncio.run(
            _record(url, access, codecs=codecs, output=output, duration_s=duration, wait_s=wait, show=show)
        )
    if as_json:
        print_json({"session": str(key), "file": str(output), **asdict(done)})
    else:
        typer.echo(f"{plain(output)}: {done.seconds:.1f} s, {done.frames} frames, {done.bytes / 1e6:.1f} MB")


async def _record(
    url: str,
    token: str | None,
    *,
    codecs: tuple[Codec, ...],
    output: Path,
    duration_s: float | None,
    wait_s: float,
    show: Callable[[Recorded], None],
) -> Recorded:
    done = Recorded()
    stop = StopSignals.heed(drains=False).stopping
    began = asyncio.get_running_loop().time()
    connecting = asyncio.create_task(_let_in(url, token, codecs=codecs, wait_s=wait_s), name="connects")
    if not await done_before(stop, connecting):
        raise Interrupted("interrupted before it was connected")
    async with connecting.result() as viewer:
        with FrameFile(output) as file:
            last: ReceivedFrame | None = None
            while not stop.is_set():
                frame = await _next_frame(viewer, stop, timeout_s=wait_s if last is None else None)
                if frame is None:
                    break
                if last is None and not frame.key_frame:
                    continue  # a file begins with a picture that can be decoded alone
                if last is None:
                    done.first_frame_s = frame.received_s - began
                else:
                    done.longest_gap_s = max(done.longest_gap_s, frame.received_s - last.received_s)
                last = frame
                file.write(frame)
                done.frames += 1
                done.bytes += len(frame.data)
                done.key_frames += frame.key_frame
                done.seconds = file.seconds
                show(done)
                if duration_s is not None and done.seconds >= duration_s:
                    break
    if done.frames == 0 and stop.is_set():
        raise Interrupted("interrupted before a picture came")
    if done.frames == 0:
        raise NothingReceived(f"no picture within {wait_s:g} s: is anybody publishing?")
    return done


async def _let_in(url: str, token: str | None, *, codecs: tuple[Codec, ...], wait_s: float) -> WhepViewer:
    """A viewer that is connected. Waits where the gateway says that it helps. Raises GatewayProblem, TimeoutError."""

    async def connect() -> WhepViewer:
        viewer = WhepViewer(url, token=token)
        try:
            await viewer.watch(codecs)
        except BaseException:
            await viewer.close()
            raise
        return viewer

    patience = Patience(began_s=asyncio.get_running_loop().time(), let_in_before=False, for_s=wait_s)
    return await let_in(connect, patience, tell=lambda sentence: sys.stderr.write(plain(sentence) + "\n"))


async def _next_frame(viewer: WhepViewer, stop: asyncio.Event, *, timeout_s: float | None) -> ReceivedFrame | None:
    """The next frame; None when told to stop, when the connection is lost, or after `timeout_s`."""
    taking = asyncio.create_task(viewer.frames.get(), name="takes a frame")
    try:
        await wait_first(taking, stop, viewer.lost, timeout_s=timeout_s)
        return taking.result() if taking.done() else None
    finally:
        await end_tasks([taking])


class FrameFile:
    """Writes encoded frames into a container; opened by the first frame, which must be a key frame."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._output: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None
        self._first_s = 0.0
        self._last_pts = -1
        self.seconds = 0.0
        """Media time between the first and the last frame."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._output is not None:
            self._output.close()

    def write(self, frame: ReceivedFrame) -> None:
        if self._output is None:
            self._open(frame)
        assert self._output is not None
        assert self._stream is not None
        packet = av.Packet(frame.data)
        # Two frames never share a time, however close they came.
        self._last_pts = max(self._last_pts + 1, round((frame.media_s - self._first_s) * VIDEO_CLOCK_HZ))
        packet.stream = self._stream
        packet.pts = packet.dts = self._last_pts
        packet.time_base = Fraction(1, VIDEO_CLOCK_HZ)
        packet.is_keyframe = frame.key_frame
        self._output.mux(packet)
        self.seconds = self._last_pts / VIDEO_CLOCK_HZ

    def _open(self, frame: ReceivedFrame) -> None:
        self._first_s = frame.media_s
        self._output = av.open(str(self._path), "w")
        # The demuxer reads size and parameter sets from the first key frame; the file's stream is made like its.
        with av.open(io.BytesIO(_container_of(frame)), format=_FORMAT_OF[frame.codec]) as first:
            self._stream = self._output.add_stream_from_template(first.streams.video[0])
        self._stream.time_base = Fraction(1, VIDEO_CLOCK_HZ)


def _container_of(frame: ReceivedFrame) -> bytes:
    """A file of this one frame: Annex B is one already, VP8 gets an IVF header (its size stands in the key frame)."""
    if frame.codec is Codec.H264:
        return frame.data
    width = int.from_bytes(frame.data[6:8], "little") & 0x3FFF
    height = int.from_bytes(frame.data[8:10], "little") & 0x3FFF
    header = b"DKIF" + (0).to_bytes(2, "little") + (32).to_bytes(2, "little") + b"VP80"
    header += width.to_bytes(2, "little") + height.to_bytes(2, "little")
    header += (90_000).to_bytes(4, "little") + (1).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(4)
    return header + len(frame.data).to_bytes(4, "little") + bytes(8) + frame.data
