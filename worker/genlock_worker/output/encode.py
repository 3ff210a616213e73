"""Encodes generated pictures: each frame once per codec, however many watch.

H264 is constrained Baseline from x264 (ultrafast, zerolatency) or, where there is a GPU that can, from NVENC; VP8 for
viewers that know nothing else. Groups of pictures are long: an IDR comes when somebody asks, not by the clock.
"""

import fractions
from dataclasses import dataclass
from typing import Protocol

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from genlock_core.media import AccessUnit, Codec
from genlock_worker.intake.picture import Picture

GOP_S = 60
"""The longest group of pictures, for the sake of recordings; viewers ask for an IDR when they need one."""
IDR_SPACING_S = 0.25
"""Requests for an IDR within this time are answered by one."""


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """What an encoder is opened with; `bitrate` in bits per second."""

    width: int
    height: int
    frame_rate: int
    bitrate: int


class Encoder(Protocol):
    """Encodes pictures of one size, one access unit for each, at once."""

    name: str
    codec: Codec

    def encode(self, picture: Picture, *, capture_us: int, idr: bool) -> AccessUnit:
        """Encode an RGB picture (height, width, 3); `idr` makes it a key frame. Raises EncoderFailure."""
        ...


class EncoderFailure(Exception):
    """The codec gave no access unit for a picture."""


_VIDEO_OPTIONS: dict[str, dict[str, str]] = {
    "libx264": {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "x264-params": "scenecut=0:repeat-headers=1:annexb=1:sliced-threads=0:threads=1:force-cfr=1",
        "forced-idr": "1",
    },
    "h264_nvenc": {
        "preset": "p1",
        "tune": "ull",
        "profile": "baseline",
        "rc": "cbr",
        "zerolatency": "1",
        "delay": "0",
        "forced-idr": "1",
        "no-scenecut": "1",
    },
    "libvpx": {
        "deadline": "realtime",
        "cpu-used": "8",
        "lag-in-frames": "0",
        "error-resilient": "0",
        "auto-alt-ref": "0",
    },
}


class AvEncoder:
    """One FFmpeg encoder; `name` is FFmpeg's (`libx264`, `h264_nvenc`, `libvpx`)."""

    def __init__(self, name: str, settings: EncoderSettings) -> None:
        self.name = name
        self.codec = Codec.VP8 if name == "libvpx" else Codec.H264
        self._context = self._open(settings)
        self._index = 0

    def _open(self, settings: EncoderSettings) -> VideoCodecContext:
        context = av.CodecContext.create(self.name, "w")
        if not isinstance(context, VideoCodecContext):
            raise EncoderFailure(f"{self.name} is not a video encoder")

        context.width = settings.width
        context.height = settings.height
        context.pix_fmt = "yuv420p"
        context.framerate = fractions.Fraction(settings.frame_rate)
        context.time_base = fractions.Fraction(1, settings.frame_rate)
        context.bit_rate = settings.bitrate
        context.gop_size = GOP_S * settings.frame_rate
        context.max_b_frames = 0
        context.thread_count = 1

        # A buffer of a quarter of a second: a frame may be large, the stream may not.
        rate_control = {"maxrate": str(settings.bitrate), "bufsize": str(max(1, settings.bitrate // 4))}
        context.options = {**_VIDEO_OPTIONS[self.name], **rate_control}
        context.open()
        return context

    def encode(self, picture: Picture, *, capture_us: int, idr: bool) -> AccessUnit:
        # OpenCV's conversion to planes (BT.601, limited range) costs a quarter of swscale's.
        planes = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2YUV_I420)
        frame = VideoFrame.from_ndarray(np.asarray(planes, np.uint8), format="yuv420p")
        frame.pts = self._index
        frame.time_base = self._context.time_base
        frame.pict_type = PictureType.I if idr or self._index == 0 else PictureType.NONE
        self._index += 1

        try:
            packets = self._context.encode(frame)
        except FFmpegError as error:
            raise EncoderFailure(f"{self.name}: {error}") from error

        if len(packets) != 1:
            raise EncoderFailure(f"{self.name} gave {len(packets)} access units for one picture")

        packet = packets[0]
        return AccessUnit(codec=self.codec, data=bytes(packet), key_frame=packet.is_keyframe, capture_us=capture_us)


def choose_h264() -> str:
    """FFmpeg's name of the best H264 encoder here; tries NVENC with a small picture, so ask once per process."""
    try:
        encoder = AvEncoder("h264_nvenc", EncoderSettings(width=256, height=256, frame_rate=16, bitrate=500_000))
        encoder.encode(np.zeros((256, 256, 3), np.uint8), capture_us=0, idr=True)
    except (FFmpegError, EncoderFailure, ValueError):
        return "libx264"
    return "h264_nvenc"


def open_encoder(codec: Codec, settings: EncoderSettings, *, h264: str = "libx264") -> Encoder:
    """An encoder for a codec; `h264` is what `choose_h264` found."""
    return AvEncoder("libvpx" if codec is Codec.VP8 else h264, settings)


class IdrRequests:
    """Gathers the requests for an IDR of one encoder: the first frame is one, and never two within `spacing_s`."""

    def __init__(self, spacing_s: float = IDR_SPACING_S) -> None:
        self._spacing_s = spacing_s
        self._wanted = True
        self._last_s: float | None = None

    def ask(self) -> None:
        self._wanted = True

    def insist(self) -> None:
        """The next frame is one, however short a time ago the last one was."""
        self._wanted = True
        self._last_s = None

    def is_wanted(self, now_s: float) -> bool:
        """Whether a frame that were encoded now would be an IDR."""
        return self._wanted and (self._last_s is None or now_s - self._last_s >= self._spacing_s)

    def take(self, now_s: float) -> bool:
        """Whether the frame that is encoded now is to be an IDR."""
        if not self.is_wanted(now_s):
            return False
        self._wanted = False
        self._last_s = now_s
        return True
