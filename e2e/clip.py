"""The test card as a file: painted once, so that publishing it costs little while streams are being watched."""

from pathlib import Path

import av

from genlock_cli.encoded_source import test_card as paint_test_card

FRAMES = 1024
"""The card's frame counter runs from 0 to this, and again when the clip starts anew."""
SIZE = (416, 416)


def make_clip(path: Path, *, frame_rate: int) -> None:
    """Write `FRAMES` numbered frames as H264 into an MP4 file."""
    width, height = SIZE
    pictures = paint_test_card(width, height)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=frame_rate, options={"preset": "ultrafast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(FRAMES):
            frame = next(pictures).reformat(format="yuv420p")
            frame.pts = number
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
