"""What `genlock publish` sends: a video file or a moving test card, encoded as a camera application would.

Reading, scaling and encoding run in a thread, one frame at a time, so that the connection never waits for them.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType

from genlock_core.errors import BadInput

TEST_CARD = "testsrc"
COUNTER_BITS = 12
COUNTER_ROW_SHARE = 14
"""Each of the two rows of the frame counter is this part of the picture's height."""
_TIME_BASE = Fraction(1, 90_000)


class SourceUnreadable(BadInput):
    """A file that is missing or holds no video that can be decoded."""


@dataclass(frozen=True, slots=True)
class EncodingPlan:
    """How the frames are encoded. Sizes in pixels, rates in frames or bits per second."""

    frame_rate: int = 30
    max_width: int = 1280
    max_height: int = 720
    bitrate: int = 2_500_000
    key_frame_every_s: float = 4.0
    codec: str = "h264"


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source before it plays. `duration_s` is None where it has no end or does not tell."""

    name: str
    width: int
    height: int
    duration_s: float | None


class EncodedSource:
    """Frames of a file (or of the test card), encoded one after the other; `next_packet` is called in a thread."""

    def __init__(self, source: str, plan: EncodingPlan, *, loop: bool) -> None:
        self._plan = plan
        self._loop = loop
        self._path = None if source == TEST_CARD else Path(source)
        self.info = _probe(source)
        scale = min(1.0, plan.max_width / self.info.width, plan.max_height / self.info.height)
        # 4:2:0 needs even sides.
        self._width = max(2, int(self.info.width * scale) // 2 * 2)
        self._height = max(2, int(self.info.height * scale) // 2 * 2)
        self._pictures = self._frames()
        self._count = 0
        self._key_wanted = True
        self._encoder = self._open_encoder()

    def want_key_frame(self) -> None:
        """The next frame becomes a key frame."""
        self._key_wanted = True

    def next_packet(self) -> "av.Packet[av.VideoStream] | None":
        """The next access unit, None at the end. Its pts counts frames of `frame_rate` on the 90 kHz clock."""
        while True:
            frame = next(self._pictures, None)
            if frame is None:
                return None
            packet = self._encode(frame)
            if packet is not None:
                return packet

    def close(self) -> None:
        self._pictures.close()

    def _encode(self, frame: av.VideoFrame) -> "av.Packet[av.VideoStream] | None":
        plan = self._plan
        picture = frame.reformat(width=self._width, height=self._height, format="yuv420p")
        picture.pts = self._count * 90_000 // plan.frame_rate
        picture.time_base = _TIME_BASE
        every = max(1, round(plan.key_frame_every_s * plan.frame_rate))
        key = self._key_wanted or self._count % every == 0
        picture.pict_type = PictureType.I if key else PictureType.NONE
        self._key_wanted = False
        self._count += 1
        packets = self._encoder.encode(picture)
        return packets[0] if packets else None

    def _open_encoder(self) -> "av.VideoCodecContext":
        plan = self._plan
        h264 = plan.codec == "h264"
        encoder = av.CodecContext.create("libx264" if h264 else "libvpx", "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width = self._width
        encoder.height = self._height
        encoder.pix_fmt = "yuv420p"
        encoder.time_base = _TIME_BASE
        encoder.framerate = Fraction(plan.frame_rate)
        encoder.bit_rate = plan.bitrate
        encoder.gop_size = 10_000  # key frames are ours to place
        encoder.thread_count = 1
        if h264:
            encoder.profile = "Baseline"
            encoder.options = {
                "preset": "ultrafast",
                "tune": "zerolatency",
                "x264-params": "scenecut=0:repeat-headers=1",
            }
        else:
            encoder.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "error-resilient": "1"}
        return encoder

    def _frames(self) -> Generator[av.VideoFrame]:
        """Pictures at the plan's rate: a file's own frames are repeated or left out by their times."""
        if self._path is None:
            yield from test_card(self._width, self._height)
            return
        while True:
            yield from self._play_once(self._path)
            if not self._loop:
                return

    def _play_once(self, path: Path) -> Iterator[av.VideoFrame]:
        period_s = 1.0 / self._plan.frame_rate
        due_s: float | None = None
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                at_s = frame.time or 0.0
                due_s = at_s if due_s is None else due_s
                while due_s <= at_s:
                    yield frame
                    due_s += period_s


def media_s(packet: "av.Packet[av.VideoStream]") -> float:
    """When the packet is due, in seconds from the first one."""
    return float((packet.pts or 0) * packet.time_base)


def delay_packet(packet: "av.Packet[av.VideoStream]", seconds: float) -> None:
    """Move the packet to a later time: media time must pass as the clock does, or receivers take it for latency."""
    packet.pts = packet.dts = (packet.pts or 0) + round(seconds / packet.time_base)


def test_card(width: int, height: int) -> Iterator[av.VideoFrame]:
    """An endless card: colours that drift, a ball that bounces, and a strip that counts the frames.

    The strip at the bottom holds `COUNTER_BITS` black or white blocks: the frame's number modulo 2^COUNTER_BITS as a
    Gray code, least significant bit on the left, and below it the same inverted, so that a machine can tell which frame
    it sees even after a repaint, or that it cannot tell.
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    row, block = height // COUNTER_ROW_SHARE, width / COUNTER_BITS
    bit_of_column = np.minimum((np.arange(width) / block).astype(np.int64), COUNTER_BITS - 1)
    count = 0
    while True:
        t = count / 30.0
        hue = (x / width + t * 0.05) * 2 * np.pi
        light = 0.55 + 0.35 * np.sin(y / height * np.pi + t)
        rgb = np.stack([np.sin(hue), np.sin(hue + 2.094), np.sin(hue + 4.189)], axis=-1) * 0.5 + 0.5
        picture = (rgb * light[..., None] * 255).astype(np.uint8)
        cx = width * (0.5 + 0.38 * np.sin(t * 1.3))
        cy = height * (0.45 + 0.3 * np.cos(t * 1.7))
        ball = (x - cx) ** 2 + (y - cy) ** 2 < (height * 0.14) ** 2
        picture[ball] = (250, 246, 230)
        code = count ^ (count >> 1)
        blocks = np.where((code >> bit_of_column) & 1, 255, 0)[None, :, None]
        picture[height - 2 * row : height - row] = blocks
        picture[height - row :] = 255 - blocks
        yield av.VideoFrame.from_ndarray(picture, format="rgb24")
        count = (count + 1) % (1 << COUNTER_BITS)


def _probe(source: str) -> SourceInfo:
    if source == TEST_CARD:
        return SourceInfo(name=TEST_CARD, width=832, height=480, duration_s=None)
    try:
        with av.open(source) as container:
            if not container.streams.video:
                raise SourceUnreadable(f"{source} has no video track")
            stream = container.streams.video[0]
            duration = container.duration / av.time_base if container.duration else None
            return SourceInfo(Path(source).name, stream.codec_context.width, stream.codec_context.height, duration)
    except FileNotFoundError:
        raise SourceUnreadable(f"there is no file {source} (the moving test card is called {TEST_CARD})") from None
    except (av.FFmpegError, IsADirectoryError) as error:
        raise SourceUnreadable(f"{source} is not a video that can be read ({type(error).__name__})") from None
