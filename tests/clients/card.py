"""The picture that clients publish which have no camera: a card with four coloured corners and a bar that wanders."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream

from tests.clients.proof import Picture, rgb

WIDTH, HEIGHT = 640, 360
RATE = 30
PERIOD = 60
"""After so many frames the card is as it was at first."""
_CORNERS = ((220, 40, 40), (40, 200, 40), (40, 40, 220), (240, 240, 240))


def card(index: int, width: int = WIDTH, height: int = HEIGHT) -> Picture:
    """Frame `index` of the card."""
    picture = np.full((height, width, 3), 96, np.uint8)
    rows, columns = height // 4, width // 4
    for corner, colour in enumerate(_CORNERS):
        down = slice(0, rows) if corner < 2 else slice(height - rows, height)
        across = slice(0, columns) if corner % 2 == 0 else slice(width - columns, width)
        picture[down, across] = colour

    bar = width // 8
    left = (width - bar) * (index % PERIOD) // PERIOD
    picture[height * 3 // 8 : height * 5 // 8] = 16
    picture[height * 3 // 8 : height * 5 // 8, left : left + bar] = 250
    return picture


def frames(count: int = PERIOD) -> list[av.VideoFrame]:
    """The first `count` frames, 4:2:0, with times at `RATE`."""
    found = []
    for index in range(count):
        frame = av.VideoFrame.from_ndarray(card(index), format="rgb24").reformat(format="yuv420p")
        frame.pts = index
        frame.time_base = Fraction(1, RATE)
        found.append(frame)
    return found


def write_clip(path: Path, options: Mapping[str, str], *, codec: str = "libx264") -> None:
    """One period of the card as a file; the suffix says how it is packed (.mp4, .h264, .ivf)."""
    with av.open(str(path), "w") as output:
        stream = cast(VideoStream, output.add_stream(codec, rate=RATE))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate = 800_000
        stream.options = dict(options)
        stream.codec_context.thread_count = 1
        for frame in frames():
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


BASELINE: Mapping[str, str] = {
    "preset": "ultrafast",
    "tune": "zerolatency",
    "profile": "baseline",
    "g": "30",
    "x264-params": "repeat-headers=1",
}
"""H264 as a camera application makes it: no B-frames, a key frame every second."""


def pictures_of(path: Path) -> Sequence[Picture]:
    """Everything that can be decoded in a file of received media."""
    with av.open(str(path)) as container:
        return [rgb(frame) for frame in container.decode(video=0)]
