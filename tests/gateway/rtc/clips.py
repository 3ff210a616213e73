"""Encoded clips for the tests: what a publisher or a worker would make."""

from fractions import Fraction
from typing import cast

import av
import numpy as np

from genlock_core.bitstreams.h264 import join_annex_b, split_annex_b
from genlock_core.media import AccessUnit, Codec

ENCODERS = {Codec.H264: "libx264", Codec.VP8: "libvpx"}
OPTIONS = {
    Codec.H264: {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "x264-params": "sliced-threads=0",
    },
    Codec.VP8: {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
}


def picture(index: int, width: int, height: int) -> av.VideoFrame:
    """Noise over a moving gradient: it takes several packets, and not so many that a socket buffer overflows."""
    rng = np.random.default_rng(index)
    rows = np.arange(height)[:, None, None] + 5 * index
    noise = rng.integers(0, 60, (height, width, 3))
    return av.VideoFrame.from_ndarray(((rows + noise) % 256).astype(np.uint8), format="rgb24").reformat(
        format="yuv420p"
    )


def encode(
    codec: Codec, frames: int, *, width: int = 192, height: int = 112, fps: int = 30, first_us: int = 0
) -> list[AccessUnit]:
    """The first unit is a key frame, the others are not."""
    context = cast(av.VideoCodecContext, av.CodecContext.create(ENCODERS[codec], "w"))
    context.width = width
    context.height = height
    context.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, fps)
    context.framerate = Fraction(fps, 1)
    context.bit_rate = 1_500_000
    context.gop_size = 10_000
    context.options = OPTIONS[codec]
    packets = []
    for index in range(frames):
        frame = picture(index, width, height)
        frame.pts = index
        packets += context.encode(frame)
    packets += context.encode(None)
    units = []
    for index, packet in enumerate(packets):
        data = bytes(packet)
        if codec is Codec.H264:
            data = join_annex_b(split_annex_b(data))
        capture_us = first_us + index * 1_000_000 // fps
        units.append(AccessUnit(codec, data, key_frame=packet.is_keyframe, capture_us=capture_us))
    return units


def decode(units: list[AccessUnit]) -> list[np.ndarray]:
    """Pictures of the units, as a decoder without any loss makes them."""
    context = av.CodecContext.create("h264" if units[0].codec is Codec.H264 else "libvpx", "r")
    return [frame.to_ndarray() for unit in units for frame in context.decode(av.Packet(unit.data))]
