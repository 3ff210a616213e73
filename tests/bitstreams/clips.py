"""Clips of the numbered test pattern, made by FFmpeg's encoders with the settings that publishers really use."""

from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av

from genlock_worker.intake.pattern import draw

FRAME_RATE = 30
FRAME_US = 1_000_000 // FRAME_RATE
WIDTH, HEIGHT = 128, 96

X264 = {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline"}
"""As most software publishers set it: no reordered pictures."""
B_FRAMES = {"preset": "veryfast", "profile": "main"}
"""With two B-frames between others, as OBS and hardware encoders have them by default; `x264` adds the rest."""
LIBVPX = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """A picture in decoding order; `number` says which one it is, and when it is shown."""

    number: int
    data: bytes
    is_idr: bool

    @property
    def nals(self) -> list[bytes]:
        """NAL units of H264, without start codes."""
        return [nal for nal in self.data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if nal]


def h264(
    frames: int,
    *,
    options: dict[str, str] | None = None,
    x264: str = "",
    width: int = WIDTH,
    height: int = HEIGHT,
    first: int = 0,
    pixel_format: str = "yuv420p",
) -> list[CodedPicture]:
    """`x264`: parameters of that encoder, `name=value:name=value`."""
    params = f"scenecut=0:sliced-threads=0:{x264}".rstrip(":")
    settings = {**(X264 if options is None else options), "x264-params": params}
    return _encode("libx264", frames, settings, width, height, first, pixel_format)


def b_frames(frames: int, *, x264: str = "", width: int = WIDTH, height: int = HEIGHT) -> list[CodedPicture]:
    """H264 Main with two B-frames between others."""
    params = f"bframes=2:b-adapt=0:rc-lookahead=4:sync-lookahead=0:{x264}"
    return h264(frames, options=B_FRAMES, x264=params, width=width, height=height)


def vp8(
    frames: int, *, options: dict[str, str] | None = None, width: int = WIDTH, height: int = HEIGHT, first: int = 0
) -> list[CodedPicture]:
    return _encode("libvpx", frames, {**LIBVPX, **(options or {})}, width, height, first, "yuv420p")


def _encode(
    encoder: str, frames: int, options: dict[str, str], width: int, height: int, first: int, pixel_format: str
) -> list[CodedPicture]:
    context = cast(av.VideoCodecContext, av.CodecContext.create(encoder, "w"))
    context.width = width
    context.height = height
    context.pix_fmt = pixel_format
    context.time_base = Fraction(1, FRAME_RATE)
    context.framerate = Fraction(FRAME_RATE, 1)
    context.bit_rate = 400_000
    context.gop_size = 10_000
    context.thread_count = 1
    context.options = options

    packets = []
    for number in range(first, first + frames):
        frame = av.VideoFrame.from_ndarray(draw(number, width=width, height=height), format="rgb24")
        frame = frame.reformat(format=pixel_format)
        frame.pts = number
        packets += context.encode(frame)
    packets += context.encode(None)
    return [CodedPicture(packet.pts or 0, bytes(packet), packet.is_keyframe) for packet in packets]
